//! Which request is due after the attempts so far, and since when.

use super::*;

#[test]
fn what_is_due_follows_from_the_attempts() {
    check(
        legs,
        "parent |                                            | call-end parent
         parent | parent again:1000000                       | call-end parent
         parent | parent again:1000001                       | wait 1000001
         parent | parent again:1000001; parent again:999999  | call-end parent
         parent | parent again:1; parent accepted            | delivered
         parent | parent repeat                              | delivered
         parent | parent again:1; parent refused             | parked refused-422: refused",
    );
    // Accepted is final, also if a second worker got another answer.
    check(
        legs,
        "parent | parent accepted; parent again:1 | delivered
         parent | parent accepted; parent refused | delivered",
    );
}

#[test]
fn the_answer_to_the_last_attempt_is_the_cause() {
    use DeliveryFault::{Busy, SuccessFalse};
    for (fault, status, expected) in [
        (None, 409, "parked refused-409: refused"),
        (Some(Busy), 503, "parked schedule-used-up: refused"),
        (Some(SuccessFalse), 200, "parked unclear: refused"),
    ] {
        let mut case = legs("parent").tried("parent refused");
        (case.attempts[0].status, case.attempts[0].fault) = (Some(status), fault);
        assert_eq!(case.step(NOW), expected);
    }
}

#[test]
fn a_leg_that_was_given_up_never_delays_another() {
    check(
        legs,
        "parent; child                    |                                | call-end parent
         parent; child                    | parent refused                 | call-end child
         parent; child                    | child refused                  | call-end parent
         parent; child                    | parent refused; child accepted | parked refused-422: refused
         parent Direction=sideways; child |                                | call-end child",
    );
}

#[test]
fn the_most_urgent_leg_goes_first() {
    check(
        legs,
        "parent; child | parent again:1000005                      | call-end child
         parent; child | parent again:2; child again:1             | call-end child
         parent; child | parent again:1000006; child again:1000005 | wait 1000005",
    );
}

#[test]
fn a_second_leg_that_ends_later_is_due_too() {
    check(
        legs,
        "parent; child ringing                  | parent accepted | delivered
         parent; child ringing; child no-answer | parent accepted | call-end child",
    );
}

#[test]
fn a_plan_says_since_which_callback_it_was_parked_and_had_work() {
    let known = legs("child ringing; parent transferred; parent sideways");
    let ended = known.clone().and("child; child");
    for (case, unmappable, unfinished) in [
        (known, &[1][..], None),
        (ended.clone(), &[], Some(3)),
        (ended.clone().tried("child again:1"), &[], Some(3)),
        (ended.tried("child accepted"), &[1], None),
    ] {
        let plan = case.plan(NOW);
        assert_eq!(plan.unmappable().collect::<Vec<_>>(), unmappable);
        assert_eq!(plan.unfinished_since(), unfinished);
    }
}
