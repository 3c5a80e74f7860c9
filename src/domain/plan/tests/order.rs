//! The plan does not depend on the order or the repetition of callbacks.

use proptest::prelude::*;

use super::*;

/// A text of one of each of these words.
fn any_words(choices: &[&'static [&'static str]]) -> impl Strategy<Value = String> + use<> {
    let words: Vec<_> = choices
        .iter()
        .map(|words| prop::sample::select(*words))
        .collect();
    words.prop_map(|words| words.join(" "))
}

fn any_callback() -> impl Strategy<Value = String> {
    any_words(&[
        &["parent", "child"],
        &[
            "queued",
            "ringing",
            "in-progress",
            "completed",
            "busy",
            "failed",
            "transferred",
        ],
        &[
            "",
            "SequenceNumber=0",
            "SequenceNumber=1",
            "SequenceNumber=2",
        ],
        &["", "Timestamp=1", "Timestamp=2"],
        &["CallDuration=0", "CallDuration=35"],
        &["Direction=inbound", "Direction=sideways"],
        &["To=", "To=+14045550142"],
        &["", "CallbackSource="],
    ])
    .prop_filter("not a request for TwiML", |text| {
        let is_open = ["queued", "ringing", "in-progress"]
            .iter()
            .any(|word| text.contains(word));
        !(is_open && text.contains("CallbackSource="))
    })
}

fn any_recording() -> impl Strategy<Value = String> {
    any_words(&[
        &["RE1", "RE2"],
        &["in-progress", "completed", "absent", "paused"],
        &["CallSid=parent", "CallSid=child"],
        &[
            "RecordingDuration=3",
            "RecordingDuration=9",
            "RecordingDuration=",
        ],
        &["RecordingStartTime=1", ""],
    ])
}

fn any_attempts() -> impl Strategy<Value = String> {
    let attempt = any_words(&[
        &["parent", "child"],
        &[
            "accepted",
            "refused",
            "again:0",
            "again:999999",
            "again:1000000",
            "again:2000000",
        ],
    ]);
    prop::collection::vec(attempt, 0..4).prop_map(|attempts| attempts.join("; "))
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_of_callbacks_changes_the_plan(
        (callbacks, shuffled) in prop::collection::vec(prop_oneof![2 => any_callback(), 1 => any_recording()], 1..6)
            .prop_flat_map(|callbacks| {
                let repeated = [callbacks.clone(), callbacks.clone()].concat();
                (Just(callbacks), Just(repeated).prop_shuffle())
            }),
        attempts in any_attempts(),
        report in prop::sample::select(&ReportMode::ALL[..]),
        events in prop::sample::select(vec![EventRules::default(), ALL_EVENTS]),
        now in prop_oneof![Just(0), Just(NOW), Just(i64::MAX)],
    ) {
        let of = |callbacks: &[String]| {
            let case = legs(&callbacks.join("; ")).with(|rules| {
                rules.legs.report = report;
                rules.events = events.clone();
            });
            let plan = case.tried(&attempts).plan(now);
            (plan.next().clone(), plan.items().cloned().collect::<Vec<_>>())
        };
        prop_assert_eq!(of(&callbacks), of(&shuffled));
    }
}
