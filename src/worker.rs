//! Claims calls that are due, plans, sends, settles.
//!
//! Correctness never depends on being woken: a claim whose lease ended, or a call that fell due
//! unnoticed, is found by polling.

mod lanes;
mod log;
mod pace;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::acquire::client::Client;
use crate::attempt::{Attempt, Verdict};
use crate::clock::{self, Clock, Millis};
use crate::config::{Account, Config};
use crate::metrics::Metrics;
use crate::plan::{self, Next, Received, Request, Rules, plan};
use crate::retry::{self, Jitter};
use crate::store::{Claimed, Claims, Rest, Settlement, Store, StoredCallback, Whose};
use crate::systemd::watchdog::Pulse;
use crate::twilio::Kind;
use crate::twilio::callback::{self, NotACallback};

pub use self::lanes::Lanes;
use self::lanes::Report;
pub use self::pace::Pace;

/// How long a call that fell due unnoticed may stay so.
const POLL: Duration = Duration::from_secs(1);

/// Calls made due in one transaction once Acquire is back: few enough that no accept waits
/// noticeably.
const HASTEN: usize = 200;

/// How long a free place waits for others before the store is asked.
const COMPANY: Duration = Duration::from_millis(1);

/// Between two tries to settle when the store refuses.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);

/// A place among the requests that may be open at once.
type Slot = OwnedSemaphorePermit;

/// Carries calls from the store to Acquire; lives on one thread, as its client does.
pub struct Worker {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    pub client: Client,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Told when a call has become due.
    pub due: Arc<Notify>,
    pub lanes: Lanes,
    pub pace: Pace,
    pub pulse: Pulse,
    /// As they stand now: the directory may change.
    pub rules: watch::Receiver<Arc<Rules>>,
}

/// What a look into the store brought.
#[derive(Default)]
struct Look {
    calls: Vec<Claimed>,
    next_due: Option<Millis>,
    /// The end of a call in flight makes room for another.
    is_more: bool,
}

impl Worker {
    /// Works until `stop`, then lets the attempts in flight end and be settled.
    pub async fn run(self: Rc<Self>, stop: CancellationToken) {
        let slots = self.pace.claims(self.config.delivery.concurrency);
        let slots = Arc::new(Semaphore::new(slots));
        let mut in_flight = JoinSet::new();
        while !stop.is_cancelled() {
            // Registered before the store is asked, so that no wake-up falls between.
            let woken = self.due.notified();
            let mut woken = std::pin::pin!(woken);
            woken.as_mut().enable();

            // Taken before claiming, so that nothing claimed waits while its lease runs.
            let free: Vec<Slot> =
                std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()).collect();
            let look = self.claim(free.len()).await;
            let is_full = look.calls.len() == free.len();
            for (call, slot) in look.calls.into_iter().zip(free) {
                in_flight.spawn_local(Rc::clone(&self).deliver(call, slot));
            }
            let fallen_due = self.fall_due(look.next_due);
            let mut fallen_due = std::pin::pin!(fallen_due);
            let mut room = std::pin::pin!(self.room(&slots));
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = self.pulse.beat() => {}
                    Some(_) = in_flight.join_next() => {
                        while in_flight.try_join_next().is_some() {}
                        if look.is_more && !is_full {
                            break;
                        }
                    }
                    () = &mut room, if is_full => break,
                    () = &mut woken, if !is_full => break,
                    () = &mut fallen_due, if !is_full => break,
                }
            }
        }
        while in_flight.join_next().await.is_some() {}
    }

    /// Returns when some places are free: asking the store for one call at a time costs more than
    /// the calls, so others may follow the first for a moment.
    async fn room(&self, slots: &Semaphore) {
        let some = u32::try_from(self.config.delivery.concurrency / 4).unwrap_or(1);
        // Never closed, so there is always a place to wait for; it is given back at once.
        drop(slots.acquire().await);
        tokio::select! {
            _ = slots.acquire_many(some.max(1)) => {}
            () = clock::pause(COMPANY) => {}
        }
    }

    async fn claim(&self, free: usize) -> Look {
        let now = self.clock.now();
        let round = self.lanes.round(free, now);
        let mut look = Look {
            next_due: round.probe_at,
            is_more: round.waits_for_an_end || free == 0,
            ..Look::default()
        };
        for wanted in round.wanted {
            let limit = wanted.limit;
            let lease = self.config.delivery.lease;
            let claims = self.store.claim(now, lease, wanted).await;
            let claims = claims.unwrap_or_else(|why| {
                error!("failed to claim calls: {why}");
                Claims::default()
            });
            look.is_more |= claims.calls.len() == limit;
            let due = [look.next_due, claims.next_due];
            look.next_due = due.into_iter().flatten().min();
            look.calls.extend(claims.calls);
        }
        for call in &look.calls {
            if let Some(account) = self.config.account(&call.account) {
                self.lanes.begins(account);
            }
        }
        look
    }

    async fn fall_due(&self, next: Option<Millis>) {
        tokio::select! {
            () = clock::pause(POLL) => {}
            () = async {
                match next {
                    Some(next) => self.clock.reach(next).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }

    async fn deliver(self: Rc<Self>, call: Claimed, slot: Slot) {
        match self.account(&call) {
            Ok(account) => {
                let settlement = self.work(&call, account).await;
                // Settling waits for the disk, and needs no place among the requests.
                drop(slot);
                self.settle(call, settlement).await;
                self.lanes.ends(account);
            }
            Err(why) => self.settle(call, at_rest(Rest::Parked(why))).await,
        }
    }

    fn account(&self, call: &Claimed) -> Result<&Account, String> {
        self.config.account(&call.account).ok_or_else(|| {
            format!(
                "account {} is no longer configured; add it and requeue",
                call.account
            )
        })
    }

    async fn work(&self, call: &Claimed, account: &Account) -> Settlement {
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
                self.count_unmappable(&next, account, &callbacks, &attempts, &rules);
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
        self.count_unmappable(&next, account, &callbacks, &attempts, &rules);
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

    fn count_unmappable(
        &self,
        next: &Next,
        account: &Account,
        callbacks: &[Received],
        attempts: &[Attempt],
        rules: &Rules,
    ) {
        let is_parked = matches!(next, Next::Parked(_));
        if is_parked && plan::is_unmappable(callbacks, attempts, rules, self.clock.now()) {
            self.metrics.unmappable(&account.acquire_account_id);
        }
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

    /// Tries until the lease ends: an outcome that is not kept would be sent again.
    async fn settle(&self, call: Claimed, settlement: Settlement) {
        log::rests(&call, &settlement.rest);
        let until = Instant::now() + self.config.delivery.lease;
        loop {
            let now = self.clock.now();
            match self
                .store
                .settle(call.ticket.clone(), settlement.clone(), now)
                .await
            {
                Ok(None) => return,
                // Perhaps due already, by a callback that came meanwhile; at least a time to wait for.
                Ok(Some(_)) => return self.due.notify_one(),
                Err(why) if why.may_pass() && Instant::now() < until => {
                    error!(call.sid = %call.sid, "failed to settle call {}: {why}", call.sid);
                    clock::pause(SETTLE_AGAIN).await;
                }
                Err(why) => {
                    error!(call.sid = %call.sid, "gave up settling call {}: {why}", call.sid);
                    return;
                }
            }
        }
    }
}

/// A settlement without an attempt.
fn at_rest(rest: Rest) -> Settlement {
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
