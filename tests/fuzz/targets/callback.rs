//! A form and the URL that it was posted to: the first line is the URL, the rest is the form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::twilio::callback::{self, CallbackParseError};
use twilio_acquire_bridge::twilio::{CallSid, signature};

fuzz_target!(|data: &[u8]| {
    let split = data.iter().position(|byte| *byte == b'\n');
    let (url, form) = data.split_at(split.unwrap_or(0));
    let form = form.strip_prefix(b"\n").unwrap_or(form);
    let Ok(url) = std::str::from_utf8(url) else {
        return;
    };
    let read = callback::read(form, url);
    assert_eq!(read, callback::read(form, url));
    match read {
        Ok(callback) => {
            assert!(CallSid::parse(callback.call().as_str()).is_ok());
            assert!(callback.key().as_str().starts_with(callback.leg.as_str()));
        }
        Err(CallbackParseError::Lookalike(_)) => {
            let is_status = url
                .split('?')
                .next()
                .is_some_and(|url| url.ends_with("/status"));
            assert!(
                !(is_status && signature::fields(form).values("CallbackSource").any(|source| source == "call-progress-events")),
                "a status callback was refused as another request"
            );
        }
        Err(error) => assert!(!error.reason().is_empty()),
    }
});
