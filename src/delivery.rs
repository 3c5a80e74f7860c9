//! Claims calls that are due, plans, sends, settles.
//!
//! Correctness never depends on being woken: a claim whose lease ended, or a call that fell due
//! unnoticed, is found by polling.

mod account_queues;
pub mod acquire_client;
mod deliver;
pub mod heartbeat;
mod log;
mod rate_limit;
mod settle;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock, Millis};
use crate::config::{Account, Config};
use crate::delivery::acquire_client::AcquireClient;
use crate::delivery::heartbeat::Heartbeat;
use crate::domain::plan::Rules;
use crate::store::{Claimed, ClaimedCalls, NextState, Store};
use crate::telemetry::metrics::Metrics;

pub use self::account_queues::AccountQueues;
use self::deliver::without_attempt;
pub use self::rate_limit::RateLimiter;
pub use self::settle::UnsettledCount;

/// How long a call that fell due unnoticed may stay so.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a free place waits for others before the store is asked.
const BATCH_WAIT: Duration = Duration::from_millis(1);

/// A place among the requests that may be open at once.
type Permit = OwnedSemaphorePermit;

/// Carries calls from the store to Acquire; lives on one thread, as its client does.
pub struct Worker {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    pub client: AcquireClient,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Told when a call has become due.
    pub due: Arc<Notify>,
    pub queues: AccountQueues,
    pub rate_limiter: RateLimiter,
    pub unsettled: UnsettledCount,
    pub heartbeat: Heartbeat,
    /// As they stand now: the directory may change.
    pub rules: watch::Receiver<Arc<Rules>>,
}

/// What a look into the store brought.
#[derive(Default)]
struct ClaimResult {
    calls: Vec<Claimed>,
    next_due: Option<Millis>,
    /// The end of a call in flight makes room for another.
    is_more: bool,
}

impl ClaimResult {
    /// Until a call in flight ends.
    fn of_nothing() -> Self {
        Self {
            is_more: true,
            ..Self::default()
        }
    }
}

impl Worker {
    /// Works until `stop`, then lets the attempts in flight end and be settled.
    pub async fn run(self: Rc<Self>, stop: CancellationToken) {
        let slots = self.rate_limiter.claims(self.config.delivery.concurrency);
        let slots = Arc::new(Semaphore::new(slots));
        let mut in_flight = JoinSet::new();
        while !stop.is_cancelled() {
            // Registered before the store is asked, so that no wake-up falls between; one that is
            // there already tells of what the store will now tell itself.
            let mut woken = std::pin::pin!(self.due.notified());
            while woken.as_mut().enable() {
                woken.set(self.due.notified());
            }

            // Taken before claiming, so that nothing claimed waits while its lease runs.
            let free: Vec<Permit> =
                std::iter::from_fn(|| slots.clone().try_acquire_owned().ok()).collect();
            let look = if self.unsettled.is_any() {
                ClaimResult::of_nothing()
            } else {
                self.claim(free.len()).await
            };
            let is_full = look.calls.len() == free.len();
            for (call, slot) in look.calls.into_iter().zip(free) {
                in_flight.spawn_local(Rc::clone(&self).deliver(call, slot));
            }
            let fallen_due = self.fall_due(look.next_due);
            let mut fallen_due = std::pin::pin!(fallen_due);
            let mut room = std::pin::pin!(self.free_permits(&slots));
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = self.heartbeat.tick() => {}
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
    async fn free_permits(&self, slots: &Semaphore) {
        let some = u32::try_from(self.config.delivery.concurrency / 4).unwrap_or(1);
        // Never closed, so there is always a place to wait for; it is given back at once.
        drop(slots.acquire().await);
        tokio::select! {
            _ = slots.acquire_many(some.max(1)) => {}
            () = clock::pause(BATCH_WAIT) => {}
        }
    }

    async fn claim(&self, free: usize) -> ClaimResult {
        let now = self.clock.now();
        let round = self.queues.claim_plan(free, now);
        let mut look = ClaimResult {
            next_due: round.probe_at,
            is_more: round.waits_for_an_end || free == 0,
            ..ClaimResult::default()
        };
        for wanted in round.wanted {
            let limit = wanted.limit;
            let lease = self.config.delivery.lease;
            let claims = self.store.claim(now, lease, wanted).await;
            let claims = claims.unwrap_or_else(|why| {
                log::not_done(&why, format_args!("failed to claim calls"));
                ClaimedCalls::default()
            });
            look.is_more |= claims.calls.len() == limit;
            let due = [look.next_due, claims.next_due];
            look.next_due = due.into_iter().flatten().min();
            look.calls.extend(claims.calls);
        }
        for call in &look.calls {
            if let Some(account) = self.config.account(&call.account) {
                self.queues.begins(account);
            }
        }
        look
    }

    async fn fall_due(&self, next: Option<Millis>) {
        tokio::select! {
            () = clock::pause(POLL_INTERVAL) => {}
            () = async {
                match next {
                    Some(next) => self.clock.reach(next).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }

    async fn deliver(self: Rc<Self>, call: Claimed, slot: Permit) {
        match self.account(&call) {
            Ok(account) => {
                let settlement = self.work(&call, account).await;
                // Settling waits for the disk, and needs no place among the requests.
                drop(slot);
                self.settle(call, settlement).await;
                self.queues.ends(account);
            }
            Err(why) => {
                self.settle(call, without_attempt(NextState::Parked(why)))
                    .await;
            }
        }
    }

    fn account(&self, call: &Claimed) -> Result<&Account, String> {
        self.config.account(&call.account).ok_or_else(|| {
            format!(
                "account {} is no longer configured: add it to [[accounts]], and requeue the call",
                call.account
            )
        })
    }
}
