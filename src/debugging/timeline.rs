//! The timeline of one call, for `show`, the API and the console: legs, callbacks, attempts and plan.
//!
//! Pure; it does not format text for a terminal.

mod attempts;
mod callbacks;
mod facts;
mod fields;
mod legs;
mod next;
mod planned;
pub mod refused;

use serde::Serialize;

use self::callbacks::{callback_view, difference};
use self::planned::planned_view;
use crate::clock::Millis;
use crate::debugging::state_words::{self, KnownCall, StateWords};
use crate::domain::call_filter::Waiting;
use crate::domain::outage::Outage;
use crate::domain::plan::{self, CallbackEffect, History, Plan, ReceivedCallback, Rules};
use crate::domain::retry;
use crate::store::{CallSummary, StoredCall};

pub use attempts::AttemptView;
pub use callbacks::CallbackView;
pub use facts::CallFacts;
pub use fields::FieldView;
pub use legs::LegView;
pub use planned::PlannedView;

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

impl CallLine {
    #[must_use]
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
    #[must_use]
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
        let attempt_views = attempts::attempt_views(&attempts, call.attempts_before_requeue);
        let planned: Vec<PlannedView> = plan
            .items()
            .map(|item| planned_view(item, counting))
            .collect();
        Self {
            line: CallLine::of(&call.summary),
            words,
            wait: waiting,
            next: next::next(&call.summary, &plan, counting, outage.as_ref(), now),
            facts: facts::facts(&legs, &callbacks, &attempt_views, &planned),
            legs,
            callbacks,
            attempts: attempt_views,
            planned,
            outage,
        }
    }
}
