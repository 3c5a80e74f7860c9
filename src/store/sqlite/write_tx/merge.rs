//! Merges a call into the call of its parent leg.
//!
//! Twilio names only the direct parent of a leg, so a chain of parents arrives one link at a time. A
//! callback with a parent that is a leg of a known call belongs to that call. A callback that arrives
//! before its parent starts a call of its own. When the parent arrives, that call is merged into the
//! parent's or, while it is claimed, when it is settled. The merged call is skipped and has no
//! callbacks.

use rusqlite::params;

use super::{Undo, WriteTx};
use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::store::sqlite::hash_index;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{NewCallback, NextState, StoreError};

impl WriteTx {
    /// The call that a callback belongs to, if there is one: that of its parent, or of which its
    /// parent is a leg.
    pub(super) fn call_of(&self, callback: &NewCallback) -> Result<Option<CallRow>, StoreError> {
        let mut upper = None;
        let candidates = self
            .sids
            .find(&self.connection, hash_index::hash_of_sid(&callback.call))?;
        for id in candidates {
            let Some(call) = self.call_with_callbacks(id, callback)? else {
                continue;
            };
            if call.sid == callback.call {
                return Ok(Some(call));
            }
            if rows::has_leg(&self.connection, call.id, &callback.call)? {
                upper = Some(call);
            }
        }
        Ok(upper)
    }

    /// Merges the call that the callback's leg started before its parent was known.
    pub(super) fn merge_call_of_leg(
        &mut self,
        callback: &NewCallback,
        call: i64,
        now: Millis,
    ) -> Result<(), StoreError> {
        let candidates = self
            .sids
            .find(&self.connection, hash_index::hash_of_sid(&callback.leg))?;
        for id in candidates {
            let child = self.call_with_callbacks(id, callback)?;
            let Some(child) = child.filter(|child| child.sid == callback.leg && id != call) else {
                continue;
            };
            if self.leases.lock().holds(id) {
                // Its delivery in flight must be settled first.
                self.set_pending_merge(id, call)?;
            } else {
                self.merge_into_parent(child, call, now)?;
            }
        }
        Ok(())
    }

    fn set_pending_merge(&mut self, child: i64, parent: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO pending_merge (child, parent) VALUES (?1, ?2)")?
            .execute([child, parent])?;
        let before = self.pending_merges.insert(child, parent);
        self.undo.push(Undo::PendingMerge(child, before));
        Ok(())
    }

    /// Whether a claimed call will be merged into this one. Until then its plan lacks a leg that may have
    /// been sent.
    pub(super) fn awaits_merge(&self, call: i64) -> bool {
        self.pending_merges.values().any(|parent| *parent == call)
    }

    /// Merges a call that was claimed when its parent became known, and no longer is. Returns when the
    /// parent's call is due.
    pub(super) fn merge_pending(
        &mut self,
        child: i64,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        let Some(call) = self.pending_merges.remove(&child) else {
            return Ok(None);
        };
        self.undo.push(Undo::PendingMerge(child, Some(call)));
        self.connection
            .prepare_cached("DELETE FROM pending_merge WHERE child = ?1")?
            .execute([child])?;
        let Some(child) = CallRow::load(&self.connection, child)? else {
            return Ok(None);
        };
        self.merge_into_parent(child, call, now)?;
        Ok(Some(now))
    }

    /// Merges the calls that were still claimed when the previous process ended.
    pub(super) fn merge_unclaimed(&mut self) -> Result<(), StoreError> {
        let claimed: Vec<(i64, i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT child, parent, effective_at FROM pending_merge JOIN call ON call.id = child",
            )?
            .query_and_then([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let merges = claimed.iter().map(|(child, parent, _)| (*child, *parent));
        self.pending_merges.extend(merges);
        for (child, _, was_due) in claimed {
            self.merge_pending(child, Millis(was_due))?;
        }
        Ok(())
    }

    fn call_with_callbacks(
        &self,
        id: i64,
        callback: &NewCallback,
    ) -> Result<Option<CallRow>, StoreError> {
        let call = CallRow::load(&self.connection, id)?;
        Ok(call.filter(|call| call.account == callback.account && call.callbacks > 0))
    }

    fn merge_into_parent(
        &mut self,
        mut child: CallRow,
        into: i64,
        now: Millis,
    ) -> Result<(), StoreError> {
        let Some(mut call) = CallRow::load(&self.connection, into)? else {
            return Ok(());
        };
        let legs = rows::child_legs_of(&self.connection, child.id)?;
        for leg in legs {
            let hash = hash_index::hash_of_sid(&leg);
            if leg != call.sid && !rows::has_leg(&self.connection, call.id, &leg)? {
                self.add_sid((hash, call.id))?;
            }
            self.sids.remove(&self.connection, (hash, child.id))?;
            // Memory forgets the entry after the commit, because a rollback restores the row.
            self.purged_sids.push((hash, child.id));
        }
        self.remove_addresses(child.id)?;
        let callbacks = self.move_callbacks(&child, &call)?;
        self.move_attempts(&child, &call)?;
        call.attempts += child.attempts;
        (child.attempts, child.planned_callbacks) = (0, 0);
        for (id, callbacks, attempts) in [(child.id, 0, 0), (call.id, callbacks, call.attempts)] {
            self.connection
                .prepare_cached("UPDATE call SET callbacks = ?2, attempts = ?3 WHERE id = ?1")?
                .execute(params![id, callbacks, attempts])?;
        }
        if let Some(at) = child.retry_now_at {
            self.set_retry_now_at(call.id, at)?;
        }
        let why = format!("it is a part of call {}, which has its callbacks", call.sid);
        let skipped = NextState::Skipped(Cause::PartOfAnother, why);
        self.set_state(&child, &skipped, Class::Skipped, now)?;
        if !self.leases.lock().holds(call.id) {
            self.make_due(&call, call.class.reopened(), now, now)?;
        }
        self.redirect_merges(child.id, call.id)
    }

    /// Pending merges into `from`, which was merged itself, become merges into `to`.
    fn redirect_merges(&mut self, from: i64, to: i64) -> Result<(), StoreError> {
        let merges = self.pending_merges.iter();
        let children: Vec<i64> = merges
            .filter_map(|(child, parent)| (*parent == from).then_some(*child))
            .collect();
        for child in children {
            // Legs that name each other as their parent.
            if child == to {
                self.connection
                    .prepare_cached("DELETE FROM pending_merge WHERE child = ?1")?
                    .execute([child])?;
                let before = self.pending_merges.remove(&child);
                self.undo.push(Undo::PendingMerge(child, before));
            } else {
                self.set_pending_merge(child, to)?;
            }
        }
        Ok(())
    }

    /// Returns how many callbacks the call has then. It keeps its own where both have one with the same
    /// key.
    fn move_callbacks(&self, child: &CallRow, call: &CallRow) -> Result<i64, StoreError> {
        let mut count = call.callbacks;
        for number in 1..=child.callbacks {
            let old = rows::row_of(child.id, number)?;
            let key: String = self
                .connection
                .prepare_cached("SELECT key FROM callback WHERE id = ?1")?
                .query_row([old], |row| row.get(0))?;
            if self.has_own_callback(call, &key)? {
                self.connection
                    .prepare_cached("DELETE FROM callback WHERE id = ?1")?
                    .execute([old])?;
                continue;
            }
            count += 1;
            self.connection
                // NULL is the call's first leg: the child's first leg gets its SID, and the
                // parent's own becomes NULL.
                .prepare_cached(
                    "UPDATE callback SET id = ?2, leg = nullif(coalesce(leg, ?3), ?4) \
                     WHERE id = ?1",
                )?
                .execute(params![
                    old,
                    rows::row_of(call.id, count)?,
                    child.sid.as_str(),
                    call.sid.as_str()
                ])?;
        }
        Ok(count)
    }

    /// Whether the call had a callback with this key before others were moved to it.
    fn has_own_callback(&self, call: &CallRow, key: &str) -> Result<bool, StoreError> {
        let [first, _] = rows::rows_of(call.id);
        let last = rows::row_of(call.id, call.callbacks)?;
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM callback WHERE id BETWEEN ?1 AND ?2 AND key = ?3")?
            .exists(params![first, last, key])?)
    }

    /// Attempts before the last requeue stay so.
    fn move_attempts(&self, child: &CallRow, call: &CallRow) -> Result<(), StoreError> {
        for number in 1..=child.attempts {
            self.connection
                .prepare_cached(
                    "UPDATE attempt SET id = ?2, \
                     requeue_count = CASE requeue_count WHEN ?3 THEN ?4 ELSE -1 END WHERE id = ?1",
                )?
                .execute(params![
                    rows::row_of(child.id, number)?,
                    rows::row_of(call.id, call.attempts + number)?,
                    child.requeue_count,
                    call.requeue_count
                ])?;
        }
        Ok(())
    }
}
