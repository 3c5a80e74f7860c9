//! A call with weaker evidence than `CallbackSource`: the wait for a stronger callback.

use super::*;
use crate::domain::plan::evidence::WEAKER_WAIT;
use crate::twilio::Evidence;

/// An end without `CallbackSource`.
fn weaker(changes: &[(&str, &str)]) -> Callback {
    let source = [("CallbackSource", "")];
    callback(&[changes, &source].concat())
}

fn at(at: i64, callback: Callback) -> ReceivedCallback {
    let at = Millis(at);
    ReceivedCallback { at, callback }
}

fn modes() -> [Rules; 2] {
    [ReportMode::Legs, ReportMode::Call].map(|report| Rules {
        legs: LegRules {
            report,
            settle: Duration::ZERO,
            ..LegRules::default()
        },
        ..Rules::default()
    })
}

#[test]
fn weaker_evidence_waits_a_minute_and_is_then_used() {
    let until = Millis(100).plus(WEAKER_WAIT);
    let call = [at(100, weaker(&[("CallDuration", "7")]))];
    for rules in modes() {
        let early = Plan::of(
            &call,
            History::default(),
            &rules,
            until.minus(Duration::from_millis(1)),
        );
        assert_eq!(early.next(), &Next::Wait(until));
        assert_eq!(early.unfinished_since(), Some(0));
        let due = Plan::of(&call, History::default(), &rules, until);
        let Some(PlanItem::Send(planned)) = due.items().next() else {
            panic!("nothing is sent: {due:?}");
        };
        let is_named = planned
            .reasons
            .iter()
            .any(|reason| reason.why.contains("weaker evidence"));
        assert!(is_named, "{planned:?}");
        assert_eq!(sent(due.next().clone()).duration.as_deref(), Some("7"));
    }
}

#[test]
fn only_the_real_end_is_used_whatever_the_order() {
    let real = || callback(&[("CallDuration", "42")]);
    let other = || {
        weaker(&[
            ("CallStatus", "failed"),
            ("CallDuration", "1"),
            ("SequenceNumber", "0"),
        ])
    };
    for rules in modes() {
        for call in [
            [at(0, other()), at(10, real())],
            [at(0, real()), at(10, other())],
            [at(0, other()), at(1, real())],
        ] {
            let end = sent(plan(&call, &[], &rules, Millis(20)));
            assert_eq!(end.duration.as_deref(), Some("42"));
            assert_eq!(end.call_status, acquire::CallStatus::Completed);
        }
    }
}

#[test]
fn weaker_evidence_of_one_leg_delays_no_other_leg_but_the_call() {
    let call = [
        at(0, callback(&[])),
        at(0, {
            let source = [("CallbackSource", ""), ("CallStatus", "busy")];
            child(&source)
        }),
    ];
    let [legs, whole] = modes();
    assert_eq!(sent(plan(&call, &[], &legs, Millis(1))).call_id, PARENT);
    let wait = Next::Wait(Millis(0).plus(WEAKER_WAIT));
    let parent = attempt(PARENT, Verdict::Accepted);
    assert_eq!(plan(&call, &[parent], &legs, Millis(1)), wait);
    assert_eq!(plan(&call, &[], &whole, Millis(1)), wait);
}

#[test]
fn a_real_status_before_the_end_does_not_replace_weaker_evidence() {
    let call = [
        at(0, callback(&[("CallStatus", "in-progress")])),
        at(0, weaker(&[])),
    ];
    for rules in modes() {
        assert!(matches!(plan(&call, &[], &rules, Millis(1)), Next::Wait(_)));
        assert_eq!(sent(plan(&call, &[], &rules, NOW)).call_id, PARENT);
    }
}

#[test]
fn a_repeated_end_completes_the_first_until_its_call_end_is_tried() {
    let bare = || callback(&[("CallDuration", ""), ("To", "")]);
    let more = || {
        let url = "https://api.twilio.com/RE1";
        callback(&[("CallDuration", "42"), ("RecordingUrl", url)])
    };
    for rules in modes() {
        for call in [
            [at(0, bare()), at(10, more())],
            [at(0, more()), at(10, bare())],
        ] {
            let end = sent(plan(&call, &[], &rules, Millis(20)));
            assert_eq!(end.duration.as_deref(), Some("42"));
            assert_eq!(end.to, "+14045550199");
            assert!(end.recording_url.is_some());
        }
        let bare = callback(&[("CallDuration", "")]);
        let again = |at| Attempt {
            at,
            ..attempt(PARENT, Verdict::Again(Millis(15)))
        };
        let call = [at(0, bare), at(10, more())];
        let after = sent(plan(&call, &[again(Millis(5))], &rules, Millis(20)));
        assert_eq!(after.duration, None, "the repeat came after the attempt");
        let before = sent(plan(&call, &[again(Millis(12))], &rules, Millis(20)));
        assert_eq!(before.duration.as_deref(), Some("42"));
    }
}

#[test]
fn a_repeated_end_replaces_a_call_duration_that_acquire_does_not_get() {
    let fraction = at(0, callback(&[("CallDuration", "1.5")]));
    let whole = at(10, callback(&[("CallDuration", "42")]));
    for call in [[fraction.clone(), whole.clone()], [whole, fraction]] {
        let end = sent(plan(&call, &[], &Rules::default(), Millis(20)));
        assert_eq!(end.duration.as_deref(), Some("42"));
    }
}

#[test]
fn an_end_with_another_status_or_evidence_completes_nothing() {
    let bare = callback(&[("CallDuration", ""), ("SequenceNumber", "0")]);
    for other in [
        callback(&[("CallStatus", "busy"), ("SequenceNumber", "1")]),
        weaker(&[("SequenceNumber", "1")]),
        child(&[("SequenceNumber", "1")]),
    ] {
        let end = sent(next(&[bare.clone(), other], &[]));
        assert_eq!((end.call_id.as_str(), end.duration), (PARENT, None));
    }
}

#[test]
fn each_callback_has_its_effect() {
    use CallbackEffect as Effect;
    let rules = Rules::default();
    let effects_at = |callbacks: &[ReceivedCallback], attempts: &[Attempt], now: i64| {
        effects(callbacks, History::of(attempts), &rules, Millis(now))
    };
    let ringing = || callback(&[("CallStatus", "ringing")]);
    let minute = 60_000;
    let lone = [at(0, ringing()), at(0, weaker(&[]))];
    assert_eq!(
        effects_at(&lone, &[], 1),
        [Effect::BeforeEnd, Effect::WeakerWaits]
    );
    assert_eq!(
        effects_at(&lone, &[], minute),
        [Effect::BeforeEnd, Effect::EndsLeg(Evidence::Weaker)]
    );
    let call = [
        at(0, weaker(&[])),
        at(1, callback(&[("CallDuration", "")])),
        at(2, callback(&[("CallDuration", "5")])),
        at(3, callback(&[("CallStatus", "busy")])),
        at(4, callback(&[("CallStatus", "gone")])),
    ];
    let real = Effect::EndsLeg(Evidence::StatusCallback);
    let expected = [
        Effect::WeakerUnused,
        real,
        Effect::CompletesEnd,
        Effect::AfterEnd,
    ];
    assert_eq!(effects_at(&call, &[], minute)[..4], expected);
    assert_eq!(effects_at(&call, &[], minute)[4], Effect::UnknownStatus);
    let tried = [Attempt {
        at: Millis(1),
        ..attempt(PARENT, Verdict::Accepted)
    }];
    assert_eq!(effects_at(&call, &tried, minute)[2], Effect::AfterAttempt);
}

#[test]
fn the_reason_says_why_an_email_of_the_url_is_not_used() {
    let call = received(&[callback(&[("?email", "jane@example.com"), ("2x", "")])]);
    let plan = Plan::of(&call, History::default(), &Rules::default(), NOW);
    assert_eq!(sent(plan.next().clone()).email, None);
    let Some(PlanItem::Send(planned)) = plan.items().next() else {
        panic!("nothing is sent: {plan:?}");
    };
    let reason = planned
        .reasons
        .iter()
        .find(|reason| reason.about == About::Email);
    assert!(
        reason.is_some_and(|reason| reason.why.contains("\"2x\"")),
        "{planned:?}"
    );
}
