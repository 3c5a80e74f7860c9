//! What became of one call, told for people and programs: `show`, the API and the call's page.

mod fields;
mod legs;
mod next;
pub mod refused;

use serde::Serialize;

use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::outage::Outage;
use crate::domain::plan::{self, Owed, Received, Rules, owed};
use crate::domain::plural::counted;
use crate::store::{CallSummary, StoredCall, StoredCallback};
use crate::twilio::{CallSid, CallStatus, Callback, Kind, RecordingStatus, Status, callback};

pub use fields::Field;
pub use legs::Leg;

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
    /// What happens next and when, in words.
    pub next: String,
    pub legs: Vec<Leg>,
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
    /// `status`, `recording` or, if a later version cannot read it, `unreadable`.
    pub kind: &'static str,
    /// Of the leg, or of the recording.
    pub call_status: String,
    /// What it means for its leg.
    pub verdict: &'static str,
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
        fields: Vec<Field>,
        /// Where it stands after the attempts that count.
        stands: String,
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
    pub fn of(call: &StoredCall, rules: &Rules, outage: Option<Outage>, now: Millis) -> Self {
        let read: Vec<Received> = call
            .callbacks
            .iter()
            .filter_map(|stored| {
                let at = stored.received;
                read(stored).ok().map(|callback| Received { at, callback })
            })
            .collect();
        let counting = &call.attempts[call.attempts_before_requeue.min(call.attempts.len())..];
        let owed = owed(&read, counting, rules, now);
        let ends = plan::ends(&read);
        let callbacks: Vec<Told> = call.callbacks.iter().map(|one| told(one, &ends)).collect();
        Self {
            line: Line::of(&call.summary),
            next: next::next(&call.summary, &owed, counting, outage.as_ref(), now),
            legs: legs::legs(&callbacks),
            callbacks,
            attempts: made(call),
            owed: owed.into_iter().map(|owed| due(owed, counting)).collect(),
            outage,
        }
    }
}

fn read(stored: &StoredCallback) -> Result<Callback, callback::NotACallback> {
    callback::read(&stored.request.body, &stored.request.url)
}

/// Of several ends of a leg the first counts; what is no end may still tell how far the call was.
fn verdict(leg: &CallSid, status: &Status, ends: &[(CallSid, Status)]) -> &'static str {
    let end = ends.iter().find(|(other, _)| other == leg);
    match (end, &status.status) {
        (Some((_, end)), _) if end == status => "ends the leg",
        (_, CallStatus::Unknown(_)) => "kept: an unknown status",
        _ if plan::is_end(status) => "kept: the leg had ended",
        _ => "before the end",
    }
}

fn told(stored: &StoredCallback, ends: &[(CallSid, Status)]) -> Told {
    let as_it_came = Told {
        received: stored.received.to_string(),
        leg: String::new(),
        parent: None,
        kind: "unreadable",
        call_status: String::new(),
        verdict: "kept: cannot be read",
        recording: None,
        from: String::new(),
        to: String::new(),
        sequence_number: None,
        url: stored.request.url.clone(),
        form: String::from_utf8_lossy(&stored.request.body).into_owned(),
    };
    let callback = match read(stored) {
        Ok(callback) => callback,
        Err(why) => {
            return Told {
                call_status: format!("unreadable: {why}"),
                ..as_it_came
            };
        }
    };
    match callback.kind {
        Kind::Status(status) => Told {
            verdict: verdict(&callback.leg, &status, ends),
            leg: callback.leg.to_string(),
            parent: callback.parent.map(|parent| parent.to_string()),
            kind: "status",
            call_status: status.status.to_string(),
            recording: status.recording_url,
            from: status.from,
            to: status.to,
            sequence_number: status.sequence_number,
            ..as_it_came
        },
        Kind::Recording(recording) => Told {
            leg: callback.leg.to_string(),
            kind: "recording",
            verdict: match recording.status {
                RecordingStatus::Unknown(_) => "kept: an unknown status",
                _ => "of the leg",
            },
            call_status: recording.status.to_string(),
            recording: Some(match recording.url {
                Some(url) => format!("{} {url}", recording.sid),
                None => recording.sid.to_string(),
            }),
            ..as_it_came
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

/// Where a request stands after `attempts`.
fn stands(due: &plan::Due, attempts: &[Attempt]) -> String {
    let made: Vec<&Attempt> = plan::made_for(attempts, &due.request).collect();
    if let Some(taken) = made.iter().find(|attempt| attempt.verdict.is_accepted()) {
        return format!("Acquire took it at {}", taken.at);
    }
    match made.last().map(|last| &last.verdict) {
        Some(Verdict::GivenUp(why)) => format!("given up: {why}"),
        Some(Verdict::Again(at)) => {
            format!("tried {}, again at {at}", counted(made.len(), "time"))
        }
        _ if due.wait.is_some() => "waits".to_owned(),
        _ => "due".to_owned(),
    }
}

fn due(owed: Owed, attempts: &[Attempt]) -> Due {
    match owed {
        Owed::Send(due) => {
            let stands = stands(&due, attempts);
            let request = as_json(&due.request.message.to_json());
            let leg = due.request.leg.to_string();
            Due::Send {
                kind: due.request.message.kind().as_str(),
                fields: fields::fields(&request, &leg, &due.because),
                leg,
                request,
                because: due
                    .because
                    .into_iter()
                    .map(|reason| reason.why.into())
                    .collect(),
                stands,
                waits: due
                    .wait
                    .map(|wait| format!("{}, until {}", wait.why, wait.until)),
            }
        }
        Owed::Undecided(wait) => Due::Undecided {
            why: format!("{}, until {}", wait.why, wait.until),
        },
        Owed::Nothing(why) => Due::Nothing { why },
        Owed::Unmappable(why) => Due::Unmappable { why },
    }
}
