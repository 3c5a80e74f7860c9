//! A response of Acquire: status (two bytes), a line with `Retry-After`, and the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::acquire::Outcome;
use twilio_acquire_bridge::acquire::response::{SuccessRule, excerpt, message, outcome_of};
use twilio_acquire_bridge::clock::Millis;

const NOW: Millis = Millis(1_790_000_000_000);

fuzz_target!(|data: &[u8]| {
    let [high, low, rest @ ..] = data else {
        return;
    };
    let status = u16::from_be_bytes([*high, *low]) % 1000;
    let split = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, body) = rest.split_at(split);
    let header = std::str::from_utf8(header).ok();
    let outcome = outcome_of(SuccessRule::Body, status, header, body, NOW);
    match outcome {
        Outcome::Accepted => {
            assert!((200..300).contains(&status));
            let body: serde_json::Value = serde_json::from_slice(body).expect("its body is JSON");
            let values = [body.pointer("/data/success"), body.get("success")];
            let mut values = values
                .into_iter()
                .flatten()
                .filter(|value| !value.is_null());
            assert!(values.clone().next().is_some() && values.all(|value| *value == true));
        }
        Outcome::AcceptedAsRepeat => assert_eq!(status, 400),
        Outcome::Refused => assert!((400..500).contains(&status)),
        Outcome::Retry { after, .. } => {
            assert!(!(after.is_some() && header.is_none()));
        }
    }
    let excerpt = excerpt(body);
    assert!(excerpt.chars().count() <= 501);
    if let Some(message) = message(&excerpt) {
        assert!(!message.contains(['\n', '\r']) && !message.contains('@'));
    }
});
