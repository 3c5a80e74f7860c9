//! The timeline of one call, for `show`, the API and the console: legs, callbacks, attempts and plan.
//!
//! Pure; it does not format text for a terminal.

mod callbacks;
mod legs;
mod next;
mod planned;
pub mod refused;

use serde::Serialize;

use self::callbacks::{callback_view, difference};
use self::planned::{as_json, planned_view};
use crate::acquire::DeliveryFault;
use crate::clock::Millis;
use crate::debugging::state_words::{self, KnownCall, StateWords};
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::call_filter::Waiting;
use crate::domain::outage::Outage;
use crate::domain::plan::{self, CallbackEffect, History, Plan, ReceivedCallback, Rules};
use crate::domain::retry;
use crate::store::{CallSummary, StoredCall};

pub use callbacks::CallbackView;
pub use legs::LegView;
pub use planned::{FieldView, PlannedView};

/// One line about a call.
#[derive(Debug, Serialize)]
pub struct CallLine {
    pub call_sid: String,
    pub account_sid: String,
    pub state: &'static str,
    /// When the next request is due (RFC 3339), while the call is pending.
    pub due: Option<String>,
    /// Why the call is skipped or parked.
    pub reason: Option<String>,
    /// The code of that reason.
    pub cause: Option<String>,
    /// What became of the call, as in reports.
    pub class: &'static str,
    pub first_received: String,
    pub changed: String,
}

/// A call with its legs, callbacks, attempts and plan.
#[derive(Debug, Serialize)]
pub struct CallTimeline {
    #[serde(flatten)]
    pub line: CallLine,
    /// The state in words.
    pub words: String,
    /// What the call waits for, while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Waiting>,
    /// The next step and its time, as a sentence.
    pub next: String,
    pub facts: CallFacts,
    pub legs: Vec<LegView>,
    pub callbacks: Vec<CallbackView>,
    pub attempts: Vec<AttemptView>,
    pub planned: Vec<PlannedView>,
    /// Why the call waits although it may be due; only a running bridge knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
}

/// One attempt to send a request to Acquire.
#[derive(Debug, Serialize)]
pub struct AttemptView {
    pub at: String,
    pub leg: String,
    pub kind: &'static str,
    pub verdict: &'static str,
    /// Why the request was given up, or when it is retried.
    pub explanation: Option<String>,
    pub status: Option<u16>,
    pub fault: Option<&'static str>,
    pub duration_ms: u64,
    pub sent: serde_json::Value,
    pub answer: String,
    /// Made before the last requeue: it decides only as which leg the call is sent.
    pub before_requeue: bool,
}

/// A call in a few fields; `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallFacts {
    pub caller: String,
    pub callee: String,
    /// `incoming` or `outgoing`.
    pub direction: Option<String>,
    /// The agent's.
    pub email: Option<String>,
    /// In seconds.
    pub duration: Option<u64>,
    /// When the callback of the end arrived (RFC 3339).
    pub ended: Option<String>,
    pub recording: Option<String>,
    /// When Acquire accepted the call (RFC 3339).
    pub in_acquire_at: Option<String>,
}

impl CallLine {
    pub fn of(call: &CallSummary) -> Self {
        Self {
            call_sid: call.sid.to_string(),
            account_sid: call.account.to_string(),
            state: call.state.as_str(),
            due: call.due.map(|due| due.to_string()),
            reason: call.reason.clone(),
            cause: call.cause.map(|cause| cause.to_string()),
            class: call.class.as_str(),
            first_received: call.first_received.to_string(),
            changed: call.changed.to_string(),
        }
    }
}

impl CallTimeline {
    pub fn of(call: &StoredCall, rules: &Rules, outage: Option<Outage>, now: Millis) -> Self {
        let stored = || call.callbacks.iter();
        let read: Vec<_> = stored().map(|stored| stored.request.read()).collect();
        let readable: Vec<ReceivedCallback> = stored()
            .zip(&read)
            .filter_map(|(stored, read)| {
                let at = stored.received;
                let callback = read.as_ref().ok()?.clone();
                Some(ReceivedCallback { at, callback })
            })
            .collect();
        let attempts = retry::with_retry_now(&call.attempts, call.retry_now_at);
        // The plan ignores the attempts before the last requeue.
        let history = History::requeued(&attempts, call.attempts_before_requeue);
        let counting = history.current();
        let plan = Plan::of(&readable, history, rules, now);
        let effects = plan::effects(&readable, history, rules, now);
        let mut effects = readable.iter().zip(effects);
        let callbacks: Vec<CallbackView> = stored()
            .zip(read)
            .map(|(stored, read)| {
                let Some((received, effect)) = read.is_ok().then(|| effects.next()).flatten()
                else {
                    return callback_view(stored, read, None);
                };
                let mut view = callback_view(stored, read, Some(effect));
                if matches!(
                    effect,
                    CallbackEffect::AfterAttempt | CallbackEffect::AfterEnd
                ) {
                    view.notes.extend(difference(received, &readable));
                }
                view
            })
            .collect();
        let known = KnownCall {
            call: &call.summary,
            plan: &plan,
            attempts: counting,
            due: state_words::due_at(&readable, counting, rules),
            outage: outage.as_ref(),
            now,
        };
        let StateWords { words, waiting } = known.words();
        let legs = legs::legs(&callbacks);
        let attempt_views = attempt_views(&attempts, call.attempts_before_requeue);
        let planned: Vec<PlannedView> = plan
            .items()
            .map(|item| planned_view(item, counting))
            .collect();
        Self {
            line: CallLine::of(&call.summary),
            words,
            wait: waiting,
            next: next::next(&call.summary, &plan, counting, outage.as_ref(), now),
            facts: facts(&legs, &callbacks, &attempt_views, &planned),
            legs,
            callbacks,
            attempts: attempt_views,
            planned,
            outage,
        }
    }
    /// The short name of a leg.
    pub fn leg_name<'a>(&'a self, sid: &'a str) -> &'a str {
        let leg = self.legs.iter().find(|leg| leg.sid == sid);
        leg.map_or(sid, |leg| &leg.name)
    }

    /// The callbacks in their order. Each comes with the lower numbers of its leg that did not arrive, unless
    /// an earlier one has them.
    pub fn callbacks_with_gaps(&self) -> Vec<(Vec<u32>, &CallbackView)> {
        let gaps = |leg: &LegView| {
            let missing = leg.missing.iter();
            missing
                .map(|number| (leg.sid.clone(), *number))
                .collect::<Vec<_>>()
        };
        let mut gaps: Vec<(String, u32)> = self.legs.iter().flat_map(gaps).collect();
        let callbacks = self.callbacks.iter().map(|callback| {
            let is_before = |(leg, number): &mut (String, u32)| {
                *leg == callback.leg && callback.sequence_number.is_some_and(|own| own > *number)
            };
            let before = gaps.extract_if(.., is_before).map(|(_, number)| number);
            (before.collect(), callback)
        });
        callbacks.collect()
    }
}

/// Shows attempts, of which the first `before_requeue` came before the last requeue.
fn attempt_views(attempts: &[Attempt], before_requeue: usize) -> Vec<AttemptView> {
    let views = attempts
        .iter()
        .enumerate()
        .map(|(position, attempt)| AttemptView {
            at: attempt.at.to_string(),
            leg: attempt.leg.to_string(),
            kind: attempt.kind.as_str(),
            verdict: attempt.verdict.as_str(),
            explanation: match &attempt.verdict {
                Verdict::Accepted | Verdict::AcceptedAsRepeat => None,
                Verdict::Again(at) => Some(format!("retry at {at}")),
                Verdict::Held(at) => Some(format!("retry at {at}; no retry is used up")),
                Verdict::GivenUp(why) => Some(why.clone()),
            },
            status: attempt.status,
            fault: attempt.fault.map(DeliveryFault::as_str),
            duration_ms: u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX),
            sent: as_json(&attempt.sent),
            answer: attempt.excerpt.clone(),
            before_requeue: position < before_requeue,
        });
    views.collect()
}

/// The values are those of the request to Acquire; where there is none, of the first leg.
fn facts(
    legs: &[LegView],
    callbacks: &[CallbackView],
    attempts: &[AttemptView],
    planned: &[PlannedView],
) -> CallFacts {
    let mut requests = planned.iter().filter_map(|planned| match planned {
        PlannedView::Send { request, .. } => Some(request),
        _ => None,
    });
    // The end comes last, and has the most.
    let request = requests.next_back();
    let field = |name: &str| {
        let value = request?.get(name)?.as_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let leg = legs
        .iter()
        .find(|leg| !leg.from.is_empty() || !leg.to.is_empty());
    let of_leg = |side: fn(&LegView) -> &String| leg.map(side).cloned().unwrap_or_default();
    let end = callbacks
        .iter()
        .rfind(|one| one.verdict.starts_with("ends the leg"));
    let accepted = attempts
        .iter()
        .find(|attempt| attempt.verdict.starts_with("accepted"));
    CallFacts {
        caller: field("From").unwrap_or_else(|| of_leg(|leg| &leg.from)),
        callee: field("To").unwrap_or_else(|| of_leg(|leg| &leg.to)),
        direction: field("Direction"),
        email: field("email"),
        duration: field("Duration").and_then(|seconds| seconds.parse().ok()),
        ended: end.map(|end| end.received.clone()),
        recording: field("RecordingUrl"),
        in_acquire_at: accepted.map(|attempt| attempt.at.clone()),
    }
}
