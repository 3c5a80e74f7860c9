//! A row of Twilio's lists of calls and recordings, as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::reconcile::{Finding, KnownLeg, LegClass, Limits, compare};
use twilio_acquire_bridge::twilio::CallbackContent;
use twilio_acquire_bridge::twilio::listed::{ListedCall, RequestSource, read_stored};

const DAY: i64 = 86_400_000;

fuzz_target!(|data: &[u8]| {
    let headers = RequestSource::Listed.headers(Some("https://bridge.example.com/twilio/voice/status?email=a%40b.c"));
    let read = read_stored("", &headers, data);
    assert_eq!(read, read_stored("", &headers, data));
    let Ok(row) = serde_json::from_slice(data) else {
        assert!(read.is_err());
        return;
    };
    let Ok(call) = ListedCall::read(&row) else {
        return;
    };
    let _ = LegClass::of_row(&call);
    let now = Millis(1_796_000_000_000);
    let limits = Limits {
        now,
        earliest: Millis(now.0 - 30 * DAY),
        latest: Millis(now.0 - DAY),
        until: None,
    };
    let finding = compare(&call, &KnownLeg::default(), limits, None);
    if matches!(finding, Finding::Missing(_)) {
        assert!(call.is_final(), "a call that may still run is imported");
    }
    if let Ok(callback) = read
        && let CallbackContent::Status(status) = &callback.kind
    {
        assert_eq!(callback.leg, call.sid);
        assert_eq!(status.status, call.status);
    }
});
