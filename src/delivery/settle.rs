//! Records the result of a claimed call, and repeats that while the store fails.
//!
//! It decides nothing about the call.

use std::time::{Duration, Instant};

use tracing::error;

use super::log;
use super::worker::Worker;
use crate::clock;
use crate::store::{Claimed, Settlement, StoreError};

/// The wait between two tries to settle while the store fails.
const SETTLE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

impl Worker {
    /// Repeats until the result is recorded: a call without a recorded result is sent again.
    pub(super) async fn settle(&self, call: Claimed, settlement: Settlement) {
        log::settled(&call, &settlement.next);
        let Err(mut why) = self.try_to_settle(&call, &settlement).await else {
            return;
        };
        // Later than the lease ends in the store, which is safe: once another worker has the call, a
        // retry fails as stale.
        let lease_ends = Instant::now() + self.config.delivery.lease;
        // Counted, so that the worker claims nothing while a result waits.
        self.unsettled.add();
        while self.may_succeed_later(&why, lease_ends).await {
            log::store_failed(&why, format_args!("failed to settle call {}", call.sid));
            clock::pause(SETTLE_RETRY_INTERVAL).await;
            match self.try_to_settle(&call, &settlement).await {
                Ok(()) => return self.unsettled.remove(),
                Err(again) => why = again,
            }
        }
        self.unsettled.remove();
        error!(call.sid = %call.sid, "call {} is not settled and will be sent again: {why}", call.sid);
    }

    async fn try_to_settle(
        &self,
        call: &Claimed,
        settlement: &Settlement,
    ) -> Result<(), StoreError> {
        let (ticket, settlement) = (call.ticket.clone(), settlement.clone());
        let due = self.store.settle(ticket, settlement, self.clock.now());
        if due.await?.is_some() {
            // The call is pending again: it may be due already, by a callback that came meanwhile.
            self.due.notify_one();
        }
        Ok(())
    }

    /// Whether another try may help. After the lease it may only while the store accepts no writes at
    /// all, or its database is down behind a spool: until then no other worker has claimed the call.
    async fn may_succeed_later(&self, why: &StoreError, lease_ends: Instant) -> bool {
        let is_in_time = Instant::now() < lease_ends;
        why.may_pass() && (is_in_time || why.is_unavailable() || self.store.ping().await.is_err())
    }
}
