//! Keeps what became of a claimed call, however long the store refuses to.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tracing::error;

use super::{Worker, log};
use crate::clock;
use crate::store::{Claimed, Settlement, StoreError};

/// Between two tries to settle when the store refuses.
const SETTLE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Outcomes that the store refuses to keep for now.
#[derive(Debug, Default)]
pub struct UnsettledCount(Cell<usize>);

impl UnsettledCount {
    /// While there is one, nothing is claimed: what is sent could not be settled either, and would
    /// be sent again when its lease ends.
    pub fn is_any(&self) -> bool {
        self.0.get() > 0
    }
}

impl Worker {
    /// Tries until it is kept: what is not kept is sent again.
    pub(super) async fn settle(&self, call: Claimed, settlement: Settlement) {
        log::settled(&call, &settlement.rest);
        let Err(mut why) = self.try_to_settle(&call, &settlement).await else {
            return;
        };
        let lease_ends = Instant::now() + self.config.delivery.lease;
        let UnsettledCount(unkept) = &self.unsettled;
        unkept.update(|count| count + 1);
        while self.may_be_kept_later(&why, lease_ends).await {
            log::not_done(&why, format_args!("failed to settle call {}", call.sid));
            clock::pause(SETTLE_RETRY_INTERVAL).await;
            match self.try_to_settle(&call, &settlement).await {
                Ok(()) => return unkept.update(|count| count - 1),
                Err(again) => why = again,
            }
        }
        unkept.update(|count| count - 1);
        error!(call.sid = %call.sid, "gave up settling call {}: {why}", call.sid);
    }

    async fn try_to_settle(
        &self,
        call: &Claimed,
        settlement: &Settlement,
    ) -> Result<(), StoreError> {
        let (ticket, settlement) = (call.ticket.clone(), settlement.clone());
        let due = self.store.settle(ticket, settlement, self.clock.now());
        if due.await?.is_some() {
            // Perhaps due already, by a callback that came meanwhile; at least a time to wait for.
            self.due.notify_one();
        }
        Ok(())
    }

    /// After the lease only where the store keeps nothing else either; one that is away may be the
    /// database alone, before which a spool keeps callbacks.
    async fn may_be_kept_later(&self, why: &StoreError, lease_ends: Instant) -> bool {
        let is_in_time = Instant::now() < lease_ends;
        why.may_pass() && (is_in_time || why.is_away() || self.store.ping().await.is_err())
    }
}
