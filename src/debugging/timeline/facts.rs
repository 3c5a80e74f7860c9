//! Who called whom, for a row of a list and the head of a call's page.
//!
//! The values are those of the request to Acquire; where there is none, of the first leg.

use serde::Serialize;

use super::{AttemptView, CallbackView, LegView, PlannedView};

/// A call in a few fields; `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallFacts {
    pub caller: String,
    pub callee: String,
    /// `incoming` or `outgoing`.
    pub direction: Option<String>,
    /// The agent's.
    pub email: Option<String>,
    /// In seconds.
    pub duration: Option<u64>,
    /// When the callback of the end arrived (RFC 3339).
    pub ended: Option<String>,
    pub recording: Option<String>,
    /// When Acquire accepted the call (RFC 3339).
    pub in_acquire_at: Option<String>,
}

pub(super) fn facts(
    legs: &[LegView],
    callbacks: &[CallbackView],
    attempts: &[AttemptView],
    planned: &[PlannedView],
) -> CallFacts {
    let mut requests = planned.iter().filter_map(|planned| match planned {
        PlannedView::Send { request, .. } => Some(request),
        _ => None,
    });
    // The end comes last, and has the most.
    let request = requests.next_back();
    let field = |name: &str| {
        let value = request?.get(name)?.as_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let leg = legs
        .iter()
        .find(|leg| !leg.from.is_empty() || !leg.to.is_empty());
    let of_leg = |side: fn(&LegView) -> &String| leg.map(side).cloned().unwrap_or_default();
    let end = callbacks
        .iter()
        .rfind(|one| one.verdict.starts_with("ends the leg"));
    let accepted = attempts.iter().find(|attempt| attempt.is_accepted());
    CallFacts {
        caller: field("From").unwrap_or_else(|| of_leg(|leg| &leg.from)),
        callee: field("To").unwrap_or_else(|| of_leg(|leg| &leg.to)),
        direction: field("Direction"),
        email: field("email"),
        duration: field("Duration").and_then(|seconds| seconds.parse().ok()),
        ended: end.map(|end| end.received.clone()),
        recording: field("RecordingUrl"),
        in_acquire_at: accepted.map(|attempt| attempt.at.clone()),
    }
}
