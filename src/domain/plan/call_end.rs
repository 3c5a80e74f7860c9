//! The call-end of a reported leg, or why there is none.

use super::call::{Leg, LegStatus};
use super::email::call_email;
use super::recording::RecordingChoice;
use super::reported_legs::Reported;
use super::{
    About, AcquireMessage, AcquireRequest, ClientParents, PlanEntry, PlanItem, PlannedRequest,
    Reason, Rules,
};
use crate::acquire::{self, CallEnd};
use crate::twilio::{self, CallSid, Direction, StatusCallback};

/// Acquire's word for a leg that has ended; `None` while it has not.
///
/// Acquire's five words are Twilio's five terminal statuses (call-end.md, "`CallStatus`").
pub(super) fn ended_as(status: &StatusCallback) -> Option<acquire::CallStatus> {
    use twilio::CallStatus as Twilio;
    match status.status {
        Twilio::Busy => Some(acquire::CallStatus::Busy),
        Twilio::NoAnswer => Some(acquire::CallStatus::NoAnswer),
        Twilio::Canceled => Some(acquire::CallStatus::Canceled),
        Twilio::Failed => Some(acquire::CallStatus::Failed),
        Twilio::Completed => Some(acquire::CallStatus::Completed),
        Twilio::Queued
        | Twilio::Initiated
        | Twilio::Ringing
        | Twilio::InProgress
        | Twilio::Unknown(_) => None,
    }
}

pub(super) fn not_ended(leg: &Leg<'_>) -> PlanEntry {
    let sid = leg.sid;
    let unknown = |leg: &LegStatus<'_>| match &leg.status.status {
        twilio::CallStatus::Unknown(text) => Some(text.clone()),
        _ => None,
    };
    let item = match (
        leg.statuses.iter().find_map(unknown),
        leg.statuses.last().map(|last| last.status),
    ) {
        (Some(text), _) => PlanItem::Unmappable(format!(
            "leg {sid} has CallStatus \"{text}\", which Acquire has no word for"
        )),
        (None, Some(last)) => PlanItem::Nothing(format!(
            "leg {sid} has not ended (CallStatus {})",
            last.status
        )),
        (None, None) => PlanItem::Nothing(format!("leg {sid} has told no status")),
    };
    let unknown = leg.statuses.iter().filter(|leg| unknown(leg).is_some());
    PlanEntry {
        item,
        position: unknown.map(|leg| leg.position).min().unwrap_or_default(),
    }
}

pub(super) fn call_end(
    reported: &Reported<'_, '_>,
    found: RecordingChoice<'_>,
    rules: &Rules,
) -> PlanEntry {
    let leg = reported.leg;
    let Some((status, own)) = leg.end.and_then(|end| Some((end, ended_as(end)?))) else {
        return not_ended(leg);
    };
    let position = leg.ended.map_or(0, |ended| ended.position);
    let entry = |item| PlanEntry { item, position };
    let (direction, why) = match call_direction(reported, status, rules) {
        Ok(direction) => direction,
        Err(why) => return entry(PlanItem::Unmappable(format!("leg {} {why}", leg.sid))),
    };
    let to = match to(leg.sid, status, rules) {
        Ok(to) => to,
        Err(why) => return entry(PlanItem::Nothing(why)),
    };
    let mut because = vec![About::Direction.because(why)];
    let (call_status, why) = match &reported.status {
        Some((call_status, why)) => (*call_status, Some(why.clone())),
        None => (own, None),
    };
    because.extend(why.map(|why| About::CallStatus.because(why)));
    let (email, why) = call_email(reported, status, direction, rules).unzip();
    because.extend(why.map(|why| About::Email.because(why)));
    because.extend(stand_in_for_to(status));
    because.extend(found.reason.map(|why| About::RecordingUrl.because(why)));
    entry(PlanItem::Send(Box::new(PlannedRequest {
        request: AcquireRequest {
            leg: leg.sid.clone(),
            message: AcquireMessage::CallEnd(CallEnd {
                from: status.from.clone(),
                to,
                call_id: leg.sid.to_string(),
                email,
                call_status,
                recording_url: found.url,
                duration: seconds(status),
                direction,
            }),
        },
        wait: found.wait,
        reasons: because,
    })))
}

/// `Duration` is sent only when known; what is no number tells nothing.
fn seconds(status: &StatusCallback) -> Option<String> {
    let is_number = |text: &&String| text.bytes().all(|byte| byte.is_ascii_digit());
    status.call_duration.as_ref().filter(is_number).cloned()
}

/// Whether Acquire could take a leg with this end.
pub(super) fn sendable(leg: &CallSid, end: &StatusCallback, rules: &Rules) -> Result<(), String> {
    direction(end, rules)?;
    to(leg, end, rules).map(|_| ())
}

pub(super) fn to(leg: &CallSid, status: &StatusCallback, rules: &Rules) -> Result<String, String> {
    match (status.to.as_str(), &rules.empty_to) {
        ("", None) => Err(format!(
            "leg {leg} has an empty To, which Acquire requires (calls.empty_to can name a text)"
        )),
        ("", Some(text)) => Ok(text.clone()),
        (to, _) => Ok(to.to_owned()),
    }
}

/// Told where [`to`] gave another text than Twilio's.
pub(super) fn stand_in_for_to(status: &StatusCallback) -> Option<Reason> {
    let why = "calls.empty_to, since the leg has none";
    status.to.is_empty().then(|| About::To.because(why))
}

pub(super) fn call_direction(
    reported: &Reported<'_, '_>,
    status: &StatusCallback,
    rules: &Rules,
) -> Result<(acquire::Direction, &'static str), String> {
    reported
        .direction
        .map_or_else(|| direction(status, rules), Ok)
}

fn direction(
    status: &StatusCallback,
    rules: &Rules,
) -> Result<(acquire::Direction, &'static str), String> {
    let from_softphone = status.from.starts_with("client:");
    match &status.direction {
        Some(Direction::Inbound) if from_softphone && rules.client == ClientParents::Outgoing => {
            Ok((
                acquire::Direction::Outgoing,
                "outgoing: a softphone called (calls.client)",
            ))
        }
        Some(Direction::Inbound | Direction::TrunkingOriginating) => Ok((
            acquire::Direction::Incoming,
            "incoming: so Twilio says of this leg",
        )),
        Some(Direction::OutboundApi | Direction::OutboundDial | Direction::TrunkingTerminating) => {
            Ok((
                acquire::Direction::Outgoing,
                "outgoing: so Twilio says of this leg",
            ))
        }
        Some(Direction::Unknown(text)) => Err(format!(
            "has Direction \"{text}\", which Acquire has no word for"
        )),
        None => Err("has no Direction, which Acquire requires".to_owned()),
    }
}
