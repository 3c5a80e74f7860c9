//! What is owed to Acquire for a call: a pure function of the call's callbacks and of the attempts
//! made so far.
//!
//! Callbacks may come in any order and repeated. No time is read and nothing is sent here.

use crate::acquire::{self, CallEnd, Kind};
use crate::attempt::{Attempt, Verdict};
use crate::clock::Millis;
pub use crate::directory::Directory;
use crate::recording_link::RecordingLinks;
use crate::twilio::{self, CallSid, Callback, Direction, Status};

/// The operator's choices that decide what a call becomes.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `calls.empty_to`: sent as `To` for a leg that has none.
    pub empty_to: Option<String>,
    /// `calls.client`
    pub client: ClientParents,
    pub directory: Directory,
    /// `recording.link`
    pub recordings: RecordingLinks,
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

/// One request that a call makes owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub leg: CallSid,
    pub message: Message,
}

/// What is sent to Acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    CallEnd(CallEnd),
}

impl Message {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::CallEnd(_) => Kind::CallEnd,
        }
    }

    /// The request's body.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self::CallEnd(call_end) = self;
        // Strings and unit variants only: serialising them cannot fail.
        serde_json::to_string(call_end).unwrap_or_default()
    }
}

/// What to do next for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request is due.
    Send(Request),
    /// A request is owed, but not before this time.
    Wait(Millis),
    /// Acquire took all that was owed.
    Delivered,
    /// Nothing is owed, for this reason.
    Skipped(String),
    /// Something was given up or cannot be sent, for this reason, and nothing else is owed.
    Parked(String),
}

/// What one leg makes owed, before attempts are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    Send(Request),
    Nothing(String),
    Unmappable(String),
}

/// Decides what to do next for a call at `now`.
///
/// `attempts` are those that count: all since the call was last requeued, oldest first.
#[must_use]
pub fn plan(callbacks: &[Callback], attempts: &[Attempt], rules: &Rules, now: Millis) -> Next {
    let mut due: Option<(Millis, Request)> = None;
    let mut parked = Vec::new();
    let mut skipped = Vec::new();
    let mut delivered = false;

    for owed in owed(callbacks, rules) {
        let request = match owed {
            Owed::Send(request) => request,
            Owed::Nothing(why) => {
                skipped.push(why);
                continue;
            }
            Owed::Unmappable(why) => {
                parked.push(why);
                continue;
            }
        };
        let at = match last_verdict(attempts, &request) {
            None => Millis::default(),
            Some(Verdict::Again(at)) => *at,
            Some(Verdict::Accepted | Verdict::AcceptedAsRepeat) => {
                delivered = true;
                continue;
            }
            Some(Verdict::GivenUp(why)) => {
                parked.push(why.clone());
                continue;
            }
        };
        if due.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
            due = Some((at, request));
        }
    }

    match due {
        Some((at, request)) if at <= now => Next::Send(request),
        Some((at, _)) => Next::Wait(at),
        None if !parked.is_empty() => Next::Parked(parked.join("; ")),
        None if delivered => Next::Delivered,
        None => Next::Skipped(skipped.join("; ")),
    }
}

/// What each leg of a call makes owed, in a fixed order whatever the order of the callbacks.
#[must_use]
pub fn owed(callbacks: &[Callback], rules: &Rules) -> Vec<Owed> {
    let mut legs: Vec<&CallSid> = callbacks.iter().map(|callback| &callback.leg).collect();
    // A leg without a parent is the call's first and goes first.
    legs.sort_by_key(|leg| (is_child(callbacks, leg), *leg));
    legs.dedup();
    legs.into_iter()
        .map(|leg| owed_for_leg(leg, callbacks, rules))
        .collect()
}

fn is_child(callbacks: &[Callback], leg: &CallSid) -> bool {
    callbacks
        .iter()
        .any(|callback| callback.leg == *leg && callback.parent.is_some())
}

fn owed_for_leg(leg: &CallSid, callbacks: &[Callback], rules: &Rules) -> Owed {
    let told = in_order(leg, callbacks);
    match told
        .iter()
        .find_map(|status| Some((*status, ended_as(status)?)))
    {
        Some((status, call_status)) => {
            let recording = recording_url(leg, status, callbacks, rules);
            call_end(leg, status, call_status, recording, rules)
        }
        None => not_ended(leg, &told),
    }
}

/// A leg's statuses by `SequenceNumber`, then `Timestamp`; what else they say breaks a tie, so that
/// the order of arrival never matters.
fn in_order<'a>(leg: &CallSid, callbacks: &'a [Callback]) -> Vec<&'a Status> {
    let mut told: Vec<&Status> = callbacks
        .iter()
        .filter(|callback| callback.leg == *leg)
        .map(|callback| {
            let twilio::Kind::Status(status) = &callback.kind;
            status
        })
        .collect();
    told.sort_by_key(|status| {
        (
            status.sequence_number.unwrap_or(u32::MAX),
            status.timestamp.unwrap_or(jiff::Timestamp::MAX),
            *status,
        )
    });
    told
}

/// Those of `attempts` that were made for `request`.
#[must_use]
pub fn made_for<'a>(
    attempts: &'a [Attempt],
    request: &Request,
) -> impl DoubleEndedIterator<Item = &'a Attempt> + use<'a> {
    let (leg, kind) = (request.leg.clone(), request.message.kind());
    attempts
        .iter()
        .filter(move |attempt| attempt.leg == leg && attempt.kind == kind)
}

fn last_verdict<'a>(attempts: &'a [Attempt], request: &Request) -> Option<&'a Verdict> {
    let verdicts = || made_for(attempts, request).map(|attempt| &attempt.verdict);
    // Accepted once is accepted for good, whatever else was answered.
    verdicts()
        .find(|verdict| verdict.is_accepted())
        .or_else(|| verdicts().next_back())
}

/// Acquire's word for a leg that has ended; `None` while it has not.
///
/// Acquire's five words are Twilio's five terminal statuses (call-end.md, "`CallStatus`").
fn ended_as(status: &Status) -> Option<acquire::CallStatus> {
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

fn not_ended(leg: &CallSid, told: &[&Status]) -> Owed {
    let unknown = told.iter().find_map(|status| match &status.status {
        twilio::CallStatus::Unknown(text) => Some(text),
        _ => None,
    });
    match (unknown, told.last()) {
        (Some(text), _) => Owed::Unmappable(format!(
            "leg {leg} has CallStatus \"{text}\", which Acquire has no word for"
        )),
        (None, Some(last)) => Owed::Nothing(format!(
            "leg {leg} has not ended (CallStatus {})",
            last.status
        )),
        (None, None) => Owed::Nothing(format!("leg {leg} has told no status")),
    }
}

fn call_end(
    leg: &CallSid,
    status: &Status,
    call_status: acquire::CallStatus,
    recording_url: Option<String>,
    rules: &Rules,
) -> Owed {
    let direction = match direction(status, rules) {
        Ok(direction) => direction,
        Err(why) => return Owed::Unmappable(format!("leg {leg} {why}")),
    };
    let to = match (status.to.as_str(), &rules.empty_to) {
        ("", None) => {
            return Owed::Nothing(format!(
                "leg {leg} has an empty To, which Acquire requires (calls.empty_to can name a text)"
            ));
        }
        ("", Some(text)) => text.clone(),
        (to, _) => to.to_owned(),
    };
    Owed::Send(Request {
        leg: leg.clone(),
        message: Message::CallEnd(CallEnd {
            from: status.from.clone(),
            to,
            call_id: leg.to_string(),
            email: email(status, direction, &rules.directory),
            call_status,
            recording_url,
            duration: status.call_duration.clone(),
            direction,
        }),
    })
}

/// The URL of the recording that `status` tells of. The first arrival counts, so that a repeat
/// changes nothing.
fn recording_url(
    leg: &CallSid,
    status: &Status,
    callbacks: &[Callback],
    rules: &Rules,
) -> Option<String> {
    let tells = |callback: &&Callback| {
        let twilio::Kind::Status(other) = &callback.kind;
        callback.leg == *leg && other == status
    };
    let first = callbacks
        .iter()
        .filter(tells)
        .min_by_key(|callback| callback.received)?;
    rules.recordings.url(
        &first.account,
        status.recording_sid.as_ref(),
        status.recording_url.as_deref()?,
        first.received,
    )
}

fn direction(status: &Status, rules: &Rules) -> Result<acquire::Direction, String> {
    let from_softphone = status.from.starts_with("client:");
    match &status.direction {
        Some(Direction::Inbound) if from_softphone && rules.client == ClientParents::Outgoing => {
            Ok(acquire::Direction::Outgoing)
        }
        Some(Direction::Inbound | Direction::TrunkingOriginating) => {
            Ok(acquire::Direction::Incoming)
        }
        Some(Direction::OutboundApi | Direction::OutboundDial | Direction::TrunkingTerminating) => {
            Ok(acquire::Direction::Outgoing)
        }
        Some(Direction::Unknown(text)) => Err(format!(
            "has Direction \"{text}\", which Acquire has no word for"
        )),
        None => Err("has no Direction, which Acquire requires".to_owned()),
    }
}

/// The person's e-mail: the callback URL's, else the directory's.
fn email(status: &Status, direction: acquire::Direction, directory: &Directory) -> Option<String> {
    let caller = || match direction {
        acquire::Direction::Outgoing => directory.email_of(&status.from),
        acquire::Direction::Incoming => None,
    };
    status
        .email
        .clone()
        .or_else(|| directory.email_of(&status.to))
        .or_else(caller)
        .or_else(|| directory.default.clone())
}

#[cfg(test)]
mod tests;
