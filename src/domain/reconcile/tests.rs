//! Rows of Twilio's list beside what is stored, each with the result of the comparison.

use serde_json::{Value, json};

use super::*;
use crate::twilio::callback;

const CALL: &str = "CA00000000000000000000000000000001";
const ACCOUNT: &str = "AC00000000000000000000000000000001";
const NOW: Millis = Millis(1_790_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn row(changes: &Value) -> ListedCall {
    let ended = jiff::Timestamp::from_millisecond(NOW.minus(2 * HOUR).0).expect("a time");
    let mut row = json!({
        "sid": CALL, "account_sid": ACCOUNT, "status": "completed", "duration": "60",
        "from": "+12025550123", "to": "+12025550199", "direction": "inbound",
        "end_time": ended.to_string(),
    });
    for (name, value) in changes.as_object().expect("an object") {
        row[name] = value.clone();
    }
    ListedCall::read(&row).expect("a row")
}

fn known(forms: &[&str]) -> KnownLeg {
    let mut known = KnownLeg::default();
    for form in forms {
        let form = format!(
            "CallSid={CALL}&AccountSid={ACCOUNT}&CallbackSource=call-progress-events\
             &From=%2B12025550123&To=%2B12025550199&Direction=inbound&{form}"
        );
        let url = "https://bridge.example.com/twilio/voice/status";
        let callback = callback::read(form.as_bytes(), url).expect("a callback");
        known.add(callback, RequestSource::Signed);
    }
    known
}

fn limits() -> Limits {
    Limits {
        now: NOW,
        earliest: NOW.minus(10 * HOUR),
        latest: NOW.minus(HOUR / 12),
        until: None,
    }
}

fn found(row: &ListedCall, known: &KnownLeg) -> Finding {
    compare(row, known, limits(), None)
}

#[test]
fn each_row_is_compared_with_what_the_store_has_of_its_leg() {
    use Finding::{Agrees, AwaitsDuration, Missing, Outside, Running};
    let end = "CallStatus=completed&CallDuration=60";
    let differs = |why: &str| Finding::Differs(format!("{why} listed"));
    let set = |name: &str, value: &str| json!({ name: value });
    let no_duration = json!({ "duration": null });
    let busy = json!({ "duration": null, "status": "busy" });
    let early = set("end_time", "2026-09-01T00:00:00Z");
    for (changes, forms, expected) in [
        (json!({}), &[][..], Missing(MissingCause::NeverCame)),
        (
            json!({}),
            &["CallStatus=ringing"],
            Missing(MissingCause::EndMissing),
        ),
        (json!({}), &[end], Agrees),
        (no_duration.clone(), &[end], Agrees),
        (
            set("duration", "61"),
            &[end],
            differs("duration 60 here, 61"),
        ),
        (
            set("status", "busy"),
            &[end],
            differs("status completed here, busy"),
        ),
        (set("status", "in-progress"), &[], Running),
        (set("status", "a-new-word"), &[], Running),
        (no_duration, &[], AwaitsDuration),
        (busy, &[], Missing(MissingCause::NeverCame)),
        (early.clone(), &[], Outside),
        // A call of that age that the store has is no reason to look at it.
        (early, &[end], Agrees),
    ] {
        assert_eq!(found(&row(&changes), &known(forms)), expected, "{changes}");
    }
}

#[test]
fn a_removed_call_is_not_missing() {
    let removed = KnownLeg {
        is_removed: true,
        ..KnownLeg::default()
    };
    assert_eq!(found(&row(&json!({})), &removed), Finding::Agrees);
}

#[test]
fn a_call_that_ended_within_an_hour_must_be_seen_twice_without_a_change() {
    let at = |minutes: u32| {
        let ended = NOW.minus(Duration::from_secs(60) * minutes).to_string();
        row(&json!({ "end_time": ended }))
    };
    let nothing = known(&[]);
    let fresh = at(30);
    assert_eq!(found(&fresh, &nothing), Finding::TooNew);
    let seen = sighting(&fresh);
    let again = compare(&fresh, &nothing, limits(), Some(&seen));
    assert_eq!(again, Finding::Missing(MissingCause::NeverCame));
    let other = sighting(&row(&json!({ "duration": "1" })));
    assert_eq!(
        compare(&fresh, &nothing, limits(), Some(&other)),
        Finding::TooNew
    );
    // Within `reconcile.delay` its callback may be in transit.
    let newest = at(1);
    let seen = sighting(&newest);
    assert_eq!(
        compare(&newest, &nothing, limits(), Some(&seen)),
        Finding::TooNew
    );
}

#[test]
fn a_leg_is_expected_if_signed_ends_of_its_class_came() {
    let scope = Scope {
        calls: CallScope::Expected,
        trunks: TrunkScope::Off,
    };
    let reported = LegClass::of_row(&row(&json!({})));
    let is_reported = |class: &LegClass| *class == reported;
    let never = MissingCause::NeverCame;
    let cases = [
        (json!({}), true),
        (json!({"from": "+12025550124"}), true),
        (json!({"to": "+12025550198"}), false),
        (json!({"from": "client:jane"}), false),
        (json!({"from": "jane@sip.example.com"}), false),
        (json!({"direction": "outbound-api"}), false),
        (json!({"parent_call_sid": CALL}), false),
        (json!({"direction": "trunking-originating"}), false),
    ];
    for (changes, expected) in cases {
        assert_eq!(
            scope.has(&row(&changes), &never, is_reported),
            expected,
            "{changes}"
        );
    }
    // Twilio does report a leg of which something came.
    let other = row(&json!({"to": "+12025550198"}));
    assert!(scope.has(&other, &MissingCause::EndMissing, is_reported));
    let trunks = Scope {
        calls: CallScope::All,
        trunks: TrunkScope::On,
    };
    assert!(trunks.has(
        &row(&json!({"direction": "trunking-terminating"})),
        &never,
        is_reported
    ));
}

#[test]
fn the_class_of_a_callback_is_that_of_its_row() {
    let form = format!(
        "CallSid={CALL}&AccountSid={ACCOUNT}&CallbackSource=call-progress-events\
         &CallStatus=completed&From=%2B12025550123&To=%2B12025550199&Direction=inbound"
    );
    let read = callback::read(form.as_bytes(), "https://x/twilio/voice/status").expect("read");
    assert_eq!(
        LegClass::of_callback(&read),
        Some(LegClass::of_row(&row(&json!({}))))
    );
}
