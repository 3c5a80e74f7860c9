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

/// Decides what to do next for a call at `now`.
///
/// `attempts` are those that count: all since the call was last requeued, oldest first.
#[must_use]
pub fn plan(
    callbacks: &[ReceivedCallback],
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Next {
    let mut due: Option<(Millis, Option<AcquireRequest>)> = None;
    let mut parked = Vec::new();
    let mut skipped = Vec::new();
    let mut delivered = false;

    for line in items_by_leg(callbacks, attempts, rules, now) {
        for owed in line {
            let (at, request) = match owed {
                PlanItem::Send(due) => match standing(&due, attempts) {
                    RequestProgress::DueAt(at) => (at, Some(due.request)),
                    RequestProgress::Taken => {
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
                    parked.push(why);
                    continue;
                }
            };
            // Of what is due at once, the first in the call's order goes first.
            if due.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                due = Some((at, request));
            }
        }
    }

    match due {
        Some((at, Some(request))) if at <= now => Next::Send(request),
        Some((at, _)) => Next::Wait(at),
        None if !parked.is_empty() => Next::Parked(parked.join("; ")),
        None if delivered => Next::Delivered,
        None => Next::Skipped(skipped.join("; ")),
    }
}

/// All that a call makes owed and why, whatever was taken, in a fixed order.
#[must_use]
pub fn items(
    callbacks: &[ReceivedCallback],
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Vec<PlanItem> {
    items_by_leg(callbacks, attempts, rules, now).concat()
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

/// For how much that cannot be sent, whatever Acquire does, the call is parked.
#[must_use]
pub fn parked_unmappable(
    callbacks: &[ReceivedCallback],
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> usize {
    if !matches!(plan(callbacks, attempts, rules, now), Next::Parked(_)) {
        return 0;
    }
    let all = items(callbacks, attempts, rules, now).into_iter();
    all.filter(|owed| matches!(owed, PlanItem::Unmappable(_)))
        .count()
}

/// What is owed in the order in which it is sent, a line for each reported call; what is not
/// reported has a line with the reason.
fn items_by_leg(
    callbacks: &[ReceivedCallback],
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Vec<Vec<PlanItem>> {
    let call = Call::of(callbacks);
    let (reported, others) = reported_legs::choose(&call, attempts, rules, now);
    let mut lines: Vec<Vec<PlanItem>> = reported
        .iter()
        .map(|reported| items_of(reported, attempts, rules, now))
        .collect();
    lines.push(others);
    if call.legs.is_empty() {
        lines.push(vec![PlanItem::Nothing(
            "recordings are known, and no leg has told its status".to_owned(),
        )]);
    }
    lines
}

fn items_of(
    reported: &Reported<'_, '_>,
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> Vec<PlanItem> {
    let mut line = events::events(reported, rules);
    match &reported.ended {
        Err(why) => line.push(why.clone()),
        Ok(ended) => line.extend(ended_call(reported, *ended, attempts, rules, now)),
    }
    let line = events::drop_overtaken(line, attempts, now).into_iter();
    line.map(|owed| as_it_was_sent(owed, attempts)).collect()
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
) -> Vec<PlanItem> {
    let leg = reported.leg;
    let found = recording::find(reported, ended, &rules.recordings, now);
    let late = recording::lateness(attempts, leg, &found, &rules.recordings);
    let mut owed = vec![call_end::call_end(reported, found, rules)];
    match late {
        None => {}
        Some(Lateness::Kept(why)) => owed.push(PlanItem::Nothing(why)),
        Some(Lateness::Again(end)) => owed.push(PlanItem::Send(Box::new(PlannedRequest {
            request: AcquireRequest {
                leg: leg.sid.clone(),
                message: AcquireMessage::CallEndAgain(*end),
            },
            wait: None,
            reasons: vec![
                About::RecordingUrl.because("its recording came after the end (recording.late)"),
            ],
        }))),
    }
    owed
}

/// How many recordings of the call came after Acquire had taken the end without them.
#[must_use]
pub fn late_recordings(
    callbacks: &[ReceivedCallback],
    attempts: &[Attempt],
    rules: &Rules,
    now: Millis,
) -> u64 {
    let call = Call::of(callbacks);
    let (reported, _) = reported_legs::choose(&call, attempts, rules, now);
    let late = reported
        .iter()
        .map(|reported| recording::count_late(reported, attempts, &rules.recordings));
    late.sum()
}

/// Where a request stands after the attempts at it.
enum RequestProgress {
    DueAt(Millis),
    Taken,
    GivenUp(String),
}

fn standing(due: &PlannedRequest, attempts: &[Attempt]) -> RequestProgress {
    match last_verdict(attempts, &due.request) {
        None => RequestProgress::DueAt(
            due.wait
                .as_ref()
                .map_or(Millis::default(), |wait| wait.until),
        ),
        Some(Verdict::Again(at)) => RequestProgress::DueAt(*at),
        Some(Verdict::Accepted | Verdict::AcceptedAsRepeat) => RequestProgress::Taken,
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
