//! One claimed call: plans, sends, and says where the call rests.

use std::sync::Arc;
use std::time::Instant;

use tracing::{error, warn};

use super::account_queues::Report;
use super::{Worker, log};
use crate::clock::Millis;
use crate::config::Account;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::plan::{self, Next, Received, Request, Rules, plan};
use crate::domain::retry::{self, Jitter};
use crate::store::{Claimed, Rest, Settlement, StoredCallback, Whose};
use crate::twilio::Kind;
use crate::twilio::callback::{self, NotACallback};

/// Calls made due in one transaction once Acquire is back: few enough that no accept waits
/// noticeably.
const HASTEN: usize = 200;

impl Worker {
    pub(super) async fn work(&self, call: &Claimed, account: &Account) -> Settlement {
        let callbacks = match read(&call.callbacks) {
            Ok(callbacks) => callbacks,
            Err(why) => return at_rest(Rest::Parked(why)),
        };
        let rules = Arc::clone(&self.rules.borrow());
        self.tell_late(call, account, &callbacks, &rules);
        let mut attempts = call.attempts.clone();
        self.hasten(&mut attempts, account);
        let request = match plan(&callbacks, &attempts, &rules, self.clock.now()) {
            Next::Send(request) => request,
            next => {
                self.count_unmappable(call, account, &next, &callbacks, &attempts, &rules);
                return at_rest(rest(next, self.clock.now()));
            }
        };
        self.pace.turn().await;
        if !self.lanes.lets_through(account, self.clock.now()) {
            return at_rest(Rest::PendingAt(newest(&callbacks)));
        }
        let Some(attempt) = self.send(account, &request, &attempts).await else {
            return at_rest(Rest::PendingAt(self.clock.now()));
        };
        if attempt.verdict.is_accepted() {
            let of_leg = callbacks
                .iter()
                .filter(|told| told.callback.leg == request.leg);
            let lag = self.clock.now().since(newest(of_leg));
            self.metrics.delivered_after(lag);
        }
        attempts.push(attempt.clone());
        self.hasten(&mut attempts, account);
        let next = plan(&callbacks, &attempts, &rules, self.clock.now());
        self.count_unmappable(call, account, &next, &callbacks, &attempts, &rules);
        Settlement {
            attempt: Some(attempt),
            rest: rest(next, self.clock.now()),
        }
    }

    /// Counts each recording that came after the end was taken, once: by what the last settled
    /// claim did not know.
    fn tell_late(&self, call: &Claimed, account: &Account, callbacks: &[Received], rules: &Rules) {
        let (known, news) = callbacks.split_at(call.planned.min(callbacks.len()));
        let is_recording = |news: &Received| matches!(news.callback.kind, Kind::Recording(_));
        if call.attempts.is_empty() || !news.iter().any(is_recording) {
            return;
        }
        let now = self.clock.now();
        let late_in = |told| plan::late_recordings(told, &call.attempts, rules, now);
        let late = late_in(callbacks).saturating_sub(late_in(known));
        let account = &account.acquire_account_id;
        if late > 0 && self.metrics.recordings_were_late(account, late) == 0 {
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

    /// Counts what cannot be mapped once the call is parked for it, and not again with what is told
    /// of the parked call later.
    fn count_unmappable(
        &self,
        call: &Claimed,
        account: &Account,
        next: &Next,
        callbacks: &[Received],
        attempts: &[Attempt],
        rules: &Rules,
    ) {
        if !matches!(next, Next::Parked(_)) {
            return;
        }
        let now = self.clock.now();
        let (known, news) = callbacks.split_at(call.planned.min(callbacks.len()));
        let counted = if news.is_empty() {
            0
        } else {
            plan::parked_unmappable(known, &call.attempts, rules, now)
        };
        let parked = plan::parked_unmappable(callbacks, attempts, rules, now);
        self.metrics
            .unmappable(&account.acquire_account_id, parked.saturating_sub(counted));
    }

    /// What was put off while Acquire was away is due since it is back.
    fn hasten(&self, attempts: &mut [Attempt], account: &Account) {
        for attempt in attempts {
            if let Verdict::Again(due) = &mut attempt.verdict {
                *due = self.lanes.hasten(account, attempt.at, *due);
            }
        }
    }

    /// `None` where the request failed while Acquire was known to be away: then the attempt is not
    /// spent.
    async fn send(
        &self,
        account: &Account,
        request: &Request,
        before: &[Attempt],
    ) -> Option<Attempt> {
        let at = self.clock.now();
        let began = Instant::now();
        let sent = request.message.to_json();
        let kind = request.message.kind();
        let answer = self.client.send(account, kind, sent.clone()).await;
        let took = began.elapsed();
        let before: Vec<&Attempt> = plan::made_for(before, request).collect();
        let jitter = Jitter::new(fastrand::f64());
        let policy = &self.config.delivery.policy;
        let now = self.clock.now();
        let verdict = retry::decide(policy, &before, &answer, jitter, now);
        self.metrics
            .attempted(&account.acquire_account_id, answer.outcome.as_str(), took);
        log::failed(request, before.len() + 1, &answer, took);
        match self.lanes.report(account, &answer, at, now) {
            Report::Spent => {}
            Report::Unspent => return None,
            Report::IsBack(whose) => self.hasten_waiting(whose, now).await,
        }
        Some(Attempt {
            leg: request.leg.clone(),
            kind,
            at,
            took,
            sent,
            status: answer.status,
            verdict,
            fault: answer.outcome.fault(),
            excerpt: answer.excerpt,
        })
    }

    /// Makes due what was put off while Acquire was away, a little at a time.
    async fn hasten_waiting(&self, whose: Whose, now: Millis) {
        loop {
            match self.store.hasten(whose.clone(), now, HASTEN).await {
                Ok(HASTEN) => {}
                Ok(_) => break,
                Err(why) => {
                    // They fall due by themselves, later.
                    error!("failed to make calls due that waited for Acquire: {why}");
                    break;
                }
            }
        }
        self.due.notify_one();
    }
}

/// A settlement without an attempt.
pub(super) fn at_rest(rest: Rest) -> Settlement {
    Settlement {
        attempt: None,
        rest,
    }
}

/// When the newest of these callbacks arrived.
fn newest<'a>(told: impl IntoIterator<Item = &'a Received>) -> Millis {
    let arrived = told.into_iter().map(|told| told.at);
    arrived.max().unwrap_or_default()
}

/// The stored callbacks of a call, read as they would be on arrival.
fn read(stored: &[StoredCallback]) -> Result<Vec<Received>, String> {
    stored
        .iter()
        .map(|stored| {
            Ok(Received {
                at: stored.received,
                callback: callback::read(&stored.request.body, &stored.request.url)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(|why: NotACallback| format!("a stored callback cannot be read: {why}"))
}

fn rest(next: Next, now: Millis) -> Rest {
    match next {
        Next::Send(_) => Rest::PendingAt(now),
        Next::Wait(at) => Rest::PendingAt(at),
        Next::Delivered => Rest::Delivered,
        Next::Skipped(why) => Rest::Skipped(why),
        Next::Parked(why) => Rest::Parked(why),
    }
}
