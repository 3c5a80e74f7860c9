//! The attempts of a call: those that count for its requests, and those before its last requeue.

use super::rules::ReportMode;
use crate::domain::attempt::Attempt;

/// The attempts of a call, oldest first.
///
/// A requeue sends all requests again, so that only the attempts since then count for schedule and
/// outcome. Acquire knows the call from before: all attempts decide which leg it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    pub attempts: &'a [Attempt],
    /// So many of the attempts were made before the last requeue.
    pub before_requeue: usize,
    /// `calls.report` when the first attempt was made, if it is known.
    pub report: Option<ReportMode>,
}

impl<'a> History<'a> {
    /// Of a call that was never requeued.
    #[must_use]
    pub fn of(attempts: &'a [Attempt]) -> Self {
        Self {
            attempts,
            ..Self::default()
        }
    }

    /// The attempts since the last requeue.
    #[must_use]
    pub fn current(&self) -> &'a [Attempt] {
        &self.attempts[self.before_requeue.min(self.attempts.len())..]
    }
}
