//! The progress of a planned request: the attempts that were made for it, and their result.
//!
//! It does not decide whether the request is sent again.

use std::collections::BTreeMap;

use super::item::{AcquireRequest, PlanItem, PlannedRequest};
use crate::acquire::RequestKind;
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::cause::Cause;
use crate::twilio::CallSid;

/// The attempts of a call by leg, oldest first: a call may have a thousand legs.
pub(super) struct Attempts<'a>(BTreeMap<&'a CallSid, Vec<&'a Attempt>>);

impl<'a> Attempts<'a> {
    pub fn of(attempts: &'a [Attempt]) -> Self {
        let mut by_leg: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for attempt in attempts {
            by_leg.entry(&attempt.leg).or_default().push(attempt);
        }
        Self(by_leg)
    }

    /// Those of one kind for a leg.
    pub fn made<'s>(
        &'s self,
        leg: &CallSid,
        kind: RequestKind,
    ) -> impl DoubleEndedIterator<Item = &'a Attempt> + use<'s, 'a> {
        let of_leg = self.0.get(leg).into_iter().flatten().copied();
        of_leg.filter(move |attempt| attempt.kind == kind)
    }

    /// Those that were made for `request`.
    pub fn made_for<'s>(
        &'s self,
        request: &AcquireRequest,
    ) -> impl DoubleEndedIterator<Item = &'a Attempt> + use<'s, 'a> {
        self.made(&request.leg, request.message.kind())
    }

    /// Whether Acquire accepted a call-end of the leg.
    pub fn has_accepted_end(&self, leg: &CallSid) -> bool {
        let mut ends = self.made(leg, RequestKind::CallEnd);
        ends.any(|attempt| attempt.verdict.is_accepted())
    }

    /// The attempt that decides the progress of a request.
    pub fn last(&self, request: &AcquireRequest) -> Option<&'a Attempt> {
        // Accepted once is accepted for good: a second worker may have got another answer.
        self.made_for(request)
            .find(|attempt| attempt.verdict.is_accepted())
            .or_else(|| self.made_for(request).next_back())
    }
}

/// The state of a request after its attempts.
pub(super) enum RequestProgress {
    DueAt(Millis),
    Accepted,
    GivenUp(Cause, String),
}

pub(super) fn progress(planned: &PlannedRequest, attempts: &Attempts<'_>) -> RequestProgress {
    let Some(last) = attempts.last(&planned.request) else {
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
pub(super) fn is_unfinished(item: &PlanItem, attempts: &Attempts<'_>) -> bool {
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
