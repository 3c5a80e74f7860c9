//! The plan does not depend on the order or the repetition of callbacks.

use proptest::prelude::*;

use super::whole::{one_call, recording};
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
        prop::sample::select(vec!["call-progress-events", ""]),
    )
        .prop_filter("not a request for TwiML", |call| {
            !call.7.is_empty() || !["queued", "ringing", "in-progress"].contains(&call.1)
        })
        .prop_map(
            |(is_child, status, sequence, timestamp, duration, direction, to, source)| {
                let changes = [
                    ("CallStatus", status),
                    ("SequenceNumber", sequence),
                    ("Timestamp", timestamp),
                    ("CallDuration", duration),
                    ("Direction", direction),
                    ("To", to),
                    ("CallbackSource", source),
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

fn any_recording() -> impl Strategy<Value = Callback> {
    let statuses = vec!["in-progress", "completed", "absent", "paused"];
    let starts = vec!["Thu, 01 Jan 2026 00:00:01 +0000", ""];
    (
        1..3_u8,
        prop::sample::select(statuses),
        prop::sample::select(vec![PARENT, CHILD]),
        prop::sample::select(vec!["3", "9", ""]),
        prop::sample::select(starts),
    )
        .prop_map(|(sid, status, leg, seconds, started)| {
            let changes = [
                ("CallSid", leg),
                ("RecordingDuration", seconds),
                ("RecordingStartTime", started),
            ];
            recording(sid, status, &changes)
        })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), any::<bool>()).prop_map(|(is_one, has_life)| {
        let mut rules = if is_one { one_call() } else { Rules::default() };
        if has_life {
            rules.events = EventRules {
                in_queue: Forward::On,
                ringing: Forward::On,
                answered: Forward::On,
            };
        }
        rules
    })
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
        rules in any_rules(),
        now in prop_oneof![Just(Millis(0)), Just(NOW), Just(Millis(i64::MAX))],
    ) {
        let of = |callbacks: &[Callback]| {
            let received = received(callbacks);
            let plan = Plan::of(&received, History::of(&attempts), &rules, now);
            (plan.next().clone(), plan.items().cloned().collect::<Vec<_>>())
        };
        prop_assert_eq!(of(&callbacks), of(&shuffled));
    }
}
