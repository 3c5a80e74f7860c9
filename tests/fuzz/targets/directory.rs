//! A CSV directory: it is read, or each mistake has its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::domain::directory::entries::DirectoryEntries;

fuzz_target!(|bytes: &[u8]| {
    let mut entries = DirectoryEntries::default();
    match entries.add_csv("agents.csv", bytes) {
        Ok(()) => drop(entries.directory()),
        Err(mistakes) => {
            assert!(
                mistakes
                    .iter()
                    .all(|mistake| mistake.starts_with("agents.csv:"))
            );
        }
    }
});
