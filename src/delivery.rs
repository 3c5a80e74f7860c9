//! Delivers calls: the run loop claims those that are due, starts their deliveries, and waits.
//!
//! It knows no SQL, and not the HTTP that Twilio uses. Correctness never depends on a wake-up:
//! polling finds a claim with an ended lease, and a call that fell due unnoticed.

mod account_queues;
pub mod acquire_client;
mod deliver;
pub mod heartbeat;
mod log;
mod rate_limit;
mod settle;
mod slots;
mod worker;

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::deliver::without_attempt;
use self::settle::refused_result;
use self::slots::Permit;
use crate::clock::{self, Millis};
use crate::config::Account;
use crate::domain::cause::Cause;
use crate::store::hand_over::{HandedCall, HandedCalls};
use crate::store::{AccountFilter, Claimed, ClaimedCalls, NextState};

pub use self::account_queues::AccountQueues;
pub use self::rate_limit::RateLimiter;
pub use self::slots::Slots;
pub use self::worker::{UnsettledCount, Worker};

/// The longest time that a call stays due unnoticed.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The time that a free permit waits for others before the store is asked.
const BATCH_WAIT: Duration = Duration::from_millis(1);

/// Between the starts of two claims that callbacks ask for: a claim costs the database as much as several
/// calls. The first after a pause starts at once.
const CLAIM_INTERVAL: Duration = Duration::from_millis(4);

/// The result of asking the store for calls, and when to ask again.
#[derive(Default)]
struct ClaimResult {
    calls: Vec<Claimed>,
    next_due: Option<Millis>,
    /// No permit is left.
    is_full: bool,
    /// There may be more calls to claim once a call in flight ends.
    is_more: bool,
    /// The only account works and has room: the order of calls does not matter, and the slots are not divided.
    is_calm: bool,
}

impl Worker {
    /// Starts deliveries until `stop`, as tasks of `in_flight`; each must end, because an unsettled call is
    /// sent again after its lease. They are local tasks, because awc's client cannot leave its thread.
    pub async fn run(
        self: Rc<Self>,
        in_flight: &mut JoinSet<()>,
        handed: &mut HandedCalls,
        stop: &CancellationToken,
    ) {
        while !stop.is_cancelled() {
            // Registered before the store is asked, so that no wake-up is lost in between. An older
            // wake-up is dropped: the store knows that call by now.
            let mut woken = pin!(self.due.notified());
            while woken.as_mut().enable() {
                woken.set(self.due.notified());
            }
            // Acquired before the claim: the lease of a claimed call runs, so it must not wait.
            let free = self.slots.take_free();
            let next_claim = Instant::now() + CLAIM_INTERVAL;
            let mut claimed = self.claim(free.len()).await;
            for (call, permit) in claimed.calls.drain(..).zip(free) {
                in_flight.spawn_local(Rc::clone(&self).deliver(call, permit));
            }
            if claimed.is_calm && !claimed.is_full && !claimed.is_more {
                self.hand_over.open(self.config.delivery.lease);
            } else {
                self.hand_over.close();
            }
            let woken = async {
                woken.await;
                clock::pause(next_claim.saturating_duration_since(Instant::now())).await;
            };
            self.wait_for_work(pin!(woken), &claimed, in_flight, handed, stop)
                .await;
        }
        self.hand_over.close();
    }

    /// Starts the delivery of a call that was claimed as it was recorded.
    pub fn start_handed(self: &Rc<Self>, (call, permit): HandedCall, in_flight: &mut JoinSet<()>) {
        self.queues.handed(self.config.account(&call.account));
        in_flight.spawn_local(Rc::clone(self).deliver(call, permit));
    }

    async fn claim(&self, free: usize) -> ClaimResult {
        // A result that cannot be stored would be sent again after each lease (once 88 requests for
        // 30 calls), so nothing more is claimed.
        if self.unsettled.is_any() {
            return ClaimResult {
                is_full: free == 0,
                is_more: true,
                ..ClaimResult::default()
            };
        }
        let now = self.clock.now();
        let plan = self.queues.claim_plan(self.slots.count(), free, now);
        let mut result = ClaimResult {
            next_due: plan.probe_at,
            is_more: plan.waits_for_an_end || free == 0,
            is_calm: self.config.accounts.len() == 1
                && matches!(&plan.requests[..], [all] if all.accounts == AccountFilter::All),
            ..ClaimResult::default()
        };
        for request in plan.requests {
            let lease = self.config.delivery.lease;
            let claimed = self.store.claim(now, lease, request.clone()).await;
            // A failed claim counts as empty: the loop asks again after POLL_INTERVAL.
            let claimed = claimed.unwrap_or_else(|why| {
                log::store_failed(&why, format_args!("failed to claim calls"));
                ClaimedCalls::default()
            });
            // A full claim may have left calls out, so the end of one call is a reason to claim
            // again.
            let is_full = claimed.calls.len() == request.limit;
            result.is_more |= is_full;
            // What others left is lent in the next turn, which is at once.
            let again = is_full.then_some(now);
            let due = [result.next_due, claimed.next_due, again];
            result.next_due = due.into_iter().flatten().min();
            let accounts = claimed
                .calls
                .iter()
                .map(|call| self.config.account(&call.account));
            self.queues.claimed(&request, accounts);
            result.calls.extend(claimed.calls);
        }
        result.is_full = result.calls.len() == free;
        result
    }

    /// Returns when the store may have a call that can be claimed, or at `stop`.
    async fn wait_for_work(
        self: &Rc<Self>,
        mut woken: Pin<&mut impl Future<Output = ()>>,
        claimed: &ClaimResult,
        in_flight: &mut JoinSet<()>,
        handed: &mut HandedCalls,
        stop: &CancellationToken,
    ) {
        let is_full = claimed.is_full;
        let mut next_due = pin!(self.reach_due(claimed.next_due));
        let mut free = pin!(self.free_permits());
        loop {
            tokio::select! {
                // Nothing is claimed any more; the caller waits for the deliveries in flight.
                () = stop.cancelled() => return,
                // The watchdog has to see that the loop runs, even if there is no call for hours.
                () = self.heartbeat.tick() => {}
                // Finished tasks are removed as they end. Only where the claim was limited by the
                // calls in flight, not by the permits, can the end of one allow another.
                Some(_) = in_flight.join_next() => {
                    while in_flight.try_join_next().is_some() {}
                    if claimed.is_more && !is_full {
                        return;
                    }
                }
                Some(call) = handed.next() => self.start_handed(call, in_flight),
                // Without a permit nothing can be claimed, so only permits are waited for.
                () = &mut free, if is_full => return,
                // A new callback, a settled call or a requeue made a call due.
                () = woken.as_mut(), if !is_full => return,
                // A call falls due by its time, or a wake-up was missed: another node has none.
                () = &mut next_due, if !is_full => return,
            }
        }
    }

    /// Returns when some permits are free. Asking the store for one call at a time costs more than
    /// the calls, so the first permit waits for others for a moment.
    async fn free_permits(&self) {
        let permits = &self.slots.semaphore;
        // A quarter of the permits: fewer claims, while most requests stay in flight.
        let some = u32::try_from(self.config.delivery.concurrency / 4).unwrap_or(1);
        // The semaphore is never closed, so this cannot fail. The permit is given back at once.
        drop(permits.acquire().await);
        tokio::select! {
            _ = permits.acquire_many(some.max(1)) => {}
            () = clock::pause(BATCH_WAIT) => {}
        }
    }

    /// Returns at `next`, at the latest after `POLL_INTERVAL`.
    async fn reach_due(&self, next: Option<Millis>) {
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

    async fn deliver(self: Rc<Self>, call: Claimed, permit: Permit) {
        match self.account(&call) {
            Ok(account) => {
                let settlement = if self.unsettled.take_refused(&call.sid) {
                    without_attempt(&call, refused_result())
                } else {
                    self.work(&call, account).await
                };
                // Settling waits for the disk and sends nothing, so another request may start.
                drop(permit);
                self.queues.sent(account);
                self.settle(call, settlement).await;
            }
            Err(why) => {
                let next = NextState::Parked(Cause::UnmappableOther, why);
                let parked = without_attempt(&call, next);
                self.settle(call, parked).await;
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
