//! Records the result of a claimed call, and repeats that while the store fails.
//!
//! It decides nothing about the call.

use std::time::Duration;

use tracing::error;

use super::deliver::without_attempt;
use super::log;
use super::worker::Worker;
use crate::clock;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::store::{Claimed, NextState, Settlement, StoreError, terms_of};

/// The wait between two tries to settle while the store fails.
const SETTLE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How often a working store may refuse one result before the bridge gives it up.
const REFUSALS: usize = 3;

/// The meaning of a failed settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SettleFailure {
    /// The store accepts no writes at present.
    Store,
    /// The store accepts other writes, so it refuses this result.
    Result,
    /// Another worker has the call, or the store is closed.
    Over,
}

impl Worker {
    /// Repeats until the result is recorded: a call without a recorded result is sent again. A result that
    /// a working store refuses is given up, and its call is parked.
    pub(super) async fn settle(&self, call: Claimed, mut settlement: Settlement) {
        // The search index has the callbacks of the last settled claim.
        let new = call.callbacks.get(call.planned_callbacks..);
        settlement.terms = {
            let rules = self.rules.borrow();
            terms_of(
                new.unwrap_or_default(),
                &settlement.attempt,
                &rules.directory,
            )
        };
        log::settled(&call, &settlement.next);
        let sid = &call.sid;
        let mut refusals = 0;
        // While it is there, the worker claims nothing.
        let mut unsettled = None;
        while let Err(why) = self.try_to_settle(&call, &settlement).await {
            match self.settle_failure(&why).await {
                SettleFailure::Store => {
                    self.hand_over.close();
                    unsettled.get_or_insert_with(|| self.unsettled.add());
                    refusals = 0;
                }
                SettleFailure::Result => {
                    unsettled = None;
                    refusals += 1;
                    if refusals == REFUSALS {
                        return self.give_up(&call, &why).await;
                    }
                }
                SettleFailure::Over => {
                    error!(call.sid = %sid, "call {sid} is not settled and will be sent again: {why}");
                    return;
                }
            }
            log::store_failed(&why, format_args!("failed to settle call {sid}"));
            clock::pause(SETTLE_RETRY_INTERVAL).await;
        }
        self.count_finished(&call, settlement.class);
    }

    /// Counts a call once, when it reaches a class in which nothing is due.
    fn count_finished(&self, call: &Claimed, class: Class) {
        let is_open = matches!(class, Class::Waiting | Class::WaitingLate);
        if let Some(account) = self.config.account(&call.account)
            && !is_open
            && class != call.class
        {
            self.metrics
                .finished(&account.acquire_account_id, class.as_str())
                .inc();
        }
    }

    /// Parks a call of which the store refuses the result, without the result.
    async fn give_up(&self, call: &Claimed, why: &StoreError) {
        let sid = &call.sid;
        error!(
            call.sid = %sid,
            "the store refuses the result of call {sid}: {why}. The bridge parks the call without it; run \
             `check --store`, then requeue the call if Acquire does not have it"
        );
        let parked = without_attempt(call, refused_result());
        if let Err(why) = self.try_to_settle(call, &parked).await {
            self.unsettled.refuse(sid);
            error!(call.sid = %sid, "call {sid} cannot be parked either, and is not sent again: {why}");
        }
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

    /// Asks the store to write something else: only then is it known that it refuses this result.
    async fn settle_failure(&self, why: &StoreError) -> SettleFailure {
        match why {
            StoreError::Closed | StoreError::StaleTicket => SettleFailure::Over,
            // A full disk may have room for a small write, and not for this result.
            StoreError::Unavailable(_) | StoreError::Disk(_) | StoreError::Locked => {
                SettleFailure::Store
            }
            StoreError::Database(_) | StoreError::Damaged(_) | StoreError::Conflict => {
                match self.store.ping().await {
                    Ok(()) => SettleFailure::Result,
                    Err(_) => SettleFailure::Store,
                }
            }
        }
    }
}

/// The state of a call of which the store refused the result.
pub(super) fn refused_result() -> NextState {
    NextState::Parked(
        Cause::Unclear,
        "the store refused the result of its last request, which Acquire may have accepted"
            .to_owned(),
    )
}
