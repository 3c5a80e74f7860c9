//! Delivers one claimed call: plans it, sends at most one request, and returns its new state.
//!
//! It does not decide what is sent (`domain/plan`) or when it is retried (`domain/retry.rs`), and
//! it stores nothing (`settle`).

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, warn};

use super::account_queues::AnswerEffect;
use super::log;
use super::worker::Worker;
use crate::clock::Millis;
use crate::config::Account;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::call_addresses::CallTerms;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::domain::failing_calls::FailureCause;
use crate::domain::plan::{
    self, AcquireRequest, History, Lateness, Next, Plan, ReceivedCallback, ReportMode,
};
use crate::domain::retry::{self, Jitter};
use crate::store::{AccountFilter, Claimed, NextState, Settlement, StoredCallback};
use crate::twilio::callback::CallbackParseError;

/// The number of calls that one transaction makes due once Acquire is back: few enough that no
/// accepted callback waits noticeably for it.
const RETRY_NOW_BATCH: usize = 200;

impl Worker {
    /// Plans a call, sends its next request if one is due, and plans it again with the result.
    pub(super) async fn work(&self, call: &Claimed, account: &Account) -> Settlement {
        let callbacks = match read(&call.callbacks) {
            Ok(callbacks) => callbacks,
            Err(why) => {
                let parked = NextState::Parked(Cause::UnmappableOther, why);
                return without_attempt(call, parked);
            }
        };
        // One copy for both plans: the directory may change between them.
        let rules = Arc::clone(&self.rules.borrow());
        let mut attempts = retry::with_retry_now(&call.attempts, call.retry_now_at);
        let earlier = call.attempts_before_requeue;
        let history = History::requeued(&attempts, earlier);
        let mode = history.mode(&rules);
        let before = Plan::of(&callbacks, history, &rules, self.clock.now());
        let late = self.config.report.late;
        let class = |plan: &Plan, history: History<'_>| {
            let known = Lateness {
                callbacks: &callbacks,
                history,
                rules: &rules,
                late,
            };
            plan.class(known, call.class)
        };
        self.count_late_recordings(call, account, &before);
        self.log_unnamed_sip_host(call, &before);
        let Next::Send(_) = before.next() else {
            self.count_unmappable(call, account, &before, &before);
            return Settlement {
                class: class(&before, history),
                ..without_attempt(call, next_state(before.next(), self.clock.now()))
            };
        };
        let queue = &account.acquire_account_id;
        let has_waited = self.rate_limiter.has_waited(queue).await;
        // The breaker may have opened while the call waited for the rate limit.
        if !self.queues.allows(account, self.clock.now()) {
            // Due in the past, so that the call keeps its place until the account is no longer
            // paused.
            return without_attempt(call, NextState::PendingAt(newest(&callbacks)));
        }
        // A link may have expired while the call waited for the rate limit.
        let now = self.clock.now();
        let later = has_waited.then(|| Plan::of(&callbacks, history, &rules, now));
        let current = later.as_ref().unwrap_or(&before);
        let Next::Send(request) = current.next() else {
            return Settlement {
                class: class(current, history),
                ..without_attempt(call, next_state(current.next(), now))
            };
        };
        let sent = self.send((account, call), request, mode, history.current());
        let Some(attempt) = sent.await else {
            let now = self.clock.now();
            return Settlement {
                failing_since: call.failing_since.or(Some(now)),
                // Due at once, but claims leave the account out until the next probe.
                ..without_attempt(call, NextState::PendingAt(now))
            };
        };
        if attempt.verdict.is_accepted() {
            let of_leg = callbacks
                .iter()
                .filter(|received| received.callback.leg == request.leg);
            let lag = self.clock.now().since(newest(of_leg));
            self.metrics.lag().observe(lag.as_secs_f64());
        }
        attempts.push(attempt.clone());
        // Planned again, because the attempt may finish the call or make another request due.
        let history = History::requeued(&attempts, earlier);
        let after = Plan::of(&callbacks, history, &rules, self.clock.now());
        self.count_unmappable(call, account, &before, &after);
        let now = self.clock.now();
        let failed = attempt.fault.map(|_| now);
        Settlement {
            failing_since: failed.and(call.failing_since).or(failed),
            attempt: Some(attempt),
            next: next_state(after.next(), now),
            class: class(&after, history),
            terms: CallTerms::default(),
        }
    }

    /// Counts each recording that came after the end was accepted once: when its callback is first
    /// planned.
    fn count_late_recordings(&self, call: &Claimed, account: &Account, plan: &Plan) {
        let is_new = |position: &&usize| **position >= call.planned_callbacks;
        let late = plan.late_recordings().iter().filter(is_new).count();
        let account = &account.acquire_account_id;
        if late > 0 && self.metrics.late_recordings(account).inc_by(late as u64) == 0 {
            warn!(
                call.sid = %call.sid,
                account,
                "the recording of call {} came after its end was sent; further ones are counted \
                 only. Such a call would have waited (recording.wait) if Twilio had announced the \
                 recording: subscribe RecordingStatusCallbackEvent \"in-progress completed\", or \
                 set recording.expect = \"always\"",
                call.sid
            );
        }
    }

    /// Logs the first call of which the caller may be a customer whose SIP host is not set.
    fn log_unnamed_sip_host(&self, call: &Claimed, plan: &Plan) {
        if let Some(host) = plan.unnamed_sip_host()
            && !self.has_logged_sip_host.replace(true)
        {
            log::unnamed_sip_host(call, host.as_str());
        }
    }

    /// Counts each leg that cannot be mapped once: when its call is parked.
    fn count_unmappable(&self, call: &Claimed, account: &Account, before: &Plan, after: &Plan) {
        // A parked call is claimed again after a new callback, or after a requeue, which has none.
        let has_news = call.planned_callbacks < call.callbacks.len();
        let had_work = before
            .unfinished_since()
            .is_some_and(|position| position < call.planned_callbacks);
        let counted = if has_news && !had_work {
            call.planned_callbacks
        } else {
            0
        };
        let unmappable = after.unmappable().filter(|position| *position >= counted);
        let attempts = self
            .metrics
            .attempts(&account.acquire_account_id, "unmappable");
        attempts.inc_by(unmappable.count() as u64);
    }

    /// Sends one request. `None` if it failed while Acquire was already known to be down: such an
    /// attempt is recorded only if Acquire may have accepted it, once for each request.
    async fn send(
        &self,
        (account, call): (&Account, &Claimed),
        request: &AcquireRequest,
        report_mode: ReportMode,
        before: &[Attempt],
    ) -> Option<Attempt> {
        let at = self.clock.now();
        let started = Instant::now();
        let sent = request.message.to_json();
        let kind = request.message.kind();
        let answer = self.client.send(account, kind, sent.clone()).await;
        let took = started.elapsed();
        // Each request has its own schedule: attempts of the call's other requests do not count.
        let before: Vec<&Attempt> = plan::made_for(before, request).collect();
        let jitter = Jitter::new(fastrand::f64());
        let policy = &self.config.delivery.policy;
        let now = self.clock.now();
        let outcome = answer.outcome.as_str();
        self.metrics
            .attempts(&account.acquire_account_id, outcome)
            .inc();
        self.metrics.delivery().observe(took.as_secs_f64());
        log::failed(request, before.len() + 1, &answer, took);
        let effect = self.queues.report((account, call), &answer, at, now);
        let is_recorded = effect != AnswerEffect::Unrecorded;
        let verdict = match effect {
            AnswerEffect::Recorded(cause) => {
                retry::decide(policy, &before, &answer, cause, jitter, now)
            }
            AnswerEffect::Unrecorded => Verdict::Held(now),
            AnswerEffect::IsBack(accounts) => {
                self.retry_held_now(accounts, now).await;
                retry::decide(policy, &before, &answer, FailureCause::Unknown, jitter, now)
            }
        };
        let attempt = Attempt {
            leg: request.leg.clone(),
            kind,
            report_mode,
            at,
            took,
            sent,
            status: answer.status,
            verdict,
            fault: answer.outcome.fault(),
            excerpt: answer.excerpt,
        };
        // Otherwise a later plan could contradict a request that Acquire has accepted.
        let is_first_doubt = attempt.may_have_been_accepted()
            && !before
                .iter()
                .any(|earlier| earlier.may_have_been_accepted());
        Some(attempt).filter(|_| is_recorded || is_first_doubt)
    }

    /// Makes the held calls due, one batch after another: a large transaction would delay callbacks.
    async fn retry_held_now(&self, accounts: AccountFilter, now: Millis) {
        loop {
            match self
                .store
                .retry_now(accounts.clone(), now, RETRY_NOW_BATCH)
                .await
            {
                Ok(RETRY_NOW_BATCH) => {}
                Ok(_) => break,
                Err(why) => {
                    error!(
                        "failed to make held calls due now; they are sent at their retry times: {why}"
                    );
                    break;
                }
            }
        }
        self.due.notify_one();
    }
}

/// A settlement without an attempt. Without a plan, it does not undo that Acquire accepted the call.
pub(super) fn without_attempt(call: &Claimed, next: NextState) -> Settlement {
    let class = match &next {
        NextState::Parked(..) if !call.class.is_accepted() => Class::Parked,
        NextState::Skipped(..) if !call.class.is_accepted() => Class::Skipped,
        _ => call.class,
    };
    Settlement {
        attempt: None,
        next,
        class,
        failing_since: call.failing_since,
        terms: CallTerms::default(),
    }
}

/// The arrival of the newest of these callbacks.
fn newest<'a>(received: impl IntoIterator<Item = &'a ReceivedCallback>) -> Millis {
    let arrived = received.into_iter().map(|received| received.at);
    arrived.max().unwrap_or_default()
}

/// The stored callbacks of a call, read as they would be on arrival.
///
/// Earlier versions recorded requests that are refused today. They are left out, so that they do not
/// park a call that has other callbacks.
fn read(stored: &[StoredCallback]) -> Result<Vec<ReceivedCallback>, String> {
    let mut callbacks = Vec::with_capacity(stored.len());
    let mut refused = None;
    for stored in stored {
        match stored.request.read() {
            Ok(callback) => callbacks.push(ReceivedCallback {
                at: stored.received,
                callback,
            }),
            Err(why @ CallbackParseError::Lookalike(_)) => refused = Some(why),
            Err(why) => return Err(unreadable(&why)),
        }
    }
    match refused {
        Some(why) if callbacks.is_empty() => Err(unreadable(&why)),
        _ => Ok(callbacks),
    }
}

fn unreadable(why: &CallbackParseError) -> String {
    format!("a stored callback cannot be read: {why}")
}

fn next_state(next: &Next, now: Millis) -> NextState {
    match next {
        Next::Send(_) => NextState::PendingAt(now),
        Next::Wait(at) => NextState::PendingAt(*at),
        Next::Delivered => NextState::Delivered,
        Next::Skipped(cause, why) => NextState::Skipped(*cause, why.clone()),
        Next::Parked(cause, why) => NextState::Parked(*cause, why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SignedRequest;

    #[test]
    fn a_stored_request_that_is_refused_today_parks_no_other_callback() {
        let stored = |more: &'static str| StoredCallback {
            received: Millis(1),
            request: SignedRequest {
                url: "https://bridge.example.com/twilio/voice/status".to_owned(),
                headers: String::new(),
                body: format!(
                    "CallSid=CA00000000000000000000000000000001\
                     &AccountSid=AC00000000000000000000000000000001&CallStatus=completed{more}"
                )
                .into(),
            },
        };
        let action = || stored("&RecordingUrl=x");
        let end = stored("&CallbackSource=call-progress-events");
        assert_eq!(read(&[action(), end]).map(|read| read.len()), Ok(1));
        assert!(read(&[action()]).is_err_and(|why| why.contains("<Record>")));
    }
}
