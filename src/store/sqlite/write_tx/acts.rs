//! What operators do to calls.

use super::WriteTx;
use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::domain::operation::OperationKind;
use crate::store::erasure::Removed;
use crate::store::removed::RemovalCause;
use crate::store::sqlite::hash_index;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{NextState, Operation, OperationBatch, REQUEUED_OVERDUE, State, StoreError};
use crate::twilio::CallSid;

impl WriteTx {
    /// Makes the calls due again with a fresh schedule; returns how many are there.
    pub fn requeue(&mut self, sid: &CallSid, now: Millis) -> Result<usize, StoreError> {
        let calls = self.calls_named(sid)?;
        let count = calls.len();
        for call in calls {
            self.requeue_call(call, now)?;
        }
        Ok(count)
    }

    fn requeue_call(&mut self, mut call: CallRow, now: Millis) -> Result<(), StoreError> {
        call.failing_since = None;
        self.connection
            .prepare_cached("UPDATE call SET requeue_count = requeue_count + 1 WHERE id = ?1")?
            .execute([call.id])?;
        // While the call is claimed, `settle` sees the higher count.
        if self.leases.lock().holds(call.id) {
            return Ok(());
        }
        self.make_due(
            &call,
            call.class.requeued(),
            now.minus(REQUEUED_OVERDUE),
            now,
        )
    }

    /// Skips those of the calls that are parked; returns the states that all of them had.
    pub fn dismiss(
        &mut self,
        sid: &CallSid,
        why: String,
        now: Millis,
    ) -> Result<Vec<State>, StoreError> {
        let calls = self.calls_named(sid)?;
        let skipped = NextState::Skipped(Cause::Dismissed, why);
        for call in calls.iter().filter(|call| call.state == State::Parked) {
            self.set_state(call, &skipped, call.class.dismissed(), now)?;
        }
        Ok(calls.iter().map(|call| call.state).collect())
    }

    /// Changes those of the calls that the operation admits, and removes refused requests. None, and no
    /// change, if a call is to be erased while a request of it is in flight.
    pub fn change_calls(
        &mut self,
        operation: &Operation,
        batch: &OperationBatch,
        now: Millis,
    ) -> Result<Option<Removed>, StoreError> {
        let skipped = NextState::Skipped(Cause::Dismissed, operation.dismissal());
        let mut calls = Vec::new();
        for (sid, account) in &batch.calls {
            let named = self.calls_named(sid)?;
            let mut named = named.into_iter();
            let Some(call) = named.find(|call| call.sid == *sid && call.account == *account) else {
                continue;
            };
            let state = if self.leases.lock().holds(call.id) {
                State::Claimed
            } else {
                call.state
            };
            if operation.kind == OperationKind::Erase
                && (state == State::Claimed || self.awaits_merge(call.id))
            {
                return Ok(None);
            }
            if operation.admits_row(state, call.changed) {
                calls.push(call);
            }
        }
        let mut changed = Removed::default();
        for call in calls {
            changed.calls += 1;
            match operation.kind {
                OperationKind::Requeue => self.requeue_call(call, now)?,
                OperationKind::Dismiss => {
                    self.set_state(&call, &skipped, call.class.dismissed(), now)?;
                }
                OperationKind::Erase => {
                    let kept = RemovalCause::Erased.kept_class(call.class);
                    changed.undelivered += u64::from(kept == Class::Erased);
                    changed.legs += u64::try_from(self.erase(&call, now)?).unwrap_or_default();
                }
            }
        }
        for id in &batch.refused {
            let delete = "DELETE FROM refused WHERE id = ?1";
            let removed = self.connection.prepare_cached(delete)?.execute([id])?;
            changed.refused += u64::try_from(removed).unwrap_or_default();
        }
        Ok(Some(changed))
    }

    fn calls_named(&self, sid: &CallSid) -> Result<Vec<CallRow>, StoreError> {
        let candidates = self
            .sids
            .find(&self.connection, hash_index::hash_of_sid(sid))?;
        rows::calls_named(&self.connection, &candidates, sid)
    }
}
