//! Which request is due after the attempts so far, and since when.

use super::*;

#[test]
fn what_is_due_follows_from_the_attempts() {
    for (tried, expected) in [
        ("", "call-end parent"),
        ("parent again:1000000", "call-end parent"),
        ("parent again:1000001", "wait 1000001"),
        (
            "parent again:1000001; parent again:999999",
            "call-end parent",
        ),
        ("parent again:1; parent accepted", "delivered"),
        ("parent repeat", "delivered"),
        // Accepted is final, also if a second worker got another answer.
        ("parent accepted; parent again:1", "delivered"),
        ("parent accepted; parent refused", "delivered"),
        (
            "parent again:1; parent refused",
            "parked refused-422: refused",
        ),
    ] {
        assert_eq!(legs("parent").tried(tried).step(NOW), expected, "{tried}");
    }
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
    for (text, tried, expected) in [
        ("parent; child", "", "call-end parent"),
        ("parent; child", "parent refused", "call-end child"),
        ("parent; child", "child refused", "call-end parent"),
        (
            "parent; child",
            "parent refused; child accepted",
            "parked refused-422: refused",
        ),
        ("parent Direction=sideways; child", "", "call-end child"),
    ] {
        assert_eq!(
            legs(text).tried(tried).step(NOW),
            expected,
            "{text} {tried}"
        );
    }
}

#[test]
fn the_most_urgent_leg_goes_first() {
    for (tried, expected) in [
        ("parent again:1000005", "call-end child"),
        ("parent again:2; child again:1", "call-end child"),
        ("parent again:1000006; child again:1000005", "wait 1000005"),
    ] {
        assert_eq!(
            legs("parent; child").tried(tried).step(NOW),
            expected,
            "{tried}"
        );
    }
}

#[test]
fn a_second_leg_that_ends_later_is_due_too() {
    let taken = legs("parent; child ringing").tried("parent accepted");
    assert_eq!(taken.step(NOW), "delivered");
    assert_eq!(taken.and("child no-answer").step(NOW), "call-end child");
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
