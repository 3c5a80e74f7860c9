//! The progress of a planned request: the attempts that were made for it, and their result.
//!
//! It does not decide whether the request is sent again.

use super::item::{AcquireRequest, PlanItem, PlannedRequest};
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::cause::Cause;

/// The state of a request after its attempts.
pub(super) enum RequestProgress {
    DueAt(Millis),
    Accepted,
    GivenUp(Cause, String),
}

pub(super) fn progress(planned: &PlannedRequest, attempts: &[Attempt]) -> RequestProgress {
    let Some(last) = last_attempt(attempts, &planned.request) else {
        let wait = planned.wait.as_ref();
        return RequestProgress::DueAt(wait.map_or(Millis::default(), |wait| wait.until));
    };
    match &last.verdict {
        Verdict::Again(at) | Verdict::Held(at) => RequestProgress::DueAt(*at),
        Verdict::Accepted | Verdict::AcceptedAsRepeat => RequestProgress::Accepted,
        Verdict::GivenUp(why) => RequestProgress::GivenUp(last.cause(), why.clone()),
    }
}

/// Whether a request will still be made for the item.
pub(super) fn is_unfinished(item: &PlanItem, attempts: &[Attempt]) -> bool {
    match item {
        PlanItem::Send(planned) => {
            matches!(progress(planned, attempts), RequestProgress::DueAt(_))
        }
        PlanItem::Undecided(_) => true,
        PlanItem::Nothing(..) | PlanItem::Unmappable(..) => false,
    }
}

/// Whether the bridge waits for no callback before it sends the item.
pub(super) fn is_reached(item: &PlanItem, now: Millis) -> bool {
    match item {
        PlanItem::Send(planned) => planned.wait.as_ref().is_none_or(|wait| wait.until <= now),
        PlanItem::Undecided(_) | PlanItem::Nothing(..) | PlanItem::Unmappable(..) => false,
    }
}

/// Those of `attempts` that were made for `request`.
pub fn made_for<'a>(
    attempts: &'a [Attempt],
    request: &AcquireRequest,
) -> impl DoubleEndedIterator<Item = &'a Attempt> + use<'a> {
    let (leg, kind) = (request.leg.clone(), request.message.kind());
    attempts
        .iter()
        .filter(move |attempt| attempt.leg == leg && attempt.kind == kind)
}

/// The attempt that decides the progress of a request.
pub(super) fn last_attempt<'a>(
    attempts: &'a [Attempt],
    request: &AcquireRequest,
) -> Option<&'a Attempt> {
    // Accepted once is accepted for good: a second worker may have got another answer.
    made_for(attempts, request)
        .find(|attempt| attempt.verdict.is_accepted())
        .or_else(|| made_for(attempts, request).next_back())
}
