//! The attempts of a call.
//!
//! It does not decide which attempts count: that is in `domain/plan/history.rs`.

use serde::Serialize;

use super::planned::as_json;
use crate::domain::attempt::{Attempt, Verdict};

/// One attempt to send a request to Acquire.
#[derive(Debug, Serialize)]
pub struct AttemptView {
    pub at: String,
    pub leg: String,
    pub kind: &'static str,
    pub verdict: &'static str,
    /// Why the request was given up, or when it is retried.
    pub explanation: Option<String>,
    pub status: Option<u16>,
    pub fault: Option<&'static str>,
    pub duration_ms: u64,
    pub sent: serde_json::Value,
    pub answer: String,
    /// Made before the last requeue: it decides only as which leg the call is sent.
    pub before_requeue: bool,
}

impl AttemptView {
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.verdict.starts_with("accepted")
    }
}

/// Shows attempts, of which the first `before_requeue` came before the last requeue.
pub(super) fn attempt_views(attempts: &[Attempt], before_requeue: usize) -> Vec<AttemptView> {
    let views = attempts
        .iter()
        .enumerate()
        .map(|(position, attempt)| AttemptView {
            at: attempt.at.to_string(),
            leg: attempt.leg.to_string(),
            kind: attempt.kind.as_str(),
            verdict: attempt.verdict.as_str(),
            explanation: match &attempt.verdict {
                Verdict::Accepted | Verdict::AcceptedAsRepeat => None,
                Verdict::Again(at) => Some(format!("retry at {at}")),
                Verdict::Held(at) => Some(format!("retry at {at}; no retry is used up")),
                Verdict::GivenUp(why) => Some(why.clone()),
            },
            status: attempt.status,
            fault: attempt.fault.map(crate::acquire::DeliveryFault::as_str),
            duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            sent: as_json(&attempt.sent),
            answer: attempt.excerpt.clone(),
            before_requeue: position < before_requeue,
        });
    views.collect()
}
