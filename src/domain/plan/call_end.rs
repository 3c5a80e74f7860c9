//! The call-end of a reported leg, or why there is none.

use super::call::{Leg, LegStatus};
use super::email::call_email;
use super::item::{AcquireMessage, AcquireRequest, PlanEntry, PlanItem, PlannedRequest};
use super::reason::{About, Reason};
use super::recording::RecordingChoice;
use super::reported::Reported;
use super::rules::Rules;
use super::status::{duration, ended_as, from, replaced_from, replaced_to, to};
use crate::acquire::CallEnd;
use crate::domain::cause::Cause;
use crate::twilio::{CallStatus, Evidence, StatusCallback};

/// Why a leg that has not ended has no call-end.
pub(super) fn not_ended(leg: &Leg<'_>) -> PlanEntry {
    let sid = leg.sid;
    let unknown = |leg: &LegStatus<'_>| match &leg.status.status {
        CallStatus::Unknown(text) => Some(text.clone()),
        _ => None,
    };
    let item = match (
        leg.statuses.iter().find_map(unknown),
        leg.statuses.last().map(|last| last.status),
    ) {
        (Some(text), _) => PlanItem::Unmappable(
            Cause::UnmappableStatus,
            format!("leg {sid} has CallStatus \"{text}\", for which Acquire has no equivalent"),
        ),
        (None, Some(last)) => PlanItem::Nothing(
            Cause::NotEnded,
            format!("leg {sid} has not ended (CallStatus {})", last.status),
        ),
        (None, None) => PlanItem::Nothing(Cause::NotEnded, format!("leg {sid} has no status")),
    };
    let unknown = leg.statuses.iter().filter(|leg| unknown(leg).is_some());
    PlanEntry {
        item,
        position: unknown
            .map(|leg| leg.received.position)
            .min()
            .unwrap_or_default(),
    }
}

/// The call-end of a leg; `found` is its recording.
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
    let (direction, why) = match reported.direction(status, rules) {
        Ok(direction) => direction,
        Err(why) => {
            let why = format!("leg {} {why}", leg.sid);
            return entry(PlanItem::Unmappable(Cause::UnmappableDirection, why));
        }
    };
    let to = match to(leg.sid, status, rules) {
        Ok(to) => to,
        Err(why) => return entry(PlanItem::Nothing(Cause::NoTo, why)),
    };
    let from = match from(leg.sid, status, rules) {
        Ok(from) => from,
        Err(why) => return entry(PlanItem::Unmappable(Cause::NoFrom, why)),
    };
    let mut reasons = vec![About::Direction.because(why)];
    reasons.extend(weaker(status));
    let (call_status, why) = match &reported.status {
        Some((call_status, why)) => (*call_status, Some(why.clone())),
        None => (own, None),
    };
    reasons.extend(why.map(|why| About::CallStatus.because(why)));
    let (email, why) = call_email(reported, status, direction, rules);
    reasons.push(About::Email.because(why));
    reasons.extend(replaced_from(status));
    reasons.extend(replaced_to(status));
    reasons.extend(found.reason.map(|why| About::RecordingUrl.because(why)));
    let duration = duration(status);
    reasons.extend(
        duration
            .as_ref()
            .err()
            .map(|why| About::Duration.because(why.clone())),
    );
    entry(PlanItem::Send(Box::new(PlannedRequest {
        request: AcquireRequest {
            leg: leg.sid.clone(),
            message: AcquireMessage::CallEnd(CallEnd {
                from,
                to,
                call_id: leg.sid.to_string(),
                email,
                call_status,
                recording_url: found.url,
                duration: duration.ok(),
                direction,
            }),
        },
        wait: found.wait,
        reasons,
    })))
}

fn weaker(status: &StatusCallback) -> Option<Reason> {
    let why = "weaker evidence: no status callback came within a minute";
    (status.evidence == Evidence::Weaker).then(|| About::All.because(why))
}
