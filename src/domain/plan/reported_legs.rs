//! Chooses the legs of a call that are reported: each leg, or one for the whole call.
//!
//! `docs/calls.md` has a table with a row and a reason for each case.

use std::borrow::Cow;

use super::call::{Call, Leg, LegStatus};
use super::call_end::not_ended;
use super::call_shape::{self, CallShape, is_internal};
use super::item::{PlanEntry, PlanItem, Wait};
use super::recording;
use super::reported::{CalleeEmail, Reported};
use super::rules::{MissedStatus, ReportMode, Rules};
use super::status::ended_as;
use crate::acquire::{self, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::directory::Directory;
use crate::twilio::{CallSid, CallStatus};

/// The reported legs, and a reason for each other one.
pub(super) type Choice<'r, 'a> = (Vec<Reported<'r, 'a>>, Vec<PlanEntry>);

pub(super) fn choose<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    match rules.legs.report {
        ReportMode::Legs => (per_leg(call, rules), Vec::new()),
        ReportMode::Call => per_call(call, attempts, rules, now),
    }
}

fn per_leg<'r, 'a>(call: &'r Call<'a>, rules: &Rules) -> Vec<Reported<'r, 'a>> {
    let legs = call.legs.iter().map(|leg| Reported {
        recordings: recording::of_leg(leg, call, rules),
        expects_recording: recording::is_expected_of(leg, call, rules),
        ..Reported::plain(leg, end_of(leg))
    });
    legs.collect()
}

fn end_of(leg: &Leg<'_>) -> Result<Millis, PlanEntry> {
    leg.ended
        .map(|ended| ended.at)
        .ok_or_else(|| not_ended(leg))
}

fn per_call<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    let ended = end_decided_at(call, attempts, rules, now);
    let shape = CallShape::of(call);
    // Acquire knows the call by the leg of the first request, so no later callback changes it.
    let tried = attempts.iter().find_map(|attempt| call.leg(&attempt.leg));
    let leg = tried.or_else(|| match ended {
        Ok(_) => call_shape::ended_leg(shape, call),
        Err(_) => shape?.certain_leg(call),
    });
    let Some(leg) = leg else {
        let undecided = match ended {
            Err(
                undecided @ PlanEntry {
                    item: PlanItem::Undecided(_),
                    ..
                },
            ) => vec![undecided],
            _ => call.legs.iter().map(not_ended).collect(),
        };
        return (Vec::new(), undecided);
    };
    let mut reported = match shape.filter(|shape| shape.is_of(leg)) {
        Some(shape) => report(shape, call, leg, ended, rules),
        None => orphan_leg(leg, ended),
    };
    reported.recordings = call.recordings.iter().collect();
    reported.expects_recording = reported.status.is_none();
    let sid = leg.sid;
    let others = call.legs.iter().filter(|leg| leg.sid != sid);
    let others = others
        .map(|leg| {
            entry(PlanItem::Nothing(format!(
                "leg {} has no call-end of its own: leg {sid} is the call (calls.report = \"call\")",
                leg.sid
            )))
        })
        .collect();
    (vec![reported], others)
}

/// When the last leg ended, once all known legs have ended and settled or the wait for them is over.
/// A leg that others name as their parent is known: by default Twilio reports it only when it ends.
fn end_decided_at(
    call: &Call<'_>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Result<Millis, PlanEntry> {
    let ended = call.legs.iter().filter_map(|leg| Some(leg.ended?.at));
    let Some(last) = ended.max() else {
        return Err(call.legs.first().map_or_else(
            || entry(PlanItem::Nothing("no leg has a status".to_owned())),
            not_ended,
        ));
    };
    if attempts
        .iter()
        .any(|attempt| attempt.kind == RequestKind::CallEnd)
    {
        return Ok(last);
    }
    let open = call.open_legs();
    let (until, why) = if open.is_empty() {
        let why = "all known legs have ended; waits for others (calls.settle)";
        (last.plus(rules.legs.settle), why.to_owned())
    } else {
        let open: Vec<&str> = open.into_iter().map(CallSid::as_str).collect();
        let why = format!("waits for the end of leg {} (calls.wait)", open.join(", "));
        (last.plus(rules.legs.wait), why)
    };
    if until > now {
        return Err(entry(PlanItem::Undecided(Wait { until, why })));
    }
    Ok(last)
}

/// An entry about the call as a whole.
fn entry(item: PlanItem) -> PlanEntry {
    PlanEntry { item, position: 0 }
}

fn report<'r, 'a>(
    shape: CallShape,
    call: &'r Call<'a>,
    leg: &'r Leg<'a>,
    ended: Result<Millis, PlanEntry>,
    rules: &Rules,
) -> Reported<'r, 'a> {
    let plain = Reported::plain(leg, ended);
    let directory = &rules.directory;
    match shape {
        CallShape::CalledIn => Reported {
            direction: Some((
                acquire::Direction::Incoming,
                "incoming: called from a phone number",
            )),
            status: missed(call, leg, rules.legs.missed),
            email: of_first_answered(call, directory),
            statuses: statuses_with_children(call, leg),
            ..plain
        },
        CallShape::DialledOut => Reported {
            direction: Some((
                acquire::Direction::Outgoing,
                "outgoing: an internal address dialled a phone number",
            )),
            email: of_caller(call, leg, directory),
            ..plain
        },
        CallShape::CalledOut => Reported {
            email: of_first_answered(call, directory),
            ..plain
        },
        CallShape::Internal | CallShape::Plain => plain,
    }
}

/// A leg without a status of its parent: an agent who was called from a phone number, or a call out.
fn orphan_leg<'r, 'a>(leg: &'r Leg<'a>, ended: Result<Millis, PlanEntry>) -> Reported<'r, 'a> {
    let is_incoming = leg.parent.is_some()
        && leg
            .latest()
            .is_some_and(|status| is_internal(&status.to) && !is_internal(&status.from));
    Reported {
        direction: is_incoming.then_some((
            acquire::Direction::Incoming,
            "incoming: a phone number was connected to an internal address",
        )),
        ..Reported::plain(leg, ended)
    }
}

fn first_answered<'r, 'a>(call: &'r Call<'a>) -> Option<&'r Leg<'a>> {
    call.answered_children().into_iter().next()
}

/// The status of a call that was not answered: Twilio reports `completed` for its first leg.
fn missed(
    call: &Call<'_>,
    root: &Leg<'_>,
    missed: MissedStatus,
) -> Option<(acquire::CallStatus, Cow<'static, str>)> {
    let own = ended_as(root.end?)?;
    let is_missed = own == acquire::CallStatus::Completed && first_answered(call).is_none();
    if !is_missed || missed == MissedStatus::Parent {
        return None;
    }
    let children = call.children();
    let (last, end) = children
        .iter()
        .rev()
        .find_map(|child| Some((child.sid, child.end?)))?;
    let why = format!("status of leg {last}, the last that was dialled, because none was answered");
    Some((ended_as(end)?, Cow::Owned(why)))
}

/// The statuses of the first leg and its children. A person answers when a child leg is answered:
/// the first leg is in progress as soon as a menu answers it.
fn statuses_with_children<'a>(call: &Call<'a>, root: &Leg<'a>) -> Vec<LegStatus<'a>> {
    let children = call.children();
    let own = root
        .statuses
        .iter()
        .copied()
        .filter(|leg| children.is_empty() || leg.status.status != CallStatus::InProgress);
    own.chain(
        children
            .iter()
            .flat_map(|child| child.statuses.iter().copied()),
    )
    .collect()
}

fn of_first_answered(call: &Call<'_>, directory: &Directory) -> Option<CalleeEmail> {
    let child = first_answered(call)?;
    let status = child.latest()?;
    let named = status.email.clone();
    let email = named.or_else(|| directory.email_of(&status.to))?;
    let why = format!("e-mail of the agent who answered leg {}", child.sid);
    Some((email, Cow::Owned(why)))
}

fn of_caller(call: &Call<'_>, leg: &Leg<'_>, directory: &Directory) -> Option<CalleeEmail> {
    let root = call.root()?.latest()?;
    let caller = if is_internal(&root.from) {
        &root.from
    } else {
        &root.to
    };
    let of_leg = leg.latest().and_then(|status| status.email.clone());
    of_leg
        .or_else(|| root.email.clone())
        .or_else(|| directory.email_of(caller))
        .map(|email| (email, Cow::Borrowed("e-mail of the agent who called")))
}
