//! The events of a call before its end (`acquire.events`), and their order.
//!
//! The retry of an event that failed is decided in `domain/retry.rs`.

use super::email::call_email;
use super::item::{AcquireMessage, AcquireRequest, PlanEntry, PlanItem, PlannedRequest};
use super::progress::{Attempts, is_reached};
use super::reason::About;
use super::reported::Reported;
use super::rules::{Forward, Rules};
use super::status::{from, replaced_from, replaced_to, to};
use crate::acquire::{CallEvent, Direction, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::Verdict;
use crate::domain::cause::Cause;
use crate::twilio::CallStatus;

/// The events that are switched on and were reported, in the call's order.
pub(super) fn events(reported: &Reported<'_, '_>, rules: &Rules) -> Vec<PlanEntry> {
    let wanted = [
        (RequestKind::CallInQueue, rules.events.in_queue),
        (RequestKind::CallRinging, rules.events.ringing),
        (RequestKind::CallAnswered, rules.events.answered),
    ];
    wanted
        .into_iter()
        .filter(|(_, forward)| *forward == Forward::On)
        .filter_map(|(kind, _)| {
            Some(PlanEntry {
                position: first_reported(reported, kind)?,
                item: event(reported, kind, rules),
            })
        })
        .collect()
}

/// The position of the first callback that reported the event.
fn first_reported(reported: &Reported<'_, '_>, kind: RequestKind) -> Option<usize> {
    let of_kind = reported.statuses.iter().filter(|leg| {
        let reported = match leg.status.status {
            CallStatus::Queued | CallStatus::Initiated => RequestKind::CallInQueue,
            CallStatus::Ringing => RequestKind::CallRinging,
            CallStatus::InProgress => RequestKind::CallAnswered,
            _ => return false,
        };
        reported == kind
    });
    of_kind.map(|leg| leg.received.position).min()
}

/// The event for the endpoint of `kind`, or the missing field. Each endpoint requires `CallId`, `To`
/// and `From`; ringing and answered also `Direction`; answered, and ringing of an outgoing call,
/// also the e-mail (developer.acquire.io, 273cf39).
fn event(reported: &Reported<'_, '_>, kind: RequestKind, rules: &Rules) -> PlanItem {
    let leg = reported.leg.sid;
    let skipped =
        |cause, why: &str| PlanItem::Nothing(cause, format!("leg {leg}: {} {why}", kind.as_str()));
    let Some(status) = reported.leg.latest() else {
        return skipped(Cause::NotEnded, "has no status");
    };
    let Ok(to) = to(leg, status, rules) else {
        return skipped(Cause::NoTo, "requires To, which is empty");
    };
    let Ok(from) = from(leg, status, rules) else {
        return skipped(Cause::NoFrom, "requires From, which is empty");
    };
    let mut body = CallEvent {
        from,
        to,
        call_id: leg.to_string(),
        email: None,
        direction: None,
    };
    let mut reasons = Vec::from_iter(replaced_from(status));
    reasons.extend(replaced_to(status));
    if kind != RequestKind::CallInQueue {
        let Ok((direction, why)) = reported.direction(status, rules) else {
            return skipped(
                Cause::UnmappableDirection,
                "requires Direction, which is unknown",
            );
        };
        reasons.push(About::Direction.because(why));
        body.direction = Some(direction);
        let (email, why) = call_email(reported, status, direction, rules);
        let is_required = kind == RequestKind::CallAnswered || direction == Direction::Outgoing;
        if email.is_none() && is_required {
            return skipped(
                Cause::NotReported,
                "requires an e-mail, and none is known ([directory])",
            );
        }
        body.email = email;
        reasons.push(About::Email.because(why));
    }
    PlanItem::Send(Box::new(PlannedRequest {
        request: AcquireRequest {
            leg: leg.clone(),
            message: AcquireMessage::Event(kind, body),
        },
        wait: None,
        reasons,
    }))
}

/// Leaves out the events that a later one has overtaken: Acquire gets the entries of a call in order,
/// and an event that failed does not delay the next one.
pub(super) fn drop_overtaken(
    entries: Vec<PlanEntry>,
    attempts: &Attempts<'_>,
    now: Millis,
) -> Vec<PlanEntry> {
    let tried: Vec<bool> = entries
        .iter()
        .map(|entry| request(&entry.item).is_some_and(|request| attempts.last(request).is_some()))
        .collect();
    let is_due: Vec<bool> = entries
        .iter()
        .map(|entry| is_reached(&entry.item, now))
        .collect();
    let kept = entries.into_iter().enumerate().map(|(place, entry)| {
        let Some(request) = request(&entry.item) else {
            return entry;
        };
        let (leg, kind) = (&request.leg, request.message.kind());
        let is_event = matches!(request.message, AcquireMessage::Event(..));
        let last = attempts.last(request).map(|attempt| &attempt.verdict);
        let why = match last {
            // It was never tried: sent now, it would be out of order.
            None if tried[place + 1..].contains(&true) => "came after a later event was sent",
            Some(Verdict::Again(_) | Verdict::Held(_))
                if is_event && is_overtaken(&is_due, &tried, place) =>
            {
                "failed, and the next event is due"
            }
            _ => return entry,
        };
        PlanEntry {
            item: PlanItem::Nothing(
                Cause::NotReported,
                format!("leg {leg}: {} is left out: it {why}", kind.as_str()),
            ),
            ..entry
        }
    });
    kept.collect()
}

/// Whether an entry after `place` is due or was tried.
fn is_overtaken(is_due: &[bool], tried: &[bool], place: usize) -> bool {
    is_due[place + 1..].contains(&true) || tried[place + 1..].contains(&true)
}

fn request(item: &PlanItem) -> Option<&AcquireRequest> {
    match item {
        PlanItem::Send(planned) => Some(&planned.request),
        _ => None,
    }
}
