//! When a request is tried again, and when it is given up. Counts and adds time, nothing else.

use std::time::Duration;

use crate::acquire::{Answer, Fault, Outcome};
use crate::attempt::{Attempt, Verdict};
use crate::clock::Millis;

/// The operator's choices about trying again (`delivery.*`, `acquire.unclear_tries`).
#[derive(Clone, Debug)]
pub struct Policy {
    /// The wait after each failed attempt; after the last one the request is given up.
    pub schedule: Vec<Duration>,
    /// The longest wait that Acquire may ask for.
    pub retry_after_max: Duration,
    /// How often an answer is tried again that left open whether Acquire took the call.
    pub unclear_tries: usize,
}

/// A share of the wait that is added to it, so that requests that failed together part.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(f64);

impl Jitter {
    /// The most that is added to a wait.
    pub const MAX: f64 = 0.1;

    /// `part` of [`Jitter::MAX`], clamped to 0 ..= 1.
    #[must_use]
    pub fn new(part: f64) -> Self {
        Self(part.clamp(0.0, 1.0) * Self::MAX)
    }
}

/// Decides what `answer`, given at `now` after the attempts `before`, means for its request.
///
/// `before` are the earlier attempts of the same request, since the call was last requeued.
#[must_use]
pub fn decide(
    policy: &Policy,
    before: &[&Attempt],
    answer: &Answer,
    jitter: Jitter,
    now: Millis,
) -> Verdict {
    let (fault, after) = match answer.outcome {
        Outcome::Accepted => return Verdict::Accepted,
        Outcome::AcceptedAsRepeat => return Verdict::AcceptedAsRepeat,
        Outcome::Refused => {
            return Verdict::GivenUp(format!(
                "Acquire refused it with {}: {}",
                answer
                    .status
                    .map_or_else(|| "no status".to_owned(), |status| status.to_string()),
                answer.excerpt
            ));
        }
        Outcome::Again { fault, after } => (fault, after),
    };
    let unclear_before = before
        .iter()
        .filter(|attempt| attempt.fault.is_some_and(Fault::is_unclear))
        .count();
    if fault.is_unclear() && unclear_before + 1 >= policy.unclear_tries {
        return Verdict::GivenUp(format!(
            "may have been taken: Acquire answered {} times without saying so (acquire.success): {}",
            unclear_before + 1,
            answer.excerpt
        ));
    }
    let Some(wait) = policy.schedule.get(before.len()) else {
        return Verdict::GivenUp(format!(
            "the schedule is used up after {} attempts, the last one failed by {fault}: {}",
            before.len() + 1,
            answer.excerpt
        ));
    };
    let asked = after.unwrap_or_default().min(policy.retry_after_max);
    Verdict::Again(now.plus(wait.mul_f64(1.0 + jitter.0).max(asked)))
}
