//! Decides which requests a call needs: a pure function of its callbacks and the attempts so far.
//!
//! Callbacks may arrive in any order and more than once. The plan reads no time and sends nothing.

mod call;
mod call_end;
mod call_shape;
mod conversation;
mod effect;
mod email;
mod events;
mod evidence;
mod history;
mod item;
mod lateness;
mod parties;
mod progress;
mod reason;
mod recording;
mod reported;
mod reported_legs;
mod rules;
mod status;

use call::Call;
use evidence::Selection;
use item::PlanEntry;
use progress::{Attempts, RequestProgress, is_unfinished, progress};
use recording::LateUse;
use reported::Reported;

use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::domain::recording_link::is_same_link;

pub use effect::{CallbackEffect, effects};
pub use evidence::ReceivedCallback;
pub use history::History;
pub use item::{AcquireMessage, AcquireRequest, Awaited, PlanItem, PlannedRequest, Wait};
pub use lateness::Lateness;
pub use parties::{SipCustomers, SipHost};
pub use progress::made_for;
pub use reason::{About, Reason};
pub use rules::{
    ClientParents, EventRules, Forward, LateRecording, LegRules, MissedStatus,
    RecordingExpectation, RecordingRules, ReportMode, Rules,
};
pub use status::is_end;

/// The next step of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request is due.
    Send(AcquireRequest),
    /// A request is planned, but not before this time.
    Wait(Millis),
    /// Acquire accepted all requests.
    Delivered,
    /// There is no request to send, for this reason.
    Skipped(Cause, String),
    /// A request was given up or cannot be made, for this reason, and no other is pending.
    Parked(Cause, String),
}

/// All requests of a call, and the next step.
///
/// A position is that of a callback among those that the plan was made from. It shows since which
/// callback a part of the plan is known.
#[derive(Clone, Debug)]
pub struct Plan {
    entries: Vec<PlanEntry>,
    next: Next,
    late_recordings: Vec<usize>,
    unfinished_since: Option<usize>,
    unnamed_sip_host: Option<SipHost>,
}

impl Plan {
    /// Plans a call at `now`.
    pub fn of(
        callbacks: &[ReceivedCallback],
        history: History<'_>,
        rules: &Rules,
        now: Millis,
    ) -> Self {
        let attempts = &Attempts::of(history.current());
        let selection = Selection::of(callbacks, history, rules, now);
        let call = Call::of(&selection, &rules.sip_customers);
        let (reported, others) = reported_legs::choose(&call, history, rules, now);
        let mut entries: Vec<PlanEntry> = reported
            .iter()
            .flat_map(|reported| entries_of(reported, attempts, rules, now))
            .collect();
        entries.extend(others);
        if call.legs.is_empty() && call.waits.is_empty() {
            let why = "recordings are known, but no leg has a status".to_owned();
            entries.push(PlanEntry {
                item: PlanItem::Nothing(Cause::NotEnded, why),
                position: 0,
            });
        }
        let late_recordings = reported
            .iter()
            .flat_map(|reported| recording::late(reported, attempts, &rules.recordings, now));
        let unfinished = entries
            .iter()
            .filter(|entry| is_unfinished(&entry.item, attempts))
            .map(|entry| entry.position);
        Self {
            next: next(&entries, attempts, now),
            late_recordings: late_recordings.collect(),
            unfinished_since: unfinished.min(),
            unnamed_sip_host: call_shape::unnamed_sip_host(&call, rules)
                .filter(|_| history.mode(rules) == ReportMode::Call),
            entries,
        }
    }

    /// The next step at the time of the plan.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// All requests, finished ones too, and the reasons where there is none, in a fixed order.
    pub fn items(&self) -> impl Iterator<Item = &PlanItem> {
        self.entries.iter().map(|entry| &entry.item)
    }

    /// The positions of the recordings that came after Acquire had accepted the end without them.
    pub fn late_recordings(&self) -> &[usize] {
        &self.late_recordings
    }

    /// The positions of the unmappable legs, if the call is parked.
    pub fn unmappable(&self) -> impl Iterator<Item = usize> {
        let is_parked = matches!(self.next, Next::Parked(..));
        self.entries
            .iter()
            .filter(move |entry| is_parked && matches!(entry.item, PlanItem::Unmappable(..)))
            .map(|entry| entry.position)
    }

    /// The SIP host of a caller who may be a customer, because `calls.sip_customers` is not set. Only
    /// `calls.report = "call"` uses that setting.
    pub fn unnamed_sip_host(&self) -> Option<&SipHost> {
        self.unnamed_sip_host.as_ref()
    }

    /// The position of the oldest part that Acquire has neither accepted nor finally refused.
    pub fn unfinished_since(&self) -> Option<usize> {
        self.unfinished_since
    }
}

fn next(entries: &[PlanEntry], attempts: &Attempts<'_>, now: Millis) -> Next {
    let mut due: Option<(Millis, Option<&AcquireRequest>)> = None;
    let mut parked: Vec<(Cause, String)> = Vec::new();
    let mut skipped: Vec<(Cause, String)> = Vec::new();
    let mut delivered = false;
    for PlanEntry { item, .. } in entries {
        let (at, request) = match item {
            PlanItem::Send(planned) => match progress(planned, attempts) {
                RequestProgress::DueAt(at) => (at, Some(&planned.request)),
                RequestProgress::Accepted => {
                    delivered = true;
                    continue;
                }
                RequestProgress::GivenUp(cause, why) => {
                    parked.push((cause, why));
                    continue;
                }
            },
            PlanItem::Undecided(wait) => (wait.until, None),
            PlanItem::Nothing(cause, why) => {
                skipped.push((*cause, why.clone()));
                continue;
            }
            PlanItem::Unmappable(cause, why) => {
                parked.push((*cause, why.clone()));
                continue;
            }
        };
        // If several are due at the same time, the first in the call's order goes first.
        if due.is_none_or(|(earliest, _)| at < earliest) {
            due = Some((at, request));
        }
    }
    match due {
        Some((at, Some(request))) if at <= now => Next::Send(request.clone()),
        Some((at, _)) => Next::Wait(at),
        None if !parked.is_empty() => Next::Parked(main_cause(&parked), words(&parked)),
        None if delivered => Next::Delivered,
        None => Next::Skipped(main_cause(&skipped), words(&skipped)),
    }
}

/// The first cause that is not one of a normal call, if there is one.
fn main_cause(reasons: &[(Cause, String)]) -> Cause {
    let mut causes = reasons.iter().map(|(cause, _)| *cause);
    let first = causes.clone().next().unwrap_or(Cause::NotEnded);
    causes
        .find(|cause| *cause != Cause::NotReported)
        .unwrap_or(first)
}

fn words(reasons: &[(Cause, String)]) -> String {
    let reasons: Vec<&str> = reasons.iter().map(|(_, why)| why.as_str()).collect();
    reasons.join("; ")
}

/// The entries of a reported call in the order in which they are sent.
fn entries_of(
    reported: &Reported<'_, '_>,
    attempts: &Attempts<'_>,
    rules: &Rules,
    now: Millis,
) -> Vec<PlanEntry> {
    let mut entries = events::events(reported, rules);
    match &reported.ended {
        Err(why) => entries.extend(why.clone()),
        Ok(ended) => entries.extend(ended_call(reported, *ended, attempts, rules, now)),
    }
    let entries = events::drop_overtaken(entries, attempts, now).into_iter();
    entries
        .map(|entry| PlanEntry {
            item: as_it_was_sent(entry.item, attempts, rules, now),
            ..entry
        })
        .collect()
}

/// A request that Acquire accepted stays as it was sent, and one that it may have accepted is
/// repeated unchanged: a retry must not contradict the first request. Only a link to a recording that
/// no longer works is replaced.
fn as_it_was_sent(item: PlanItem, attempts: &Attempts<'_>, rules: &Rules, now: Millis) -> PlanItem {
    let PlanItem::Send(mut planned) = item else {
        return item;
    };
    let made = || attempts.made_for(&planned.request);
    let accepted = made().find(|attempt| attempt.verdict.is_accepted());
    let (attempt, why) = match (
        accepted,
        made().find(|attempt| attempt.may_have_been_accepted()),
    ) {
        (Some(accepted), _) => (accepted, "sent as shown; later callbacks are stored"),
        (None, Some(doubtful)) => (
            doubtful,
            "sent before as shown, and Acquire may have accepted it; later callbacks are stored",
        ),
        (None, None) => return PlanItem::Send(planned),
    };
    // A body that this version cannot read is planned anew.
    let Ok(mut sent) = AcquireMessage::from_json(attempt.kind, &attempt.sent) else {
        return PlanItem::Send(planned);
    };
    let is_dead = |url: &str| rules.recordings.links.is_dead(url, now);
    let mut reasons = vec![About::All.because(why)];
    if accepted.is_none() && sent.recording_url().is_some_and(is_dead) {
        let link = planned.request.message.recording_url().map(str::to_owned);
        sent = sent.with_recording_url(link);
        reasons.push(About::RecordingUrl.because("the link that was sent before no longer works"));
    }
    // A link differs only by its expiry; then the reasons of the plan are those of the request.
    let urls = (
        sent.recording_url(),
        planned.request.message.recording_url(),
    );
    let is_same = match urls {
        (Some(one), Some(other)) if is_same_link(one, other) => {
            let link = Some(one.to_owned());
            planned.request.message.clone().with_recording_url(link) == sent
        }
        _ => planned.request.message == sent,
    };
    if !is_same {
        planned.reasons = reasons;
    }
    planned.request.message = sent;
    PlanItem::Send(planned)
}

/// The call-end, and the use of a recording that came after Acquire had accepted it.
fn ended_call(
    reported: &Reported<'_, '_>,
    ended: Millis,
    attempts: &Attempts<'_>,
    rules: &Rules,
    now: Millis,
) -> Vec<PlanEntry> {
    let leg = reported.leg;
    let found = recording::find(reported, ended, &rules.recordings, now);
    let position = found.position;
    let late = recording::late_use(attempts, leg, &found, &rules.recordings);
    let mut entries = vec![call_end::call_end(reported, found, rules)];
    let item = match late {
        None => return entries,
        Some(LateUse::Kept(why)) => PlanItem::Nothing(Cause::NotReported, why),
        Some(LateUse::Again(end)) => PlanItem::Send(Box::new(PlannedRequest {
            request: AcquireRequest {
                leg: leg.sid.clone(),
                message: AcquireMessage::CallEndAgain(*end),
            },
            wait: None,
            reasons: vec![
                About::RecordingUrl.because("its recording came after the end (recording.late)"),
            ],
        })),
    };
    entries.push(PlanEntry { item, position });
    entries
}

#[cfg(test)]
mod tests;
