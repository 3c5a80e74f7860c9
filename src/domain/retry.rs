//! Decides when a request is retried, and when it is given up.
//!
//! It counts attempts and adds time; it sends nothing and knows no breaker.

use std::time::Duration;

use crate::acquire::{AcquireResponse, DeliveryFault, Outcome, response};
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::failing_calls::FailureCause;
use crate::domain::plural::counted;

/// The settings of retries (`delivery.*`, `acquire.unclear_tries`).
#[derive(Clone, Debug)]
pub struct Policy {
    /// The wait after each failed attempt; after the last one the request is given up.
    pub schedule: Vec<Duration>,
    /// The longest wait that Acquire may ask for.
    pub retry_after_max: Duration,
    /// The number of unclear answers after which the request is given up: Acquire may have accepted
    /// the call each time.
    pub unclear_tries: usize,
}

/// A part of the wait that is added to it, so that requests that failed together are not retried
/// together.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(f64);

impl Jitter {
    /// The largest part of a wait that is added to it.
    pub const MAX: f64 = 0.1;

    /// `part` of [`Jitter::MAX`], clamped to 0 ..= 1.
    pub fn new(part: f64) -> Self {
        Self(part.clamp(0.0, 1.0) * Self::MAX)
    }
}

/// Decides the consequence of `answer`, received at `now`, for its request.
///
/// `before` are the earlier attempts of the same request, since the call was last requeued. `cause` is
/// that of a failure; it decides whether the failure uses up a wait of the schedule.
pub fn decide(
    policy: &Policy,
    before: &[&Attempt],
    answer: &AcquireResponse,
    cause: FailureCause,
    jitter: Jitter,
    now: Millis,
) -> Verdict {
    let (fault, after) = match answer.outcome {
        Outcome::Accepted => return Verdict::Accepted,
        Outcome::AcceptedAsRepeat => return Verdict::AcceptedAsRepeat,
        // The reason is logged, so it does not contain the answer, which may repeat personal data of
        // the request. The attempt has the answer.
        Outcome::Refused => {
            let status = answer.status.map(|status| format!(" with {status}"));
            let status = status.unwrap_or_default();
            return Verdict::GivenUp(format!("Acquire refused it{status}"));
        }
        Outcome::Retry { fault, after } => (fault, after),
    };
    let unclear_before = before
        .iter()
        .filter(|attempt| attempt.fault.is_some_and(DeliveryFault::is_unclear))
        .count();
    // Counted apart from the schedule: each unclear answer may be one more record at Acquire.
    if fault.is_unclear() && unclear_before + 1 >= policy.unclear_tries {
        let message = response::message(&answer.excerpt)
            .map(|message| format!(": \"{message}\""))
            .unwrap_or_default();
        return Verdict::GivenUp(format!(
            "may have been accepted: Acquire answered {} without confirming the call \
             (acquire.success){message}",
            counted(unclear_before + 1, "time")
        ));
    }
    let uses_up = fault.is_unclear() || cause != FailureCause::Unknown;
    let not_held = |attempt: &&&Attempt| !matches!(attempt.verdict, Verdict::Held(_));
    let place = if uses_up {
        before.iter().filter(not_held).count()
    } else {
        before.len().min(policy.schedule.len().saturating_sub(1))
    };
    let Some(wait) = policy.schedule.get(place) else {
        let own = match cause {
            FailureCause::OwnData => ", and Acquire accepted other calls meanwhile",
            FailureCause::Lone | FailureCause::Unknown => "",
        };
        return Verdict::GivenUp(format!(
            "delivery.schedule is used up after {}, the last one failed by {fault}{own}",
            counted(before.len() + 1, "attempt")
        ));
    };
    let asked = after.unwrap_or_default().min(policy.retry_after_max);
    // Jitter applies to the schedule only; Retry-After is kept exactly.
    let wait = wait.saturating_add(wait.mul_f64(jitter.0));
    let due = now.plus(wait.max(asked));
    if uses_up {
        Verdict::Again(due)
    } else {
        Verdict::Held(due)
    }
}

/// The attempts with the times at which they are retried: of those made before `retry_now_at`, at
/// that time at the latest. Acquire was down when they failed, and is back since then.
pub fn with_retry_now(attempts: &[Attempt], retry_now_at: Option<Millis>) -> Vec<Attempt> {
    let mut attempts = attempts.to_vec();
    for attempt in &mut attempts {
        if let (Verdict::Again(due) | Verdict::Held(due), Some(now)) =
            (&mut attempt.verdict, retry_now_at)
            && attempt.at < now
        {
            *due = now.min(*due);
        }
    }
    attempts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::acquire::RequestKind;
    use crate::domain::report_mode::ReportMode;
    use crate::twilio::CallSid;

    const NOW: Millis = Millis(1_700_000_000_000);
    const NONE: Jitter = Jitter(0.0);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy() -> Policy {
        Policy {
            schedule: [1, 5, 15, 60].map(seconds).to_vec(),
            retry_after_max: seconds(3_600),
            unclear_tries: 3,
        }
    }

    fn answer(outcome: Outcome) -> AcquireResponse {
        AcquireResponse {
            outcome,
            status: Some(503),
            excerpt: "so it said".to_owned(),
        }
    }

    fn again(fault: DeliveryFault, after: Option<u64>) -> AcquireResponse {
        answer(Outcome::Retry {
            fault,
            after: after.map(seconds),
        })
    }

    fn failed(fault: DeliveryFault) -> Attempt {
        Attempt {
            leg: CallSid::parse("CA00000000000000000000000000000001").expect("it is a CallSid"),
            kind: RequestKind::CallEnd,
            report_mode: ReportMode::Legs,
            at: NOW,
            took: Duration::ZERO,
            sent: String::new(),
            status: None,
            verdict: Verdict::Again(NOW),
            fault: Some(fault),
            excerpt: String::new(),
        }
    }

    fn after(faults: &[DeliveryFault], answer: &AcquireResponse) -> Verdict {
        let before: Vec<Attempt> = faults.iter().copied().map(failed).collect();
        decided(&before, answer, FailureCause::Lone)
    }

    fn decided(before: &[Attempt], answer: &AcquireResponse, cause: FailureCause) -> Verdict {
        let before: Vec<&Attempt> = before.iter().collect();
        decide(&policy(), &before, answer, cause, NONE, NOW)
    }

    fn due_in(wait: u64) -> Verdict {
        Verdict::Again(NOW.plus(seconds(wait)))
    }

    #[test]
    fn every_outcome_has_its_verdict() {
        let busy = DeliveryFault::Busy;
        for (before, answer, verdict) in [
            (&[][..], answer(Outcome::Accepted), Verdict::Accepted),
            (&[busy; 4], answer(Outcome::Accepted), Verdict::Accepted),
            (
                &[],
                answer(Outcome::AcceptedAsRepeat),
                Verdict::AcceptedAsRepeat,
            ),
            (&[], again(busy, None), due_in(1)),
            (&[busy], again(DeliveryFault::Dns, None), due_in(5)),
            (
                &[busy; 3],
                again(DeliveryFault::Configuration, None),
                due_in(60),
            ),
            (&[], again(busy, Some(30)), due_in(30)),
            (&[busy; 3], again(busy, Some(30)), due_in(60)),
            (&[], again(busy, Some(86_400)), due_in(3_600)),
            (&[], again(busy, Some(u64::MAX)), due_in(3_600)),
        ] {
            assert_eq!(after(before, &answer), verdict, "{before:?} {answer:?}");
        }
    }

    #[test]
    fn a_refusal_gives_up_without_repeating_what_acquire_said() {
        let Verdict::GivenUp(why) = after(&[], &answer(Outcome::Refused)) else {
            panic!("a refusal is not tried again");
        };
        assert_eq!(why, "Acquire refused it with 503");
    }

    #[test]
    fn a_used_up_schedule_gives_up_and_counts_the_attempts() {
        let Verdict::GivenUp(why) = after(
            &[DeliveryFault::Busy; 4],
            &again(DeliveryFault::Reset, Some(1)),
        ) else {
            panic!("the schedule is used up");
        };
        assert!(why.contains("used up after 5 attempts"), "{why}");
        assert!(why.ends_with("failed by reset"), "{why}");
    }

    #[test]
    fn a_failure_that_may_be_acquires_uses_up_nothing_and_waits_as_the_schedule_says() {
        let busy = again(DeliveryFault::Busy, None);
        let mut before = Vec::new();
        for wait in [1, 5, 15, 60, 60, 60] {
            let held = decided(&before, &busy, FailureCause::Unknown);
            assert_eq!(held, Verdict::Held(NOW.plus(seconds(wait))));
            before.push(Attempt {
                verdict: held,
                ..failed(DeliveryFault::Busy)
            });
        }
        for wait in [1, 5, 15, 60] {
            let own = decided(&before, &busy, FailureCause::OwnData);
            assert_eq!(
                own,
                due_in(wait),
                "the schedule starts with the first of its own"
            );
            before.push(failed(DeliveryFault::Busy));
        }
        let Verdict::GivenUp(why) = decided(&before, &busy, FailureCause::OwnData) else {
            panic!("the schedule is used up");
        };
        assert!(why.contains("after 11 attempts"), "{why}");
        assert!(
            why.ends_with("Acquire accepted other calls meanwhile"),
            "{why}"
        );
    }

    #[test]
    fn unclear_answers_are_counted_by_themselves() {
        use DeliveryFault::{Busy, SuccessFalse, Unreadable};
        for (before, given_up) in [
            (&[][..], false),
            (&[Unreadable], false),
            (&[Busy, Busy, SuccessFalse], false),
            (&[Unreadable, SuccessFalse], true),
            (&[Unreadable, Busy, SuccessFalse], true),
        ] {
            let verdict = after(before, &again(Unreadable, None));
            match &verdict {
                Verdict::GivenUp(why) => {
                    assert!(why.starts_with("may have been accepted"), "{why}");
                }
                verdict => assert!(matches!(verdict, Verdict::Again(_))),
            }
            assert_eq!(
                matches!(verdict, Verdict::GivenUp(_)),
                given_up,
                "{before:?}"
            );
        }
        // An answer that is clear goes on with the schedule, whatever was unclear before.
        assert_eq!(after(&[Unreadable; 3], &again(Busy, None)), due_in(60));
    }

    #[test]
    fn attempts_before_a_retry_now_are_due_then_and_later_ones_when_they_were_to_be() {
        let attempt = |at, due| Attempt {
            at: Millis(at),
            verdict: Verdict::Again(Millis(due)),
            ..failed(DeliveryFault::Busy)
        };
        let attempts = [attempt(0, 9_999), attempt(1, 5), attempt(7, 9_999)];
        let due = |retry_now_at| {
            let attempts = with_retry_now(&attempts, retry_now_at);
            attempts.into_iter().map(|attempt| attempt.verdict)
        };
        let again = |due: [i64; 3]| due.map(|due| Verdict::Again(Millis(due)));
        assert!(due(Some(Millis(7))).eq(again([7, 5, 9_999])));
        assert!(due(None).eq(again([9_999, 5, 9_999])));
    }

    #[test]
    fn an_unclear_answer_gives_its_message() {
        let unsaved = AcquireResponse {
            excerpt: r#"{"data":{"success":false,"message":"not saved: +12025550123"}}"#.to_owned(),
            ..again(DeliveryFault::SuccessFalse, None)
        };
        let Verdict::GivenUp(why) = after(&[DeliveryFault::SuccessFalse; 2], &unsaved) else {
            panic!("three unclear answers give the request up");
        };
        assert!(
            why.ends_with(r#"(acquire.success): "not saved: ***""#),
            "{why}"
        );
    }

    /// Any wait that a configuration could name, and some that it could not.
    fn waits() -> impl Strategy<Value = Vec<Duration>> {
        let wait = prop_oneof![0..100_000_u64, any::<u64>()].prop_map(Duration::from_millis);
        proptest::collection::vec(wait, 0..20)
    }

    proptest! {
        #[test]
        fn the_schedule_never_goes_backwards_and_always_ends(
            schedule in waits(),
            asked in proptest::option::of(any::<u64>()),
            part in 0.0..=1.0_f64,
            late in 0..10_000_u64,
        ) {
            let policy = Policy { schedule, ..policy() };
            let failure = failed(DeliveryFault::Busy);
            let mut before = Vec::new();
            let mut now = NOW;
            while let Verdict::Again(due) =
                decide(&policy, &before, &again(DeliveryFault::Busy, asked), FailureCause::Lone, Jitter::new(part), now)
            {
                prop_assert!(due >= now.plus(policy.schedule[before.len()]));
                now = due.plus(Duration::from_millis(late));
                before.push(&failure);
            }
            prop_assert_eq!(before.len(), policy.schedule.len());
        }

        #[test]
        fn a_retry_after_only_lengthens_and_never_beyond_its_cap(
            asked in any::<u64>(),
            part in any::<f64>().prop_filter("a number", |part| !part.is_nan()),
            tried in 0..4_usize,
        ) {
            let failure = failed(DeliveryFault::Busy);
            let before = vec![&failure; tried];
            let due = |asked| {
                match decide(&policy(), &before, &again(DeliveryFault::Busy, asked), FailureCause::Lone, Jitter::new(part), NOW) {
                    Verdict::Again(due) => due.since(NOW),
                    verdict => panic!("{verdict:?} within the schedule"),
                }
            };
            let (plain, asked_for) = (due(None), due(Some(asked)));
            prop_assert!(plain >= policy().schedule[tried]);
            prop_assert!(plain <= policy().schedule[tried].mul_f64(1.0 + Jitter::MAX));
            prop_assert!(asked_for >= plain);
            prop_assert!(asked_for <= plain.max(policy().retry_after_max));
        }
    }
}
