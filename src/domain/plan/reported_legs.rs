//! Chooses the legs of a call that are reported: each leg, or one for the whole call.
//!
//! `docs/calls.md` has a table with a row and a reason for each case.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::call::{Call, Leg, LegStatus};
use super::call_end::not_ended;
use super::call_shape::{CallShape, is_inbound, is_put_through};
use super::conversation::{Conversation, Knowledge, conversations, places};
use super::history::History;
use super::item::{Awaited, PlanEntry, PlanItem, Wait};
use super::progress::Attempts;
use super::recording;
use super::reported::{CalleeEmail, Reported, invalid_emails};
use super::rules::{MissedStatus, ReportMode, Rules};
use super::status::{ended_as, url_email};
use crate::acquire::{self, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::cause::Cause;
use crate::domain::directory::Directory;
use crate::twilio::{CallSid, CallStatus};

/// The reported legs, and a reason for each other one.
pub(super) type Choice<'r, 'a> = (Vec<Reported<'r, 'a>>, Vec<PlanEntry>);

pub(super) fn choose<'r, 'a>(
    call: &'r Call<'a>,
    history: History<'_>,
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    // Acquire knows the call by what was sent first, so no later setting changes it.
    match history.mode(rules) {
        ReportMode::Legs => (per_leg(call, rules), call.waits.to_vec()),
        ReportMode::Call => per_call(call, history.attempts, rules, now),
    }
}

fn per_leg<'r, 'a>(call: &'r Call<'a>, rules: &Rules) -> Vec<Reported<'r, 'a>> {
    let mut recordings = recording::by_leg(call, rules);
    let expected = recording::expected_of(call, rules);
    let legs = call.legs.iter().map(|leg| Reported {
        recordings: recordings.remove(leg.sid).unwrap_or_default(),
        expects_recording: expected == Some(leg.sid),
        ..Reported::plain(leg, end_of(leg))
    });
    legs.collect()
}

fn end_of(leg: &Leg<'_>) -> Result<Millis, Option<PlanEntry>> {
    leg.ended
        .map(|ended| ended.at)
        .ok_or_else(|| Some(not_ended(leg)))
}

fn per_call<'r, 'a>(
    call: &'r Call<'a>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Choice<'r, 'a> {
    let decided = end_decided_at(call, rules, now);
    let tried = tried_legs(call, attempts);
    let ends = attempts
        .iter()
        .filter(|made| made.kind == RequestKind::CallEnd);
    let end_tried: BTreeSet<&CallSid> = ends.map(|attempt| &attempt.leg).collect();
    let knowledge = match decided {
        Ok(_) => Knowledge::Final,
        Err(_) => Knowledge::Growing,
    };
    let shape = CallShape::of(call);
    let all = |knowledge| conversations(shape, call, &tried, knowledge);
    let conversations = all(knowledge);
    if conversations.is_empty() {
        let undecided = match decided {
            Err(undecided) if matches!(undecided.item, PlanItem::Undecided(_)) => vec![undecided],
            _ => call.legs.iter().map(not_ended).collect(),
        };
        return (Vec::new(), undecided);
    }
    let last = last_end(call);
    let recordings = recording::by_conversation(&conversations, call);
    let invalid_emails = invalid_emails(&call.legs);
    let reported = conversations
        .iter()
        .zip(recordings)
        .map(|(conversation, recordings)| {
            let leg = conversation.leg;
            // An end that was tried is decided for good.
            let is_tried = end_tried.contains(leg.sid);
            let ended = match (&decided, last) {
                (Err(_), Some(last)) if is_tried => Ok(last),
                (Ok(last), _) => Ok(*last),
                (Err(_), _) => Err(None),
            };
            let mut reported = report(shape, call, leg, ended, rules);
            reported.recordings = recordings;
            reported.invalid_emails.clone_from(&invalid_emails);
            reported.expects_recording = reported.status.is_none();
            reported
        });
    let reported: Vec<Reported<'_, '_>> = reported.collect();
    // A conversation that is not certain yet waits too.
    let waits = reported.iter().any(|reported| reported.ended.is_err())
        || all(Knowledge::Final).len() > conversations.len();
    let mut others: Vec<PlanEntry> = decided.err().filter(|_| waits).into_iter().collect();
    let legs = conversations
        .iter()
        .map(|conversation| conversation.leg.sid);
    let legs: BTreeSet<&CallSid> = legs.collect();
    let unreported = call.legs.iter().filter(|leg| !legs.contains(leg.sid));
    let places = places(&conversations);
    others.extend(unreported.map(|leg| {
        let own = places.get(leg.sid).map(|place| &conversations[*place]);
        why_unreported(leg, own, &conversations)
    }));
    (reported, others)
}

/// The legs of which a request was made, in the order of their first attempts. One with an accepted
/// call-end precedes: two legs were tried if their calls were merged later.
fn tried_legs<'r, 'a>(call: &'r Call<'a>, attempts: &[Attempt]) -> Vec<&'r Leg<'a>> {
    let mut known = BTreeSet::new();
    let first = attempts.iter().filter(|attempt| known.insert(&attempt.leg));
    let mut tried: Vec<&Leg<'_>> = first.filter_map(|made| call.leg(&made.leg)).collect();
    let attempts = Attempts::of(attempts);
    // The sort is stable: otherwise the order of the first attempts remains.
    tried.sort_by_cached_key(|leg| !attempts.has_accepted_end(leg.sid));
    tried
}

/// Why a leg of a call that is reported is not reported itself.
fn why_unreported(
    leg: &Leg<'_>,
    own: Option<&Conversation<'_, '_>>,
    conversations: &[Conversation<'_, '_>],
) -> PlanEntry {
    let sid = leg.sid;
    let why = match own {
        Some(conversation) => format!("leg {} is the call", conversation.leg.sid),
        None if leg.parent.is_none() => {
            let legs = conversations.iter().map(|conversation| conversation.leg);
            let legs: Vec<&str> = legs.map(|leg| leg.sid.as_str()).collect();
            match &legs[..] {
                [leg] => format!("leg {leg} is the call"),
                _ => format!("legs {} are the calls that it made", legs.join(", ")),
            }
        }
        None if leg.ended.is_none() => return not_ended(leg),
        None => "it was not answered, and another leg was".to_owned(),
    };
    entry(PlanItem::Nothing(
        Cause::NotReported,
        format!("leg {sid} has no call-end of its own: {why} (calls.report = \"call\")"),
    ))
}

/// When the last leg ended, once all known legs have ended and settled or the wait for them is over.
/// A leg that others name as their parent is known: by default Twilio reports it only when it ends.
fn end_decided_at(call: &Call<'_>, rules: &Rules, now: Millis) -> Result<Millis, PlanEntry> {
    if let Some(wait) = call.waits.first() {
        return Err(wait.clone());
    }
    let Some(last) = last_end(call) else {
        return Err(call.legs.first().map_or_else(
            || {
                entry(PlanItem::Nothing(
                    Cause::NotEnded,
                    "no leg has a status".to_owned(),
                ))
            },
            not_ended,
        ));
    };
    let open = call.open_legs();
    let (until, what, why) = if open.is_empty() {
        let why = "all known legs have ended; waits for others (calls.settle)";
        (
            last.plus(rules.legs.settle),
            Awaited::MoreLegs,
            why.to_owned(),
        )
    } else {
        let open: Vec<&str> = open.into_iter().map(CallSid::as_str).collect();
        let why = format!("waits for the end of leg {} (calls.wait)", open.join(", "));
        (last.plus(rules.legs.wait), Awaited::LegEnd, why)
    };
    if until > now {
        return Err(entry(PlanItem::Undecided(Wait { until, what, why })));
    }
    Ok(last)
}

/// When the last end arrived.
fn last_end(call: &Call<'_>) -> Option<Millis> {
    let ended = call.legs.iter().filter_map(|leg| Some(leg.ended?.at));
    ended.max()
}

/// An entry about the call as a whole.
fn entry(item: PlanItem) -> PlanEntry {
    PlanEntry { item, position: 0 }
}

/// The reported leg with the fields that other legs change.
fn report<'r, 'a>(
    shape: Option<CallShape>,
    call: &'r Call<'a>,
    leg: &'r Leg<'a>,
    ended: Result<Millis, Option<PlanEntry>>,
    rules: &Rules,
) -> Reported<'r, 'a> {
    let plain = Reported::plain(leg, ended);
    let directory = &rules.directory;
    match shape {
        Some(CallShape::CalledIn) if leg.parent.is_none() => Reported {
            direction: Some((
                acquire::Direction::Incoming,
                "incoming: called from a phone number",
            )),
            status: missed(call, leg, rules.legs.missed),
            email: of_first_answered(call, directory),
            statuses: statuses_with_children(call, leg),
            ..plain
        },
        Some(CallShape::CalledOut) if leg.parent.is_none() => Reported {
            email: of_first_answered(call, directory),
            ..plain
        },
        // The first leg, if no leg that it dialled has ended, or if it was tried under other settings.
        Some(shape @ CallShape::DialledOut) if shape.is_of(leg) || leg.parent.is_none() => {
            Reported {
                direction: Some((
                    acquire::Direction::Outgoing,
                    "outgoing: an internal address dialled a phone number",
                )),
                email: of_caller(call, leg, directory),
                ..plain
            }
        }
        Some(
            CallShape::DialledOut | CallShape::Internal | CallShape::CalledOut | CallShape::Plain,
        ) => plain,
        // A leg that was sent before its first leg was known, or of which that is all.
        Some(CallShape::CalledIn) | None => Reported {
            direction: is_put_through(leg).then_some((
                acquire::Direction::Incoming,
                "incoming: a phone number was connected to an internal address",
            )),
            ..plain
        },
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
    let named = url_email(status);
    let email = named.or_else(|| directory.email_of(&status.to))?;
    let why = format!("e-mail of the agent who answered leg {}", child.sid);
    Some((email, Cow::Owned(why)))
}

fn of_caller(call: &Call<'_>, leg: &Leg<'_>, directory: &Directory) -> Option<CalleeEmail> {
    let first = call.root()?;
    let root = first.latest()?;
    // The API called the agent, whatever it gave as its own address.
    let caller = if is_inbound(first) {
        &root.from
    } else {
        &root.to
    };
    let of_leg = leg.latest().and_then(url_email);
    of_leg
        .or_else(|| url_email(root))
        .or_else(|| directory.email_of(caller))
        .map(|email| (email, Cow::Borrowed("e-mail of the agent who called")))
}
