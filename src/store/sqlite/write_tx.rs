//! The write operations of the store, and claims, on the writer's connection.
//!
//! [`WriteTx::roll_back`] undoes an operation that failed before [`WriteTx::commit`], in the database
//! and in memory. This module does not decide which operations share a transaction.

mod acts;
mod claim;
mod merge;
mod purge;
pub(super) mod spool;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::counters;
use super::hash_index::{self, HashEntry, HashIndex};
use super::health::FileHealth;
use super::leases::{Lease, SharedLeaseTable};
use super::rows::{self, CallRow};
use crate::clock::Millis;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::class::Class;
use crate::store::addresses;
use crate::store::columns::StateColumns;
use crate::store::counters::Counters;
use crate::store::ledger::{Counted, LedgerChanges};
use crate::store::removed::RemovalCause;
use crate::store::repeat::{self, StoredForm};
use crate::store::sql::{Sql, at_once};
use crate::store::{Claimed, Counts, NewCallback, NextState, Recorded, State, StoreError, Ticket};
use crate::twilio::CallSid;

/// How long a transaction waits for the write lock: less than a callback waits for its commit.
const LOCK_TIMEOUT: Duration = Duration::from_secs(4);

/// The writer's connection and what it keeps in memory beside it.
pub struct WriteTx {
    connection: Connection,
    sids: HashIndex,
    pub(super) addresses: HashIndex,
    leases: SharedLeaseTable,
    /// The table `pending_merge`: each call to merge with its parent's call.
    pending_merges: HashMap<i64, i64>,
    counters: Counters,
    committed_counters: Counters,
    /// Of the open transaction.
    ledger: LedgerChanges,
    undo: Vec<Undo>,
    purged_sids: Vec<HashEntry>,
    purged_addresses: Vec<HashEntry>,
    pub(super) hasher: AddressHasher,
    pub(super) health: FileHealth,
    /// Whether the log may have copies of removed data. After a crash it may.
    pub(in crate::store) has_removed: bool,
}

/// A change in memory that the open transaction made.
enum Undo {
    SidAdded(HashEntry),
    AddressAdded(HashEntry),
    Released(i64, Lease),
    Claimed(i64),
    /// The pending merge of a call was this one before.
    PendingMerge(i64, Option<i64>),
}

impl WriteTx {
    pub(super) fn new(
        connection: Connection,
        leases: SharedLeaseTable,
    ) -> Result<Self, StoreError> {
        let counters = counters::load(&connection)?;
        let mut tx = Self {
            health: FileHealth::of(&connection),
            has_removed: true,
            sids: HashIndex::load(&connection, hash_index::SIDS)?,
            addresses: HashIndex::load(&connection, hash_index::ADDRESSES)?,
            hasher: at_once(addresses::hasher(Sql::Sqlite(&connection)))?,
            connection,
            leases,
            pending_merges: HashMap::new(),
            counters,
            committed_counters: counters,
            ledger: LedgerChanges::default(),
            undo: Vec::new(),
            purged_sids: Vec::new(),
            purged_addresses: Vec::new(),
        };
        tx.begin()?;
        tx.merge_unclaimed()?;
        tx.commit()?;
        Ok(tx)
    }

    pub fn begin(&mut self) -> Result<(), StoreError> {
        self.lock()?;
        // Before any operation: a flush after a purge would bring a purged SID back.
        self.sids.maintain(&self.connection)?;
        Ok(self.addresses.maintain(&self.connection)?)
    }

    /// Waits for the write lock while another program holds it.
    fn lock(&self) -> Result<(), StoreError> {
        let until = Instant::now() + LOCK_TIMEOUT;
        loop {
            let begun = self.run("BEGIN IMMEDIATE");
            let is_locked = matches!(begun, Err(StoreError::Locked));
            self.health.write_lock_is_held(is_locked);
            if !is_locked || Instant::now() >= until {
                return begun;
            }
        }
    }

    pub fn commit(&mut self) -> Result<(), StoreError> {
        if self.counters != self.committed_counters {
            counters::save(&self.connection, &self.counters)?;
        }
        self.save_ledger()?;
        self.run("COMMIT")?;
        self.ledger.clear();
        self.committed_counters = self.counters;
        self.undo.clear();
        for entry in self.purged_sids.drain(..) {
            self.sids.forget_purged(entry);
        }
        for entry in self.purged_addresses.drain(..) {
            self.addresses.forget_purged(entry);
        }
        self.sids.committed();
        self.addresses.committed();
        Ok(())
    }

    fn save_ledger(&self) -> Result<(), StoreError> {
        let mut add = self.connection.prepare_cached(
            "INSERT INTO ledger (quarter, account, class, cause, calls) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (quarter, account, class, cause) DO UPDATE SET calls = calls + excluded.calls",
        )?;
        for ((quarter, account, class, cause), calls) in self.ledger.rows() {
            add.execute(params![quarter, account.as_str(), class, cause, calls])?;
        }
        Ok(())
    }

    pub fn roll_back(&mut self) {
        // When the disk is full, SQLite may have rolled back by itself.
        if !self.connection.is_autocommit()
            && let Err(error) = self.run("ROLLBACK")
        {
            tracing::error!(%error, "failed to roll back a transaction of the store");
        }
        self.counters = self.committed_counters;
        self.ledger.clear();
        self.purged_sids.clear();
        self.purged_addresses.clear();
        let mut leases = self.leases.lock();
        for undo in self.undo.drain(..).rev() {
            match undo {
                Undo::SidAdded(entry) => self.sids.forget(entry),
                Undo::AddressAdded(entry) => self.addresses.forget(entry),
                Undo::Released(call, claim) => leases.restore(call, claim),
                Undo::Claimed(call) => {
                    leases.release(call);
                }
                Undo::PendingMerge(child, Some(parent)) => {
                    self.pending_merges.insert(child, parent);
                }
                Undo::PendingMerge(child, None) => {
                    self.pending_merges.remove(&child);
                }
            }
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    pub fn record(&mut self, callback: &NewCallback, now: Millis) -> Result<Recorded, StoreError> {
        match self.call_of(callback)? {
            Some(call) => self.record_further(&call, callback, now),
            None => self.record_first(callback, now),
        }
    }

    /// As [`Self::record`], and claims a new call that is due at once until `lease_end`.
    pub fn record_claimed(
        &mut self,
        callback: &NewCallback,
        now: Millis,
        lease_end: Millis,
    ) -> Result<(Recorded, Option<Claimed>), StoreError> {
        let last = self.counters.seen;
        let recorded = self.record(callback, now)?;
        let id = self.counters.seen;
        let is_child = callback.leg != callback.call;
        if id == last || is_child || callback.due(now) > now {
            return Ok((recorded, None));
        }
        let ticket = Ticket {
            call: id,
            claim: self.leases.lock().claim(id, lease_end).number,
            newest_callback: 1,
            requeue_count: 0,
            retry_now_at: None,
        };
        self.undo.push(Undo::Claimed(id));
        Ok((recorded, Some(Claimed::new(callback, now, ticket))))
    }

    fn record_first(
        &mut self,
        callback: &NewCallback,
        now: Millis,
    ) -> Result<Recorded, StoreError> {
        match self.removal_of(callback)? {
            None => {}
            Some(RemovalCause::Erased) => return Ok(Recorded::Erased),
            Some(_) => return Ok(Recorded::Repeated),
        }
        // Not the largest id + 1: the number of a purged call must never be used again.
        let (id, due) = (self.counters.seen + 1, callback.due(now));
        self.connection
            .prepare_cached(
                "INSERT INTO call (id, sid, account, state, effective_at, changed, received, \
                 callbacks, attempts, requeue_count, planned_callbacks, reconciled) \
                 VALUES (?1, ?2, ?3, 'pending', ?5, ?4, ?4, 1, 0, 0, 0, ?6)",
            )?
            .execute(params![
                id,
                callback.call.as_str(),
                callback.account.as_str(),
                now.0,
                due.0,
                callback.is_reconciled()
            ])?;
        self.insert_callback((id, &callback.call), 1, callback, now)?;
        self.add_sid((hash_index::hash_of_sid(&callback.call), id))?;
        if callback.leg != callback.call {
            self.add_sid((hash_index::hash_of_sid(&callback.leg), id))?;
        }
        self.counters.add_new(1);
        self.ledger.add(Counted {
            account: &callback.account,
            received: now,
            is_reconciled: callback.is_reconciled(),
            state: State::Pending,
            class: Class::Waiting,
            cause: None,
        });
        // A search that starts behind this position would miss the call.
        self.leases.lock().lower_scan_start((due, id));
        if callback.leg != callback.call {
            self.merge_call_of_leg(callback, id, now)?;
        }
        Ok(Recorded::New)
    }

    fn record_further(
        &mut self,
        call: &CallRow,
        callback: &NewCallback,
        now: Millis,
    ) -> Result<Recorded, StoreError> {
        let stored = self.forms_of(call.id, callback.key.as_str())?;
        if !repeat::is_worth_storing(&callback.request, &stored) {
            return Ok(Recorded::Repeated);
        }
        let is_child = callback.leg != call.sid;
        let new_leg = is_child && !rows::has_leg(&self.connection, call.id, &callback.leg)?;
        self.insert_callback((call.id, &call.sid), call.callbacks + 1, callback, now)?;
        if new_leg {
            self.add_sid((hash_index::hash_of_sid(&callback.leg), call.id))?;
        }
        self.connection
            .prepare_cached("UPDATE call SET callbacks = callbacks + 1 WHERE id = ?1")?
            .execute([call.id])?;
        // While the call is claimed, `settle` sees that there is a newer callback.
        if !self.leases.lock().holds(call.id) {
            self.make_due(call, call.class.reopened(), callback.due(now), now)?;
        }
        if is_child {
            self.merge_call_of_leg(callback, call.id, now)?;
        }
        Ok(Recorded::New)
    }

    fn insert_callback(
        &self,
        (call, sid): (i64, &CallSid),
        number: i64,
        callback: &NewCallback,
        now: Millis,
    ) -> Result<(), StoreError> {
        let leg = (callback.leg != *sid).then(|| callback.leg.as_str());
        self.connection
            .prepare_cached(
                "INSERT INTO callback (id, key, leg, received, url, headers, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                rows::row_of(call, number)?,
                callback.key.as_str(),
                leg,
                now.0,
                callback.request.url,
                callback.request.headers,
                &callback.request.body[..],
            ])?;
        Ok(())
    }

    /// The forms of the stored callbacks with this key.
    fn forms_of(&self, call: i64, key: &str) -> Result<Vec<StoredForm>, StoreError> {
        let [first, last] = rows::rows_of(call);
        Ok(self
            .connection
            .prepare_cached(
                "SELECT headers, body FROM callback WHERE id BETWEEN ?1 AND ?2 AND key = ?3",
            )?
            .query_and_then(params![first, last, key], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?)
    }

    fn add_sid(&mut self, entry: HashEntry) -> Result<(), StoreError> {
        self.sids.add(&self.connection, entry)?;
        self.undo.push(Undo::SidAdded(entry));
        Ok(())
    }

    /// Adds an entry to the search index.
    pub(super) fn add_address(&mut self, entry: HashEntry) -> Result<(), StoreError> {
        self.addresses.add(&self.connection, entry)?;
        self.undo.push(Undo::AddressAdded(entry));
        Ok(())
    }

    /// Removes an entry from the search index.
    pub(super) fn remove_address(&mut self, entry: HashEntry) -> Result<(), StoreError> {
        self.addresses.remove(&self.connection, entry)?;
        // Memory forgets the entry after the commit, because a rollback restores the row.
        self.purged_addresses.push(entry);
        Ok(())
    }

    /// Makes an unclaimed call pending, due at `due` unless it has been due before.
    fn make_due(
        &mut self,
        call: &CallRow,
        class: Class,
        due: Millis,
        now: Millis,
    ) -> Result<(), StoreError> {
        let due = match call.state {
            State::Pending => call.effective_at.min(due),
            _ => due,
        };
        self.set_state(call, &NextState::PendingAt(due), class, now)
    }

    /// Writes the state and class of a call, with the numbers of its attempts and planned callbacks, and its failure.
    fn set_state(
        &mut self,
        call: &CallRow,
        next: &NextState,
        class: Class,
        now: Millis,
    ) -> Result<(), StoreError> {
        let StateColumns {
            state,
            effective_at,
            reason,
            cause,
        } = next.columns(now);
        self.connection
            .prepare_cached(
                "UPDATE call SET state = ?2, effective_at = ?3, changed = ?4, reason = ?5, \
                 attempts = ?6, planned_callbacks = ?7, failing_since = ?8, cause = ?9, class = ?10 WHERE id = ?1",
            )?
            .execute(params![
                call.id,
                state.as_str(),
                effective_at.0,
                now.0,
                reason,
                call.attempts,
                call.planned_callbacks,
                call.failing_since.map(|at| at.0),
                cause.map(|cause| cause.to_string()),
                class.as_str()
            ])?;
        let before = call.counted();
        let after = Counted {
            state,
            class,
            cause,
            ..before
        };
        self.ledger.change(before, after);
        self.counters.move_call(call.state, state);
        if state == State::Pending {
            self.leases.lock().lower_scan_start((effective_at, call.id));
        }
        Ok(())
    }

    /// Changes a row, so that the commit writes to the disk.
    pub fn ping(&mut self) -> Result<(), StoreError> {
        self.run("UPDATE counters SET pings = pings + 1")
    }

    #[cfg(test)]
    pub fn pings(&self) -> Result<i64, StoreError> {
        let sql = "SELECT pings FROM counters";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    pub fn counts(&self) -> Result<Counts, StoreError> {
        let oldest_due: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(effective_at) FROM call WHERE state = 'pending'")?
            .query_row([], |row| row.get(0))?;
        let claimed = i64::try_from(self.leases.lock().len()).unwrap_or(i64::MAX);
        Ok(self.counters.counts(claimed, oldest_due.map(Millis)))
    }
}
