//! What becomes of a call in the ledger.

use super::*;
use crate::domain::class::Class;

fn class(case: &Case, before: Class) -> Class {
    let known = Lateness {
        callbacks: &case.known,
        history: case.history(),
        rules: &case.rules,
        late: Duration::from_secs(300),
    };
    case.plan(3_600_000).class(known, before)
}

#[test]
fn a_call_is_late_if_acquire_accepted_it_long_after_it_was_due() {
    let settled = one_call("parent").with(|rules| rules.legs.settle = Duration::from_secs(600));
    for (case, at, expected) in [
        (legs("parent"), 300_000, Class::InTime),
        (legs("parent"), 300_001, Class::Late),
        // It was due after the wait for other legs.
        (settled.clone(), 900_000, Class::InTime),
        (settled, 900_001, Class::Late),
    ] {
        let made = case.tried(&format!("parent accepted @{at}"));
        assert_eq!(class(&made, Class::Waiting), expected, "{at}");
    }
}

#[test]
fn a_requeue_does_not_undo_what_became_of_a_call() {
    let call = |before: &str| legs("parent").tried(before).requeued();
    for (case, before, expected) in [
        // Acquire accepted it before the requeue, and then refused it.
        (
            call("parent accepted").tried("parent refused"),
            Class::InTime,
            Class::InTime,
        ),
        (call("parent accepted"), Class::Late, Class::Late),
        // It was parked, then requeued.
        (
            call("parent refused").tried("parent accepted"),
            Class::WaitingLate,
            Class::Late,
        ),
        (
            call("parent refused"),
            Class::WaitingLate,
            Class::WaitingLate,
        ),
        (
            legs("parent").tried("parent refused"),
            Class::Waiting,
            Class::Parked,
        ),
    ] {
        assert_eq!(class(&case, before), expected, "{case:?}");
    }
}

#[test]
fn a_call_waits_until_acquire_has_accepted_each_request() {
    let open = legs("parent; child").tried("parent accepted");
    assert_eq!(class(&open, Class::InTime), Class::Waiting);
    assert_eq!(class(&open, Class::Late), Class::WaitingLate);
    assert_eq!(
        class(&legs("parent ringing"), Class::Waiting),
        Class::Skipped
    );
}
