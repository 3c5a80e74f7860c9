//! What became of one call, told for people and programs: `show`, the API and the call's page.

use serde::Serialize;

use crate::attempt::Verdict;
use crate::clock::Millis;
use crate::outage::Outage;
use crate::plan::{Owed, Received, Rules, owed};
use crate::store::{CallSummary, StoredCall, StoredCallback};
use crate::twilio::{Callback, Kind, callback};

/// One line about a call.
#[derive(Debug, Serialize)]
pub struct Line {
    pub call_sid: String,
    pub account_sid: String,
    pub state: &'static str,
    /// RFC 3339; when something is due, while pending.
    pub due: Option<String>,
    /// Why it is skipped or parked.
    pub reason: Option<String>,
    pub first_received: String,
    pub changed: String,
}

/// A call with its callbacks, attempts, and what is owed.
#[derive(Debug, Serialize)]
pub struct Story {
    #[serde(flatten)]
    pub line: Line,
    pub callbacks: Vec<Told>,
    pub attempts: Vec<Made>,
    pub owed: Vec<Due>,
    /// Told by a running bridge alone: why the call waits though it may be due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
}

/// One callback of a story.
#[derive(Debug, Serialize)]
pub struct Told {
    pub received: String,
    pub leg: String,
    pub parent: Option<String>,
    /// `recording` where the callback tells of one, else `status`.
    pub kind: &'static str,
    /// Of the leg, or of the recording.
    pub call_status: String,
    pub recording: Option<String>,
    pub from: String,
    pub to: String,
    pub sequence_number: Option<u32>,
    pub url: String,
    /// The raw form.
    pub form: String,
}

/// One attempt of a story.
#[derive(Debug, Serialize)]
pub struct Made {
    pub at: String,
    pub leg: String,
    pub kind: &'static str,
    pub verdict: &'static str,
    /// Why nothing more is tried, or when it is tried again.
    pub then: Option<String>,
    pub status: Option<u16>,
    pub fault: Option<&'static str>,
    pub duration_ms: u64,
    pub sent: serde_json::Value,
    pub answer: String,
    /// Made before the last requeue, so it no longer counts.
    pub before_requeue: bool,
}

/// What today's plan makes of one leg, whatever was sent.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Due {
    Send {
        leg: String,
        kind: &'static str,
        request: serde_json::Value,
        /// Why this direction, status, e-mail and recording.
        because: Vec<String>,
        waits: Option<String>,
    },
    Undecided {
        why: String,
    },
    Nothing {
        why: String,
    },
    Unmappable {
        why: String,
    },
}

impl Line {
    #[must_use]
    pub fn of(call: &CallSummary) -> Self {
        Self {
            call_sid: call.sid.to_string(),
            account_sid: call.account.to_string(),
            state: call.state.as_str(),
            due: call.due.map(|due| due.to_string()),
            reason: call.reason.clone(),
            first_received: call.first_received.to_string(),
            changed: call.changed.to_string(),
        }
    }
}

impl Story {
    #[must_use]
    pub fn of(call: &StoredCall, rules: &Rules, now: Millis) -> Self {
        let read: Vec<Received> = call
            .callbacks
            .iter()
            .filter_map(|stored| {
                let at = stored.received;
                read(stored).ok().map(|callback| Received { at, callback })
            })
            .collect();
        let counting = &call.attempts[call.attempts_before_requeue.min(call.attempts.len())..];
        Self {
            line: Line::of(&call.summary),
            callbacks: call.callbacks.iter().map(told).collect(),
            attempts: made(call),
            owed: owed(&read, counting, rules, now)
                .into_iter()
                .map(due)
                .collect(),
            outage: None,
        }
    }
}

fn read(stored: &StoredCallback) -> Result<Callback, callback::NotACallback> {
    callback::read(&stored.request.body, &stored.request.url)
}

fn told(stored: &StoredCallback) -> Told {
    let form = String::from_utf8_lossy(&stored.request.body).into_owned();
    let received = stored.received.to_string();
    let url = stored.request.url.clone();
    match read(stored) {
        Ok(Callback {
            leg,
            parent,
            kind: Kind::Status(status),
            ..
        }) => Told {
            received,
            leg: leg.to_string(),
            parent: parent.map(|parent| parent.to_string()),
            kind: "status",
            call_status: status.status.to_string(),
            recording: status.recording_url,
            from: status.from,
            to: status.to,
            sequence_number: status.sequence_number,
            url,
            form,
        },
        Ok(Callback {
            leg,
            kind: Kind::Recording(recording),
            ..
        }) => Told {
            received,
            leg: leg.to_string(),
            parent: None,
            kind: "recording",
            call_status: recording.status.to_string(),
            recording: Some(match recording.url {
                Some(url) => format!("{} {url}", recording.sid),
                None => recording.sid.to_string(),
            }),
            from: String::new(),
            to: String::new(),
            sequence_number: None,
            url,
            form,
        },
        Err(why) => Told {
            received,
            leg: String::new(),
            parent: None,
            kind: "unreadable",
            recording: None,
            call_status: format!("unreadable: {why}"),
            from: String::new(),
            to: String::new(),
            sequence_number: None,
            url,
            form,
        },
    }
}

fn made(call: &StoredCall) -> Vec<Made> {
    let stories = call
        .attempts
        .iter()
        .enumerate()
        .map(|(position, attempt)| Made {
            at: attempt.at.to_string(),
            leg: attempt.leg.to_string(),
            kind: attempt.kind.as_str(),
            verdict: attempt.verdict.as_str(),
            then: match &attempt.verdict {
                Verdict::Accepted | Verdict::AcceptedAsRepeat => None,
                Verdict::Again(at) => Some(format!("due again at {at}")),
                Verdict::GivenUp(why) => Some(why.clone()),
            },
            status: attempt.status,
            fault: attempt.fault.map(crate::acquire::Fault::as_str),
            duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            sent: as_json(&attempt.sent),
            answer: attempt.excerpt.clone(),
            before_requeue: position < call.attempts_before_requeue,
        });
    stories.collect()
}

/// What is no JSON is shown as the text it is.
fn as_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn due(owed: Owed) -> Due {
    match owed {
        Owed::Send(due) => Due::Send {
            leg: due.request.leg.to_string(),
            kind: due.request.message.kind().as_str(),
            request: as_json(&due.request.message.to_json()),
            because: due.because.into_iter().map(Into::into).collect(),
            waits: due
                .wait
                .map(|wait| format!("{}, until {}", wait.why, wait.until)),
        },
        Owed::Undecided(wait) => Due::Undecided {
            why: format!("{}, until {}", wait.why, wait.until),
        },
        Owed::Nothing(why) => Due::Nothing { why },
        Owed::Unmappable(why) => Due::Unmappable { why },
    }
}
