//! What Acquire hears of a call before its end (`acquire.events`), and in which order.

use super::call_end::{call_direction, stand_in_for_to, to};
use super::email::call_email;
use super::reported_legs::Reported;
use super::{
    About, AcquireMessage, AcquireRequest, PlanEntry, PlanItem, PlannedRequest, Rules,
    last_verdict, reached,
};
use crate::acquire::{CallEvent, Direction, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::twilio::CallStatus;

/// Which events of a call's life are sent beside its end (`acquire.events`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventRules {
    pub in_queue: Forward,
    pub ringing: Forward,
    pub answered: Forward,
}

/// Whether an event is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forward {
    #[default]
    Off,
    On,
}

/// The events of a reported call that are wanted and were told, in the call's order.
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
    of_kind.map(|leg| leg.position).min()
}

/// What the endpoint of `kind` requires (developer.acquire.io, 273cf39): all want `CallId`, `To` and
/// `From`; ringing and answered `Direction` too; answered the e-mail, and so does ringing for an
/// outgoing call.
fn event(reported: &Reported<'_, '_>, kind: RequestKind, rules: &Rules) -> PlanItem {
    let leg = reported.leg.sid;
    let skipped = |why: &str| PlanItem::Nothing(format!("leg {leg}: {} {why}", kind.as_str()));
    let Some(status) = reported.leg.latest() else {
        return skipped("has nothing to tell");
    };
    let Ok(to) = to(leg, status, rules) else {
        return skipped("requires To, which is empty");
    };
    if status.from.is_empty() {
        return skipped("requires From, which is empty");
    }
    let mut body = CallEvent {
        from: status.from.clone(),
        to,
        call_id: leg.to_string(),
        email: None,
        direction: None,
    };
    let mut because = Vec::from_iter(stand_in_for_to(status));
    if kind != RequestKind::CallInQueue {
        let Ok((direction, why)) = call_direction(reported, status, rules) else {
            return skipped("requires Direction, which is unknown");
        };
        because.push(About::Direction.because(why));
        body.direction = Some(direction);
        let email = call_email(reported, status, direction, rules);
        let is_required = kind == RequestKind::CallAnswered || direction == Direction::Outgoing;
        if email.is_none() && is_required {
            return skipped("requires an e-mail, and nobody's is known ([directory])");
        }
        if let Some((email, why)) = email {
            body.email = Some(email);
            because.push(About::Email.because(why));
        }
    }
    PlanItem::Send(Box::new(PlannedRequest {
        request: AcquireRequest {
            leg: leg.clone(),
            message: AcquireMessage::Event(kind, body),
        },
        wait: None,
        reasons: because,
    }))
}

/// A line of requests in the call's order as it can still be sent: what a later one has overtaken is
/// left out, and a request that failed does not hold up the next.
pub(super) fn drop_overtaken(
    entries: Vec<PlanEntry>,
    attempts: &[Attempt],
    now: Millis,
) -> Vec<PlanEntry> {
    let tried: Vec<bool> = entries
        .iter()
        .map(|entry| {
            request(&entry.item).is_some_and(|request| last_verdict(attempts, request).is_some())
        })
        .collect();
    let is_due: Vec<bool> = entries
        .iter()
        .map(|entry| reached(&entry.item, now))
        .collect();
    let kept = entries.into_iter().enumerate().map(|(place, entry)| {
        let Some(request) = request(&entry.item) else {
            return entry;
        };
        let (leg, kind) = (&request.leg, request.message.kind());
        let is_event = matches!(request.message, AcquireMessage::Event(..));
        let why = match last_verdict(attempts, request) {
            None if tried[place + 1..].contains(&true) => "came after a later event was sent",
            Some(Verdict::Again(_)) if is_event && is_behind(&is_due, &tried, place) => {
                "failed, and the next event is due"
            }
            _ => return entry,
        };
        PlanEntry {
            item: PlanItem::Nothing(format!(
                "leg {leg}: {} is left out: it {why}",
                kind.as_str()
            )),
            ..entry
        }
    });
    kept.collect()
}

/// Whether something later than `place` is due or was tried.
fn is_behind(is_due: &[bool], tried: &[bool], place: usize) -> bool {
    is_due[place + 1..].contains(&true) || tried[place + 1..].contains(&true)
}

fn request(owed: &PlanItem) -> Option<&AcquireRequest> {
    match owed {
        PlanItem::Send(due) => Some(&due.request),
        _ => None,
    }
}
