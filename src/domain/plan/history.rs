//! The attempts of a call: those that count for its requests, and those before its last requeue.
//!
//! What a result means for a request is in `progress`.

use super::rules::{ReportMode, Rules};
use crate::domain::attempt::Attempt;

/// The attempts of a call, oldest first.
///
/// A requeue sends all requests again, so that only the attempts since then count for schedule and
/// outcome. Acquire knows the call from before: all attempts decide which leg it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    pub attempts: &'a [Attempt],
    /// The number of attempts before the last requeue.
    pub before_requeue: usize,
    /// `calls.report` when the first attempt was made. `None`: as it is now.
    pub report: Option<ReportMode>,
}

impl<'a> History<'a> {
    /// Of a call that was never requeued.
    pub fn of(attempts: &'a [Attempt]) -> Self {
        Self {
            attempts,
            ..Self::default()
        }
    }

    /// Of a call that may have been requeued: `before_requeue` of the attempts were made before the last
    /// requeue.
    pub fn requeued(attempts: &'a [Attempt], before_requeue: usize) -> Self {
        // The attempts of two calls that were merged are not in the order of their times.
        let first = attempts.iter().min_by_key(|attempt| attempt.at);
        Self {
            attempts,
            before_requeue,
            report: first.map(|first| first.report_mode),
        }
    }

    /// The mode of the call: that of its first attempt, because another one would make a second record
    /// of it.
    pub fn mode(&self, rules: &Rules) -> ReportMode {
        self.report.unwrap_or(rules.legs.report)
    }

    /// The attempts since the last requeue.
    pub fn current(&self) -> &'a [Attempt] {
        &self.attempts[self.before_requeue.min(self.attempts.len())..]
    }
}
