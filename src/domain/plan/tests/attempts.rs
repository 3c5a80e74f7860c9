//! Which request is due after the attempts so far, and since when.

use super::*;

#[test]
fn what_is_due_follows_from_the_attempts() {
    let again = |at: i64| attempt(PARENT, Verdict::Again(Millis(at)));
    let given_up = attempt(PARENT, Verdict::GivenUp("refused".to_owned()));
    let accepted = attempt(PARENT, Verdict::Accepted);
    let repeat = attempt(PARENT, Verdict::AcceptedAsRepeat);
    let due = next(&[callback(&[])], &[]);
    assert!(matches!(due, Next::Send(_)));
    for (attempts, expected) in [
        (vec![again(NOW.0)], due.clone()),
        (vec![again(NOW.0 + 1)], Next::Wait(Millis(NOW.0 + 1))),
        (vec![again(NOW.0 + 1), again(NOW.0 - 1)], due.clone()),
        (vec![again(1), accepted.clone()], Next::Delivered),
        (vec![repeat], Next::Delivered),
        // Accepted is final, also if a second worker got another answer.
        (vec![accepted.clone(), again(1)], Next::Delivered),
        (vec![accepted, given_up.clone()], Next::Delivered),
        (
            vec![again(1), given_up],
            Next::Parked(Cause::Refused(422), "refused".to_owned()),
        ),
        // Of a requeued call only the attempts since then are passed: all requests are due again.
        (vec![], due),
    ] {
        assert_eq!(next(&[callback(&[])], &attempts), expected, "{attempts:?}");
    }
}

#[test]
fn the_answer_to_the_last_attempt_is_the_cause() {
    use crate::acquire::DeliveryFault::{Busy, SuccessFalse};
    for (fault, status, cause) in [
        (None, Some(409), Cause::Refused(409)),
        (Some(Busy), Some(503), Cause::ScheduleUsedUp),
        (Some(SuccessFalse), Some(200), Cause::Unclear),
    ] {
        let given_up = Attempt {
            status,
            fault,
            ..attempt(PARENT, Verdict::GivenUp("why".to_owned()))
        };
        let parked = Next::Parked(cause, "why".to_owned());
        assert_eq!(next(&[callback(&[])], &[given_up]), parked);
    }
}

#[test]
fn a_leg_that_was_given_up_never_delays_another() {
    let legs = [callback(&[]), child(&[])];
    let refused = |leg| attempt(leg, Verdict::GivenUp(format!("{leg} refused")));
    assert_eq!(sent(next(&legs, &[])).call_id, PARENT);
    assert_eq!(sent(next(&legs, &[refused(PARENT)])).call_id, CHILD);
    assert_eq!(sent(next(&legs, &[refused(CHILD)])).call_id, PARENT);
    let parked = next(&legs, &[refused(PARENT), attempt(CHILD, Verdict::Accepted)]);
    assert_eq!(
        parked,
        Next::Parked(Cause::Refused(422), format!("{PARENT} refused"))
    );

    let unmappable = callback(&[("Direction", "sideways")]);
    assert_eq!(sent(next(&[unmappable, child(&[])], &[])).call_id, CHILD);
}

#[test]
fn the_most_urgent_leg_goes_first() {
    let legs = [callback(&[]), child(&[])];
    let again = |leg, at| attempt(leg, Verdict::Again(Millis(at)));
    let later = NOW.0 + 5;
    assert_eq!(sent(next(&legs, &[again(PARENT, later)])).call_id, CHILD);
    assert_eq!(
        sent(next(&legs, &[again(PARENT, 2), again(CHILD, 1)])).call_id,
        CHILD
    );
    let waiting = next(&legs, &[again(PARENT, later + 1), again(CHILD, later)]);
    assert_eq!(waiting, Next::Wait(Millis(later)));
}

#[test]
fn a_second_leg_that_ends_later_is_due_too() {
    let taken = [attempt(PARENT, Verdict::Accepted)];
    let ringing = child(&[("CallStatus", "ringing")]);
    assert_eq!(
        next(&[callback(&[]), ringing.clone()], &taken),
        Next::Delivered
    );
    let legs = [
        callback(&[]),
        ringing,
        child(&[("CallStatus", "no-answer")]),
    ];
    assert_eq!(sent(next(&legs, &taken)).call_id, CHILD);
}

#[test]
fn a_plan_says_since_which_callback_it_was_parked_and_had_work() {
    let ringing = child(&[("CallStatus", "ringing")]);
    let unknown = |status| callback(&[("CallStatus", status)]);
    let known = [ringing, unknown("transferred"), unknown("sideways")];
    let positions = |callbacks: &[Callback], attempts: &[Attempt]| {
        let plan = Plan::of(
            &received(callbacks),
            History::of(attempts),
            &Rules::default(),
            NOW,
        );
        (
            plan.unmappable().collect::<Vec<_>>(),
            plan.unfinished_since(),
        )
    };
    assert_eq!(positions(&known, &[]), (vec![1], None));

    let known = [&known[..], &[child(&[]), child(&[])]].concat();
    let again = attempt(CHILD, Verdict::Again(Millis(1)));
    for attempts in [&[][..], &[again]] {
        assert_eq!(
            positions(&known, attempts),
            (vec![], Some(3)),
            "{attempts:?}"
        );
    }
    let accepted = attempt(CHILD, Verdict::Accepted);
    assert_eq!(positions(&known, &[accepted]), (vec![1], None));
}
