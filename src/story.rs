//! What became of one call, told for people and programs: `show`, the API and the call's page.

use serde::Serialize;

use crate::attempt::Verdict;
use crate::plan::{Owed, Rules, owed};
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
}

/// One callback of a story.
#[derive(Debug, Serialize)]
pub struct Told {
    pub received: String,
    pub leg: String,
    pub parent: Option<String>,
    pub call_status: String,
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
        request: serde_json::Value,
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
    pub fn of(call: &StoredCall, rules: &Rules) -> Self {
        let read: Vec<Callback> = call
            .callbacks
            .iter()
            .filter_map(|stored| read(stored).ok())
            .collect();
        Self {
            line: Line::of(&call.summary),
            callbacks: call.callbacks.iter().map(told).collect(),
            attempts: made(call),
            owed: owed(&read, rules).into_iter().map(due).collect(),
        }
    }
}

fn read(stored: &StoredCallback) -> Result<Callback, callback::NotACallback> {
    let callback = callback::read(&stored.request.body, stored.request.query())?;
    Ok(callback.received_at(stored.received))
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
            call_status: status.status.to_string(),
            from: status.from,
            to: status.to,
            sequence_number: status.sequence_number,
            url,
            form,
        },
        Err(why) => Told {
            received,
            leg: String::new(),
            parent: None,
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
            sent: serde_json::from_str(&attempt.sent).unwrap_or_default(),
            answer: attempt.excerpt.clone(),
            before_requeue: position < call.attempts_before_requeue,
        });
    stories.collect()
}

fn due(owed: Owed) -> Due {
    match owed {
        Owed::Send(request) => Due::Send {
            leg: request.leg.to_string(),
            request: serde_json::from_str(&request.message.to_json()).unwrap_or_default(),
        },
        Owed::Nothing(why) => Due::Nothing { why },
        Owed::Unmappable(why) => Due::Unmappable { why },
    }
}
