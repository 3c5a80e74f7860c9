//! The progress of a planned request: the attempts that were made for it, and their result.
//!
//! It does not decide whether the request is sent again.

use super::item::{AcquireRequest, PlanItem, PlannedRequest};
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};

/// The state of a request after its attempts.
pub(super) enum RequestProgress {
    DueAt(Millis),
    Accepted,
    GivenUp(String),
}

pub(super) fn progress(planned: &PlannedRequest, attempts: &[Attempt]) -> RequestProgress {
    match last_verdict(attempts, &planned.request) {
        None => {
            let wait = planned.wait.as_ref();
            RequestProgress::DueAt(wait.map_or(Millis::default(), |wait| wait.until))
        }
        Some(Verdict::Again(at) | Verdict::Held(at)) => RequestProgress::DueAt(*at),
        Some(Verdict::Accepted | Verdict::AcceptedAsRepeat) => RequestProgress::Accepted,
        Some(Verdict::GivenUp(why)) => RequestProgress::GivenUp(why.clone()),
    }
}

/// Whether a request will still be made for the item.
pub(super) fn is_unfinished(item: &PlanItem, attempts: &[Attempt]) -> bool {
    match item {
        PlanItem::Send(planned) => {
            matches!(progress(planned, attempts), RequestProgress::DueAt(_))
        }
        PlanItem::Undecided(_) => true,
        PlanItem::Nothing(_) | PlanItem::Unmappable(_) => false,
    }
}

/// Whether the bridge waits for no callback before it sends the item.
pub(super) fn is_reached(item: &PlanItem, now: Millis) -> bool {
    match item {
        PlanItem::Send(planned) => planned.wait.as_ref().is_none_or(|wait| wait.until <= now),
        PlanItem::Undecided(_) | PlanItem::Nothing(_) | PlanItem::Unmappable(_) => false,
    }
}

/// Those of `attempts` that were made for `request`.
#[must_use]
pub fn made_for<'a>(
    attempts: &'a [Attempt],
    request: &AcquireRequest,
) -> impl DoubleEndedIterator<Item = &'a Attempt> + use<'a> {
    let (leg, kind) = (request.leg.clone(), request.message.kind());
    attempts
        .iter()
        .filter(move |attempt| attempt.leg == leg && attempt.kind == kind)
}

pub(super) fn last_verdict<'a>(
    attempts: &'a [Attempt],
    request: &AcquireRequest,
) -> Option<&'a Verdict> {
    let verdicts = || made_for(attempts, request).map(|attempt| &attempt.verdict);
    // Accepted once is accepted for good: a second worker may have got another answer.
    verdicts()
        .find(|verdict| verdict.is_accepted())
        .or_else(|| verdicts().next_back())
}
