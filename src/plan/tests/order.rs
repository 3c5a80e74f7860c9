use proptest::prelude::*;

use super::*;

fn any_callback() -> impl Strategy<Value = Callback> {
    let statuses = vec![
        "queued",
        "ringing",
        "in-progress",
        "completed",
        "busy",
        "failed",
        "transferred",
    ];
    (
        any::<bool>(),
        prop::sample::select(statuses),
        prop::sample::select(vec!["", "0", "1", "2"]),
        prop::sample::select(vec![
            "",
            "Thu, 01 Jan 2026 00:00:01 +0000",
            "Thu, 01 Jan 2026 00:00:02 +0000",
        ]),
        prop::sample::select(vec!["0", "35"]),
        prop::sample::select(vec!["inbound", "sideways"]),
        prop::sample::select(vec!["", AGENT]),
    )
        .prop_map(
            |(is_child, status, sequence, timestamp, duration, direction, to)| {
                let changes = [
                    ("CallStatus", status),
                    ("SequenceNumber", sequence),
                    ("Timestamp", timestamp),
                    ("CallDuration", duration),
                    ("Direction", direction),
                    ("To", to),
                ];
                if is_child {
                    child(&changes)
                } else {
                    callback(&changes)
                }
            },
        )
}

fn any_attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let verdict = prop_oneof![
        Just(Verdict::Accepted),
        Just(Verdict::GivenUp("refused".to_owned())),
        (0..2 * NOW.0).prop_map(|at| Verdict::Again(Millis(at))),
    ];
    let leg = prop::sample::select(vec![PARENT, CHILD]);
    prop::collection::vec(
        (leg, verdict).prop_map(|(leg, verdict)| attempt(leg, verdict)),
        0..4,
    )
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_of_callbacks_changes_the_plan(
        (callbacks, shuffled) in prop::collection::vec(any_callback(), 1..6)
            .prop_flat_map(|callbacks| {
                let repeated = [callbacks.clone(), callbacks.clone()].concat();
                (Just(callbacks), Just(repeated).prop_shuffle())
            }),
        attempts in any_attempts(),
    ) {
        prop_assert_eq!(next(&callbacks, &attempts), next(&shuffled, &attempts));
    }
}
