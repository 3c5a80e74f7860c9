//! What becomes of a call in the ledger.

use super::*;
use crate::domain::class::Class;

const MINUTE: i64 = 60_000;

fn accepted(at: i64) -> Attempt {
    Attempt {
        at: Millis(at),
        ..attempt(PARENT, Verdict::Accepted)
    }
}

/// The class of a call that was requeued after `earlier` of its attempts.
fn class(
    callbacks: &[Callback],
    (attempts, earlier): (&[Attempt], usize),
    rules: &Rules,
    before: Class,
) -> Class {
    let callbacks = received(callbacks);
    let history = History::requeued(attempts, earlier);
    let known = Lateness {
        callbacks: &callbacks,
        history,
        rules,
        late: Duration::from_secs(300),
    };
    Plan::of(&callbacks, history, rules, Millis(60 * MINUTE)).class(known, before)
}

#[test]
fn a_call_is_late_if_acquire_accepted_it_long_after_it_was_due() {
    let of_whole_call = Rules {
        legs: LegRules {
            report: ReportMode::Call,
            settle: Duration::from_secs(600),
            ..Rules::default().legs
        },
        ..Rules::default()
    };
    for (rules, at, expected) in [
        (Rules::default(), 5 * MINUTE, Class::InTime),
        (Rules::default(), 5 * MINUTE + 1, Class::Late),
        // It was due after the wait for other legs.
        (of_whole_call.clone(), 15 * MINUTE, Class::InTime),
        (of_whole_call, 15 * MINUTE + 1, Class::Late),
    ] {
        let made = [Attempt {
            report_mode: rules.legs.report,
            ..accepted(at)
        }];
        let found = class(&[callback(&[])], (&made, 0), &rules, Class::Waiting);
        assert_eq!(found, expected, "{at}");
    }
}

#[test]
fn a_requeue_does_not_undo_what_became_of_a_call() {
    let rules = Rules::default();
    let given_up = attempt(PARENT, Verdict::GivenUp("refused".to_owned()));
    let one = [callback(&[])];
    let of =
        |attempts: &[Attempt], earlier, before| class(&one, (attempts, earlier), &rules, before);
    // Acquire accepted it before the requeue, and then refused it.
    let refused_later = [accepted(0), given_up.clone()];
    assert_eq!(of(&refused_later, 1, Class::InTime), Class::InTime);
    assert_eq!(of(&refused_later[..1], 1, Class::Late), Class::Late);
    // It was parked, then requeued.
    let accepted_later = [given_up.clone(), accepted(0)];
    assert_eq!(of(&accepted_later, 1, Class::WaitingLate), Class::Late);
    assert_eq!(
        of(&accepted_later[..1], 1, Class::WaitingLate),
        Class::WaitingLate
    );
    assert_eq!(of(&accepted_later[..1], 0, Class::Waiting), Class::Parked);
}

#[test]
fn a_call_waits_until_acquire_has_accepted_each_request() {
    let rules = Rules::default();
    let legs = [callback(&[]), child(&[])];
    let open = class(&legs, (&[accepted(0)], 0), &rules, Class::InTime);
    assert_eq!(open, Class::Waiting);
    let open = class(&legs, (&[accepted(0)], 0), &rules, Class::Late);
    assert_eq!(open, Class::WaitingLate);
    let ringing = [callback(&[("CallStatus", "ringing")])];
    assert_eq!(
        class(&ringing, (&[], 0), &rules, Class::Waiting),
        Class::Skipped
    );
}
