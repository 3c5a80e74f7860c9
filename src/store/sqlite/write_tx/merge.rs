//! Joins what turns out to be one call.
//!
//! A leg names its parent alone, so a chain of parents is told link by link. A callback whose parent
//! is known as a leg of a call goes to that call at once. One that came before its parent began a
//! call of its own, which is taken over when the parent tells whose leg it is, or, while it is claimed,
//! when it is settled; what is left of it is skipped and has no callbacks.

use rusqlite::{OptionalExtension as _, params};

use super::{Undo, WriteTx};
use crate::clock::Millis;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::sqlite::sid_index;
use crate::store::{NewCallback, NextState, StoreError};

impl WriteTx {
    /// The call that a callback belongs to, if there is one: that of its parent, or of which its
    /// parent is a leg.
    pub(super) fn call_of(&self, callback: &NewCallback) -> Result<Option<CallRow>, StoreError> {
        let mut upper = None;
        let candidates = self
            .names
            .find(&self.connection, sid_index::hash(&callback.call))?;
        for id in candidates {
            let Some(call) = self.living(id, callback)? else {
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

    /// Takes over the call that the callback's leg began before it was known to be a child.
    pub(super) fn adopt_begun_by(
        &mut self,
        callback: &NewCallback,
        call: i64,
        now: Millis,
    ) -> Result<(), StoreError> {
        let candidates = self
            .names
            .find(&self.connection, sid_index::hash(&callback.leg))?;
        for id in candidates {
            let begun = self.living(id, callback)?;
            let Some(begun) = begun.filter(|begun| begun.sid == callback.leg && id != call) else {
                continue;
            };
            if self.claims.lock().holds(id) {
                // What is being sent for it must be kept first.
                self.connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO pending_merge (child, parent) VALUES (?1, ?2)",
                    )?
                    .execute([id, call])?;
                self.joining.insert(id);
            } else {
                self.merge_into_parent(begun, call, now)?;
            }
        }
        Ok(())
    }

    /// Takes over a call that was claimed when its parent became known, and no longer is. Returns
    /// when the call that took it over is due.
    pub(super) fn merge_pending(
        &mut self,
        begun: i64,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        if !self.joining.remove(&begun) {
            return Ok(None);
        }
        self.undo.push(Undo::Joined(begun));
        let call: Option<i64> = self
            .connection
            .prepare_cached("DELETE FROM pending_merge WHERE child = ?1 RETURNING parent")?
            .query_row([begun], |row| row.get(0))
            .optional()?;
        let (Some(call), Some(begun)) = (call, CallRow::load(&self.connection, begun)?) else {
            return Ok(None);
        };
        self.merge_into_parent(begun, call, now)?;
        Ok(Some(now))
    }

    /// Takes over what was still claimed when the process before this one ended.
    pub(super) fn merge_unclaimed(&mut self) -> Result<(), StoreError> {
        let claimed: Vec<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT child, effective_at FROM pending_merge JOIN call ON call.id = child",
            )?
            .query_and_then([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (begun, was_due) in claimed {
            self.joining.insert(begun);
            self.merge_pending(begun, Millis(was_due))?;
        }
        Ok(())
    }

    fn living(&self, id: i64, callback: &NewCallback) -> Result<Option<CallRow>, StoreError> {
        let call = CallRow::load(&self.connection, id)?;
        Ok(call.filter(|call| call.account == callback.account && call.callbacks > 0))
    }

    fn merge_into_parent(
        &mut self,
        mut begun: CallRow,
        into: i64,
        now: Millis,
    ) -> Result<(), StoreError> {
        let Some(mut call) = CallRow::load(&self.connection, into)? else {
            return Ok(());
        };
        let legs = rows::child_legs_of(&self.connection, begun.id)?;
        for leg in legs {
            let hash = sid_index::hash(&leg);
            if leg != call.sid && !rows::has_leg(&self.connection, call.id, &leg)? {
                self.name((hash, call.id))?;
            }
            self.names.remove(&self.connection, (hash, begun.id))?;
            self.purged.push((hash, begun.id));
        }
        let callbacks = self.move_callbacks(&begun, &call)?;
        self.move_attempts(&begun, &call)?;
        call.attempts += begun.attempts;
        (begun.attempts, begun.planned_callbacks) = (0, 0);
        for (id, callbacks, attempts) in [(begun.id, 0, 0), (call.id, callbacks, call.attempts)] {
            self.connection
                .prepare_cached("UPDATE call SET callbacks = ?2, attempts = ?3 WHERE id = ?1")?
                .execute(params![id, callbacks, attempts])?;
        }
        let why = format!("it is a part of call {}, which has its callbacks", call.sid);
        self.rest(&begun, &NextState::Skipped(why), now)?;
        if !self.claims.lock().holds(call.id) {
            self.make_due(&call, now, now)?;
        }
        Ok(())
    }

    /// Returns how many callbacks the call has then.
    fn move_callbacks(&self, begun: &CallRow, call: &CallRow) -> Result<i64, StoreError> {
        let mut count = call.callbacks;
        for number in 1..=begun.callbacks {
            let old = rows::row_of(begun.id, number)?;
            let key: String = self
                .connection
                .prepare_cached("SELECT key FROM callback WHERE id = ?1")?
                .query_row([old], |row| row.get(0))?;
            if self.has_callback(call.id, &key)? {
                self.connection
                    .prepare_cached("DELETE FROM callback WHERE id = ?1")?
                    .execute([old])?;
                continue;
            }
            count += 1;
            self.connection
                .prepare_cached(
                    "UPDATE callback SET id = ?2, leg = nullif(coalesce(leg, ?3), ?4) \
                     WHERE id = ?1",
                )?
                .execute(params![
                    old,
                    rows::row_of(call.id, count)?,
                    begun.sid.as_str(),
                    call.sid.as_str()
                ])?;
        }
        Ok(count)
    }

    /// Attempts before the last requeue of the call that they were made for stay such.
    fn move_attempts(&self, begun: &CallRow, call: &CallRow) -> Result<(), StoreError> {
        for number in 1..=begun.attempts {
            self.connection
                .prepare_cached(
                    "UPDATE attempt SET id = ?2, \
                     requeue_count = CASE requeue_count WHEN ?3 THEN ?4 ELSE -1 END WHERE id = ?1",
                )?
                .execute(params![
                    rows::row_of(begun.id, number)?,
                    rows::row_of(call.id, call.attempts + number)?,
                    begun.requeue_count,
                    call.requeue_count
                ])?;
        }
        Ok(())
    }
}
