//! What operators do to calls, each act with its row of the audit log.

use super::WriteTx;
use crate::clock::Millis;
use crate::domain::audit::{Act, Actor, Reason};
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::domain::operation::OperationKind;
use crate::store::audit::{dismissed_by, entry_of};
use crate::store::erasure::Removed;
use crate::store::removed::RemovalCause;
use crate::store::sqlite::hash_index;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{
    Dismissal, NextState, Operation, OperationBatch, REQUEUED_OVERDUE, State, StoreError,
};
use crate::twilio::CallSid;

impl WriteTx {
    pub fn requeue(
        &mut self,
        sid: &CallSid,
        by: (&Actor, Option<&Reason>),
        now: Millis,
    ) -> Result<bool, StoreError> {
        let calls = self.calls_named(sid)?;
        if calls.is_empty() {
            return Ok(false);
        }
        let entry = entry_of(Act::Requeue, (sid, calls.len()), by, now);
        for call in calls {
            self.requeue_call(call, now)?;
        }
        self.append_audit(&entry)?;
        Ok(true)
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

    pub fn dismiss(
        &mut self,
        sid: &CallSid,
        actor: &Actor,
        reason: &Reason,
        now: Millis,
    ) -> Result<Dismissal, StoreError> {
        let calls = self.calls_named(sid)?;
        let states: Vec<State> = calls.iter().map(|call| call.state).collect();
        let dismissal = Dismissal::of(&states);
        if dismissal != Dismissal::Dismissed {
            return Ok(dismissal);
        }
        let parked = calls.iter().filter(|call| call.state == State::Parked);
        let why = dismissed_by(&actor.name, reason.as_str());
        let skipped = NextState::Skipped(Cause::Dismissed, why);
        let mut count = 0;
        for call in parked {
            self.set_state(call, &skipped, call.class.dismissed(), now)?;
            count += 1;
        }
        let entry = entry_of(Act::Dismiss, (sid, count), (actor, Some(reason)), now);
        self.append_audit(&entry)?;
        Ok(dismissal)
    }

    /// Changes those of the calls that the operation admits, and removes refused requests. None, and no
    /// change, if a call is to be erased while a request of it is in flight.
    pub(in crate::store::sqlite) fn change_calls(
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
