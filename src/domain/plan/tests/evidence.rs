//! A call with weaker evidence than `CallbackSource`: the wait for a stronger callback.

use super::*;
use crate::twilio::Evidence;

#[test]
fn weaker_evidence_waits_a_minute_and_is_then_used() {
    for case in modes("parent CallbackSource= CallDuration=7 @100") {
        assert_eq!(case.step(60_099), "wait 60100");
        assert_eq!(case.plan(60_099).unfinished_since(), Some(0));
        assert_eq!(case.end_at(60_100).duration.as_deref(), Some("7"));
        let requests = case.requests();
        let mut reasons = requests[0].reasons.iter();
        assert!(reasons.any(|reason| reason.why.contains("weaker evidence")));
    }
}

#[test]
fn only_the_real_end_is_used_whatever_the_order() {
    let real = "parent CallDuration=42";
    let other = "parent failed CallbackSource= CallDuration=1 SequenceNumber=0";
    for text in [
        format!("{other}; {real} @10"),
        format!("{real}; {other} @10"),
        format!("{other}; {real} @1"),
    ] {
        for case in modes(&text) {
            let end = case.end_at(20);
            assert_eq!(end.duration.as_deref(), Some("42"));
            assert_eq!(end.call_status, acquire::CallStatus::Completed);
        }
    }
}

#[test]
fn weaker_evidence_of_one_leg_delays_no_other_leg_but_the_call() {
    let [by_leg, whole] = modes("parent; child busy CallbackSource=");
    assert_eq!(by_leg.step(1), "call-end parent");
    assert_eq!(by_leg.tried("parent accepted").step(1), "wait 60000");
    assert_eq!(whole.step(1), "wait 60000");
}

#[test]
fn a_real_status_before_the_end_does_not_replace_weaker_evidence() {
    for case in modes("parent in-progress; parent CallbackSource=") {
        assert_eq!(case.step(1), "wait 60000");
        assert_eq!(case.step(NOW), "call-end parent");
    }
}

#[test]
fn a_repeated_end_completes_the_first_until_its_call_end_is_tried() {
    let bare = "parent CallDuration= To=";
    let more = "parent CallDuration=42 RecordingUrl=https://api.twilio.com/RE1";
    for text in [format!("{bare}; {more} @10"), format!("{more}; {bare} @10")] {
        for case in modes(&text) {
            let end = case.end_at(20);
            assert_eq!(end.duration.as_deref(), Some("42"));
            assert_eq!(end.to, "+14045550199");
            assert!(end.recording_url.is_some());
        }
    }
    for case in modes(&format!("parent CallDuration=; {more} @10")) {
        let after = case.clone().tried("parent again:15 @5").end_at(20);
        assert_eq!(after.duration, None, "the repeat came after the attempt");
        let before = case.tried("parent again:15 @12").end_at(20);
        assert_eq!(before.duration.as_deref(), Some("42"));
    }
}

#[test]
fn a_repeated_end_replaces_a_call_duration_that_acquire_does_not_get() {
    for text in [
        "parent CallDuration=1.5; parent CallDuration=42 @10",
        "parent CallDuration=42; parent CallDuration=1.5 @10",
    ] {
        assert_eq!(legs(text).end_at(20).duration.as_deref(), Some("42"));
    }
}

#[test]
fn an_end_with_another_status_or_evidence_completes_nothing() {
    for other in [
        "parent busy SequenceNumber=1",
        "parent CallbackSource= SequenceNumber=1",
        "child SequenceNumber=1",
    ] {
        let end = legs("parent CallDuration= SequenceNumber=0")
            .and(other)
            .end();
        assert_eq!((end.call_id, end.duration), (sid("parent"), None));
    }
}

#[test]
fn each_callback_has_its_effect() {
    use CallbackEffect::{
        AfterAttempt, AfterEnd, BeforeEnd, CompletesEnd, EndsLeg, UnknownStatus, WeakerUnused,
        WeakerWaits,
    };
    let lone = legs("parent ringing; parent CallbackSource=");
    let call = legs(
        "parent CallbackSource=; parent CallDuration= @1; parent CallDuration=5 @2; \
         parent busy @3; parent gone @4",
    );
    let real = EndsLeg(Evidence::StatusCallback);
    for (case, now, expected) in [
        (&lone, 1, &[BeforeEnd, WeakerWaits][..]),
        (&lone, 60_000, &[BeforeEnd, EndsLeg(Evidence::Weaker)]),
        (
            &call,
            60_000,
            &[WeakerUnused, real, CompletesEnd, AfterEnd, UnknownStatus],
        ),
        (
            &call.clone().tried("parent accepted @1"),
            60_000,
            &[WeakerUnused, real, AfterAttempt, AfterEnd, UnknownStatus],
        ),
    ] {
        let found = effects(&case.known, case.history(), &case.rules, Millis(now));
        assert_eq!(found, expected);
    }
}

#[test]
fn the_reason_says_why_an_email_of_the_url_is_not_used() {
    let case = legs("parent ?email=jane@example.com 2x=");
    assert_eq!(case.end().email, None);
    assert!(case.why(About::Email).contains("\"2x\""));
}
