//! Decides whether a failure is the call's own, or may be Acquire's or a setting's.
//!
//! Each node keeps one record for each account, and each call has the time of its first failure in the
//! store. So a failure is known to be the call's own on a node once Acquire accepted another call there.

use crate::acquire::AcquireResponse;
use crate::clock::Millis;
use crate::twilio::CallSid;

/// The status of a fault that a call's own data often causes, and an outage seldom.
const INTERNAL_ERROR: u16 = 500;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// The call's: Acquire accepted another call after this one had failed. It uses up an attempt and
    /// shows nothing about Acquire.
    OwnData,
    /// Acquire answered 500, and no other call has failed since it last accepted one. It uses up an attempt.
    Lone,
    /// Acquire may be down, or a setting is wrong. It uses up no attempt, so that an outage parks nothing.
    Unknown,
}

/// What the answers for an account show about its failing calls.
#[derive(Debug, Default)]
pub struct FailingCalls {
    last_accepted: Option<Millis>,
    since_accepted: Failed,
}

/// The calls that failed since Acquire last accepted one.
#[derive(Debug, Default)]
enum Failed {
    #[default]
    None,
    One(CallSid),
    Several,
}

impl FailingCalls {
    /// Notes that Acquire accepted a call.
    pub fn accepted(&mut self, now: Millis) {
        // Not the later of both: the clock may have been set back.
        self.last_accepted = Some(now);
        self.since_accepted = Failed::None;
    }

    /// Notes a failure of `call` at `now`, which has been failing since `since`.
    pub fn failed(
        &mut self,
        call: &CallSid,
        since: Option<Millis>,
        answer: &AcquireResponse,
        now: Millis,
    ) -> FailureCause {
        // An acceptance later than now is one from before the clock was set back.
        let last_accepted = self.last_accepted.filter(|at| *at <= now);
        if since.is_some() && last_accepted > since {
            return FailureCause::OwnData;
        }
        self.since_accepted = match std::mem::take(&mut self.since_accepted) {
            Failed::None => Failed::One(call.clone()),
            Failed::One(other) if other == *call => Failed::One(other),
            Failed::One(_) | Failed::Several => Failed::Several,
        };
        match self.since_accepted {
            Failed::One(_) if answer.status == Some(INTERNAL_ERROR) => FailureCause::Lone,
            _ => FailureCause::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acquire::{DeliveryFault, Outcome};

    fn call(number: u32) -> CallSid {
        CallSid::parse(&format!("CA{number:032}")).expect("it is a CallSid")
    }

    fn answer(status: Option<u16>) -> AcquireResponse {
        AcquireResponse {
            outcome: Outcome::Retry {
                fault: DeliveryFault::Busy,
                after: None,
            },
            status,
            excerpt: String::new(),
        }
    }

    #[test]
    fn a_failure_is_the_calls_own_once_another_was_accepted_after_its_first() {
        for status in [Some(500), Some(503), Some(404), Some(401), None] {
            let mut failing = FailingCalls::default();
            failing.accepted(Millis(5));
            let mut failed = |since| failing.failed(&call(1), since, &answer(status), Millis(9));
            assert_ne!(failed(None), FailureCause::OwnData);
            assert_ne!(failed(Some(Millis(5))), FailureCause::OwnData);
            failing.accepted(Millis(6));
            let mut failed = |since| failing.failed(&call(1), since, &answer(status), Millis(9));
            assert_eq!(failed(Some(Millis(5))), FailureCause::OwnData);
            assert_ne!(failed(Some(Millis(6))), FailureCause::OwnData);
            assert_ne!(failed(None), FailureCause::OwnData, "its first");
        }
    }

    #[test]
    fn an_acceptance_before_the_clock_was_set_back_makes_no_failure_the_calls_own() {
        let mut failing = FailingCalls::default();
        failing.accepted(Millis(3_600_000));
        let (since, now) = (Some(Millis(5)), Millis(7));
        let cause = failing.failed(&call(1), since, &answer(None), now);
        assert_eq!(cause, FailureCause::Unknown);
        failing.accepted(Millis(8));
        let cause = failing.failed(&call(1), since, &answer(None), Millis(9));
        assert_eq!(cause, FailureCause::OwnData);
    }

    #[test]
    fn a_lone_failing_call_uses_up_attempts_only_for_a_500() {
        use FailureCause::{Lone, Unknown};
        let others = [502, 503, 504, 401, 403, 404, 429].map(|status| (Some(status), Unknown));
        for (status, cause) in [(Some(500), Lone), (None, Unknown)]
            .into_iter()
            .chain(others)
        {
            let mut failing = FailingCalls::default();
            for since in [None, Some(Millis(1)), Some(Millis(1))] {
                let found = failing.failed(&call(1), since, &answer(status), Millis(9));
                assert_eq!(found, cause, "{status:?}");
            }
        }
    }

    #[test]
    fn an_outage_that_answers_500_uses_up_no_attempt_of_the_second_call_and_those_after_it() {
        let mut failing = FailingCalls::default();
        let mut failed =
            |number| failing.failed(&call(number), None, &answer(Some(500)), Millis(9));
        assert_eq!(failed(1), FailureCause::Lone);
        for number in [2, 3, 1, 2] {
            assert_eq!(failed(number), FailureCause::Unknown);
        }
    }
}
