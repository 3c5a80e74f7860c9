//! A configuration file: it is read, or its mistakes are named without a secret.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::config;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("fuzz-{}.toml", std::process::id()))
});

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fuzz_target!(|text: &str| {
    std::fs::write(&*FILE, text).expect("a temporary file can be written");
    let environment = [("TWILIO_AUTH_TOKEN".to_owned(), TOKEN.to_owned())];
    match config::load(Some(&FILE), environment) {
        Ok(config) => assert!(!format!("{:?}", config.settings).contains(TOKEN)),
        Err(config::ConfigError(mistakes)) => {
            assert!(!mistakes.is_empty());
            assert!(
                mistakes
                    .iter()
                    .all(|mistake| !mistake.is_empty() && !mistake.contains(TOKEN))
            );
        }
    }
});
