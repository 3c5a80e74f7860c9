//! What became of one call, told for people and programs: `show`, the API and the call's page.

mod fields;
mod legs;
mod next;
pub mod refused;

use serde::Serialize;

use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::outage::Outage;
use crate::domain::plan::{self, Plan, PlanItem, ReceivedCallback, Rules};
use crate::domain::plural::counted;
use crate::store::{CallSummary, StoredCall, StoredCallback};
use crate::twilio::{
    CallSid, CallStatus, Callback, CallbackContent, RecordingStatus, StatusCallback, callback,
};

pub use fields::FieldView;
pub use legs::LegView;

/// One line about a call.
#[derive(Debug, Serialize)]
pub struct CallLine {
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
pub struct CallTimeline {
    #[serde(flatten)]
    pub line: CallLine,
    /// What happens next and when, in words.
    pub next: String,
    pub legs: Vec<LegView>,
    pub callbacks: Vec<CallbackView>,
    pub attempts: Vec<AttemptView>,
    pub planned: Vec<PlannedView>,
    /// Told by a running bridge alone: why the call waits though it may be due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
}

/// One callback of a story.
#[derive(Debug, Serialize)]
pub struct CallbackView {
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
pub struct AttemptView {
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
pub enum PlannedView {
    Send {
        leg: String,
        kind: &'static str,
        request: serde_json::Value,
        /// Why this direction, status, e-mail and recording.
        reasons: Vec<String>,
        fields: Vec<FieldView>,
        /// Where it stands after the attempts that count.
        progress: String,
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

impl CallLine {
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

impl CallTimeline {
    #[must_use]
    pub fn of(call: &StoredCall, rules: &Rules, outage: Option<Outage>, now: Millis) -> Self {
        let read: Vec<ReceivedCallback> = call
            .callbacks
            .iter()
            .filter_map(|stored| {
                let at = stored.received;
                read(stored)
                    .ok()
                    .map(|callback| ReceivedCallback { at, callback })
            })
            .collect();
        let counting = &call.attempts[call.attempts_before_requeue.min(call.attempts.len())..];
        let plan = Plan::of(&read, counting, rules, now);
        let ends = plan::ends(&read);
        let callbacks: Vec<CallbackView> = call
            .callbacks
            .iter()
            .map(|one| callback_view(one, &ends))
            .collect();
        Self {
            line: CallLine::of(&call.summary),
            next: next::next(&call.summary, &plan, counting, outage.as_ref(), now),
            legs: legs::legs(&callbacks),
            callbacks,
            attempts: made(call),
            planned: plan.items().map(|item| due(item, counting)).collect(),
            outage,
        }
    }
}

fn read(stored: &StoredCallback) -> Result<Callback, callback::CallbackParseError> {
    callback::read(&stored.request.body, &stored.request.url)
}

/// Of several ends of a leg the first counts; what is no end may still tell how far the call was.
fn verdict(
    leg: &CallSid,
    status: &StatusCallback,
    ends: &[(CallSid, StatusCallback)],
) -> &'static str {
    let end = ends.iter().find(|(other, _)| other == leg);
    match (end, &status.status) {
        (Some((_, end)), _) if end == status => "ends the leg",
        (_, CallStatus::Unknown(_)) => "kept: an unknown status",
        _ if plan::is_end(status) => "kept: the leg had ended",
        _ => "before the end",
    }
}

fn callback_view(stored: &StoredCallback, ends: &[(CallSid, StatusCallback)]) -> CallbackView {
    let as_it_came = CallbackView {
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
            return CallbackView {
                call_status: format!("unreadable: {why}"),
                ..as_it_came
            };
        }
    };
    match callback.kind {
        CallbackContent::Status(status) => CallbackView {
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
        CallbackContent::Recording(recording) => CallbackView {
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

fn made(call: &StoredCall) -> Vec<AttemptView> {
    let stories = call
        .attempts
        .iter()
        .enumerate()
        .map(|(position, attempt)| AttemptView {
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
            fault: attempt.fault.map(crate::acquire::DeliveryFault::as_str),
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
fn stands(due: &plan::PlannedRequest, attempts: &[Attempt]) -> String {
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

fn due(item: &PlanItem, attempts: &[Attempt]) -> PlannedView {
    match item {
        PlanItem::Send(due) => {
            let stands = stands(due, attempts);
            let request = as_json(&due.request.message.to_json());
            let leg = due.request.leg.to_string();
            PlannedView::Send {
                kind: due.request.message.kind().as_str(),
                fields: fields::fields(&request, &leg, &due.reasons),
                leg,
                request,
                reasons: due
                    .reasons
                    .iter()
                    .map(|reason| reason.why.to_string())
                    .collect(),
                progress: stands,
                waits: due
                    .wait
                    .as_ref()
                    .map(|wait| format!("{}, until {}", wait.why, wait.until)),
            }
        }
        PlanItem::Undecided(wait) => PlannedView::Undecided {
            why: format!("{}, until {}", wait.why, wait.until),
        },
        PlanItem::Nothing(why) => PlannedView::Nothing { why: why.clone() },
        PlanItem::Unmappable(why) => PlannedView::Unmappable { why: why.clone() },
    }
}
