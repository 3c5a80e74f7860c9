//! What is owed to Acquire for a call: a pure function of the call's callbacks and of the attempts
//! made so far.
//!
//! Callbacks may come in any order and repeated. No time is read and nothing is sent here.

mod call;
mod call_end;
mod call_shape;
mod email;
mod events;
mod reason;
mod recording;
mod reported_legs;

use call::Call;
use recording::Lateness;
use reported_legs::Reported;

use crate::acquire::{CallEnd, CallEvent, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::directory::Directory;
use crate::twilio::{CallSid, Callback, StatusCallback};

pub use events::{EventRules, Forward};
pub use reason::{About, Reason};
pub use recording::{LateRecording, RecordingExpectation, RecordingRules};
pub use reported_legs::{LegRules, MissedStatus, ReportMode};

/// The operator's choices that decide what a call becomes.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `calls.empty_to`: sent as `To` for a leg that has none.
    pub empty_to: Option<String>,
    /// `calls.client`
    pub client: ClientParents,
    pub legs: LegRules,
    pub recordings: RecordingRules,
    /// `acquire.events`
    pub events: EventRules,
    pub directory: Directory,
}

/// Which way a call went whose first leg is `client:` and inbound (`calls.client`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientParents {
    /// As Twilio says.
    #[default]
    Incoming,
    /// The account's `client:` parents are agents' softphones calling out.
    Outgoing,
}

/// A callback and when it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedCallback {
    pub at: Millis,
    pub callback: Callback,
}

/// One request that a call makes owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquireRequest {
    pub leg: CallSid,
    pub message: AcquireMessage,
}

/// What is sent to Acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireMessage {
    /// What happened before the end.
    Event(RequestKind, CallEvent),
    CallEnd(CallEnd),
    /// The same call-end with a recording that came after it.
    CallEndAgain(CallEnd),
}

impl AcquireMessage {
    #[must_use]
    pub fn kind(&self) -> RequestKind {
        match self {
            Self::Event(kind, _) => *kind,
            Self::CallEnd(_) => RequestKind::CallEnd,
            Self::CallEndAgain(_) => RequestKind::CallEndAgain,
        }
    }

    /// A body that was sent as this kind.
    fn from_json(kind: RequestKind, body: &str) -> serde_json::Result<Self> {
        match kind {
            RequestKind::CallEnd => serde_json::from_str(body).map(Self::CallEnd),
            RequestKind::CallEndAgain => serde_json::from_str(body).map(Self::CallEndAgain),
            RequestKind::CallInQueue | RequestKind::CallRinging | RequestKind::CallAnswered => {
                serde_json::from_str(body).map(|event| Self::Event(kind, event))
            }
        }
    }

    /// The request's body.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = match self {
            Self::Event(_, event) => serde_json::to_string(event),
            Self::CallEnd(end) | Self::CallEndAgain(end) => serde_json::to_string(end),
        };
        json.expect("strings and unit variants are always JSON")
    }
}

/// What to do next for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request is due.
    Send(AcquireRequest),
    /// A request is owed, but not before this time.
    Wait(Millis),
    /// Acquire took all that was owed.
    Delivered,
    /// Nothing is owed, for this reason.
    Skipped(String),
    /// Something was given up or cannot be sent, for this reason, and nothing else is owed.
    Parked(String),
}

/// What a call makes owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanItem {
    Send(Box<PlannedRequest>),
    /// What is owed is not known before this time.
    Undecided(Wait),
    Nothing(String),
    Unmappable(String),
}

/// A request with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRequest {
    pub request: AcquireRequest,
    /// What it waits for before it is sent.
    pub wait: Option<Wait>,
    pub reasons: Vec<Reason>,
}

/// What is waited for, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    pub until: Millis,
    pub why: String,
}

/// Everything that a call needs sent, and the next step.
///
/// A position is that of a callback among those that the plan was made of: it says since which
/// callback a part of the plan was known.
#[derive(Clone, Debug)]
pub struct Plan {
    entries: Vec<PlanEntry>,
    next: Next,
    late_recordings: Vec<usize>,
    unfinished_since: Option<usize>,
}

/// A part of a plan.
#[derive(Clone, Debug)]
pub(crate) struct PlanEntry {
    pub item: PlanItem,
    /// The first callback that led to it.
    pub position: usize,
}

impl Plan {
    /// Plans a call at `now`.
    ///
    /// `attempts` are those since the call was last requeued, oldest first.
    #[must_use]
    pub fn of(
        callbacks: &[ReceivedCallback],
        attempts: &[Attempt],
        rules: &Rules,
        now: Millis,
    ) -> Self {
        let call = Call::of(callbacks);
        let (reported, others) = reported_legs::choose(&call, attempts, rules, now);
        let mut entries: Vec<PlanEntry> = reported
            .iter()
            .flat_map(|reported| entries_of(reported, attempts, rules, now))
            .collect();
        entries.extend(others);
        if call.legs.is_empty() {
            let why = "recordings are known, and no leg has told its status".to_owned();
            entries.push(PlanEntry {
                item: PlanItem::Nothing(why),
                position: 0,
            });
        }
        let late_recordings = reported
            .iter()
            .flat_map(|reported| recording::late(reported, attempts, &rules.recordings));
        let unfinished = entries
            .iter()
            .filter(|entry| is_unfinished(&entry.item, attempts))
            .map(|entry| entry.position);
        Self {
            next: next(&entries, attempts, now),
            late_recordings: late_recordings.collect(),
            unfinished_since: unfinished.min(),
            entries,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// All requests, finished ones too, and the reasons where there is none, in a fixed order.
    pub fn items(&self) -> impl Iterator<Item = &PlanItem> {
        self.entries.iter().map(|entry| &entry.item)
    }

    /// The positions of the recordings that came after Acquire had accepted the end without them.
    #[must_use]
    pub fn late_recordings(&self) -> &[usize] {
        &self.late_recordings
    }

    /// The positions of what no request can be made of, if the call is parked for it.
    pub fn unmappable(&self) -> impl Iterator<Item = usize> {
        let is_parked = matches!(self.next, Next::Parked(_));
        self.entries
            .iter()
            .filter(move |entry| is_parked && matches!(entry.item, PlanItem::Unmappable(_)))
            .map(|entry| entry.position)
    }

    /// The position of the oldest part that Acquire has neither accepted nor finally refused.
    #[must_use]
    pub fn unfinished_since(&self) -> Option<usize> {
        self.unfinished_since
    }
}

fn next(entries: &[PlanEntry], attempts: &[Attempt], now: Millis) -> Next {
    let mut due: Option<(Millis, Option<&AcquireRequest>)> = None;
    let mut parked: Vec<String> = Vec::new();
    let mut skipped: Vec<&str> = Vec::new();
    let mut delivered = false;
    for PlanEntry { item, .. } in entries {
        let (at, request) = match item {
            PlanItem::Send(planned) => match progress(planned, attempts) {
                RequestProgress::DueAt(at) => (at, Some(&planned.request)),
                RequestProgress::Accepted => {
                    delivered = true;
                    continue;
                }
                RequestProgress::GivenUp(why) => {
                    parked.push(why);
                    continue;
                }
            },
            PlanItem::Undecided(wait) => (wait.until, None),
            PlanItem::Nothing(why) => {
                skipped.push(why);
                continue;
            }
            PlanItem::Unmappable(why) => {
                parked.push(why.clone());
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
        None if !parked.is_empty() => Next::Parked(parked.join("; ")),
        None if delivered => Next::Delivered,
        None => Next::Skipped(skipped.join("; ")),
    }
}

fn is_unfinished(item: &PlanItem, attempts: &[Attempt]) -> bool {
    match item {
        PlanItem::Send(planned) => {
            matches!(progress(planned, attempts), RequestProgress::DueAt(_))
        }
        PlanItem::Undecided(_) => true,
        PlanItem::Nothing(_) | PlanItem::Unmappable(_) => false,
    }
}

/// The status by which each leg that has ended ended.
#[must_use]
pub fn ends(callbacks: &[ReceivedCallback]) -> Vec<(CallSid, StatusCallback)> {
    let call = Call::of(callbacks);
    let ends = call.legs.iter().filter_map(|leg| {
        let end = leg.end?;
        Some((leg.sid.clone(), end.clone()))
    });
    ends.collect()
}

/// Whether a status ends its leg.
#[must_use]
pub fn is_end(status: &StatusCallback) -> bool {
    call_end::ended_as(status).is_some()
}

/// The entries of a reported call in the order in which they are sent.
fn entries_of(
    reported: &Reported<'_, '_>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Vec<PlanEntry> {
    let mut entries = events::events(reported, rules);
    match &reported.ended {
        Err(why) => entries.push(why.clone()),
        Ok(ended) => entries.extend(ended_call(reported, *ended, attempts, rules, now)),
    }
    let entries = events::drop_overtaken(entries, attempts, now).into_iter();
    entries
        .map(|entry| PlanEntry {
            item: as_it_was_sent(entry.item, attempts),
            ..entry
        })
        .collect()
}

/// What Acquire took stays as it was sent, and what it may have taken goes again so: what was told
/// since contradicts nothing.
fn as_it_was_sent(owed: PlanItem, attempts: &[Attempt]) -> PlanItem {
    let PlanItem::Send(mut due) = owed else {
        return owed;
    };
    let made = || made_for(attempts, &due.request);
    let taken = made().find(|attempt| attempt.verdict.is_accepted());
    let (attempt, why) = match (taken, made().find(|attempt| attempt.may_have_been_taken())) {
        (Some(taken), _) => (taken, "as Acquire took it; what was told since is kept"),
        (None, Some(doubtful)) => (
            doubtful,
            "as it was sent before: Acquire may have taken that; what was told since is kept",
        ),
        (None, None) => return PlanItem::Send(due),
    };
    let sent = AcquireMessage::from_json(attempt.kind, &attempt.sent).ok();
    if let Some(sent) = sent.filter(|sent| *sent != due.request.message) {
        due.request.message = sent;
        due.reasons = vec![About::All.because(why)];
    }
    PlanItem::Send(due)
}

/// The call-end, and what a recording makes of it that came after it was taken.
fn ended_call(
    reported: &Reported<'_, '_>,
    ended: Millis,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Vec<PlanEntry> {
    let leg = reported.leg;
    let found = recording::find(reported, ended, &rules.recordings, now);
    let position = found.position;
    let late = recording::lateness(attempts, leg, &found, &rules.recordings);
    let mut entries = vec![call_end::call_end(reported, found, rules)];
    let item = match late {
        None => return entries,
        Some(Lateness::Kept(why)) => PlanItem::Nothing(why),
        Some(Lateness::Again(end)) => PlanItem::Send(Box::new(PlannedRequest {
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

/// Where a request stands after the attempts at it.
enum RequestProgress {
    DueAt(Millis),
    Accepted,
    GivenUp(String),
}

fn progress(due: &PlannedRequest, attempts: &[Attempt]) -> RequestProgress {
    match last_verdict(attempts, &due.request) {
        None => RequestProgress::DueAt(
            due.wait
                .as_ref()
                .map_or(Millis::default(), |wait| wait.until),
        ),
        Some(Verdict::Again(at)) => RequestProgress::DueAt(*at),
        Some(Verdict::Accepted | Verdict::AcceptedAsRepeat) => RequestProgress::Accepted,
        Some(Verdict::GivenUp(why)) => RequestProgress::GivenUp(why.clone()),
    }
}

/// Whether nothing but Acquire keeps a request from being sent.
fn reached(owed: &PlanItem, now: Millis) -> bool {
    match owed {
        PlanItem::Send(due) => due.wait.as_ref().is_none_or(|wait| wait.until <= now),
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

fn last_verdict<'a>(attempts: &'a [Attempt], request: &AcquireRequest) -> Option<&'a Verdict> {
    let verdicts = || made_for(attempts, request).map(|attempt| &attempt.verdict);
    // Accepted once is accepted for good, whatever else was answered.
    verdicts()
        .find(|verdict| verdict.is_accepted())
        .or_else(|| verdicts().next_back())
}

#[cfg(test)]
mod tests;
