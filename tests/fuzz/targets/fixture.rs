//! The text of a fixture: what is read and written is the same when it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::debugging::fixture::Fixture;

fuzz_target!(|text: &str| {
    let Ok(fixture) = Fixture::parse("fuzz.http", text) else {
        return;
    };
    let written = fixture.to_string();
    assert_eq!(
        Fixture::parse("fuzz.http", &written),
        Ok(fixture),
        "{written}"
    );
});
