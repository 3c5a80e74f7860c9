//! Removes calls after their retention.

use rusqlite::params;

use super::WriteTx;
use crate::clock::Millis;
use crate::domain::class::Class;
use crate::store::audit;
use crate::store::ledger::Counted;
use crate::store::removed::{self, RemovalCause};
use crate::store::sql::{Row, Sql, at_once};
use crate::store::sqlite::hash_index;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{Expiry, NewCallback, Purged, State, StoreError};
use crate::twilio::{AccountSid, CallSid};

// One part per state, because the index starts with the state.
const EXPIRED: &str = "SELECT id FROM ( \
    SELECT * FROM (SELECT id, effective_at FROM call WHERE state = 'delivered' AND effective_at < ?1 \
        ORDER BY effective_at LIMIT ?3) UNION ALL \
    SELECT * FROM (SELECT id, effective_at FROM call WHERE state = 'skipped' AND effective_at < ?1 \
        ORDER BY effective_at LIMIT ?3) UNION ALL \
    SELECT * FROM (SELECT id, effective_at FROM call WHERE state = 'parked' AND effective_at < ?2 \
        ORDER BY effective_at LIMIT ?3)) ORDER BY effective_at, id LIMIT ?3";

/// A few at a time: a call has few legs.
const FORGET_REMOVED: &str = "DELETE FROM removed_call WHERE hash IN ( \
    SELECT hash FROM removed_call WHERE day < ?1 AND cause <> 'erased' ORDER BY day LIMIT ?2)";

/// Returns 128 free pages to the file system: 512 KiB, more than a purge of a hundred calls frees.
const SHRINK: &str = "PRAGMA incremental_vacuum(128)";

impl WriteTx {
    pub fn purge(&mut self, expiry: Expiry, limit: usize) -> Result<Purged, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (finished, parked) = (expiry.delivered_and_skipped.0, expiry.parked.0);
        let expired: Vec<i64> = self
            .connection
            .prepare_cached(EXPIRED)?
            .query_and_then(params![finished, parked, limit], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let mut purged = Purged::default();
        for id in expired {
            let Some(call) = CallRow::load(&self.connection, id)? else {
                continue;
            };
            let cutoff = match call.state {
                State::Parked => expiry.parked,
                _ => expiry.delivered_and_skipped,
            };
            if let Some(reported) = removed::reported_after(&self.forms_of_call(id)?, cutoff) {
                self.connection
                    .prepare_cached("UPDATE call SET effective_at = ?2 WHERE id = ?1")?
                    .execute([id, reported.0])?;
                purged.deferred += 1;
            } else {
                let cause = RemovalCause::by_age(call.state);
                self.remember(&call, cause, expiry.now)?;
                self.remove(&call, Some(cause))?;
                purged.add(call.state);
            }
        }
        if let Some(entry) = purged.audit_entry(expiry.now) {
            at_once(audit::append(Sql::Sqlite(&self.connection), &entry))?;
        }
        self.connection
            .prepare_cached(FORGET_REMOVED)?
            .execute(params![
                removed::day(expiry.parked),
                limit.saturating_mul(10)
            ])?;
        Ok(purged)
    }

    fn forms_of_call(&self, call: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT body FROM callback WHERE id BETWEEN ?1 AND ?2")?
            .query_and_then(rows::rows_of(call), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Remembers that the call and its legs are removed.
    fn remember(&self, call: &CallRow, cause: RemovalCause, now: Millis) -> Result<(), StoreError> {
        // The empty row of a merged call: its SIDs belong to its parent's call.
        if call.callbacks == 0 {
            return Ok(());
        }
        let mut sids = rows::child_legs_of(&self.connection, call.id)?;
        sids.push(call.sid.clone());
        let reason = call.reason.as_deref();
        let reason = reason.filter(|_| cause == RemovalCause::Expired);
        let reason = reason.map(removed::anonymous);
        for sid in sids {
            self.remember_sid((&call.account, &sid), (cause, reason.as_deref()), now)?;
        }
        Ok(())
    }

    fn remember_sid(
        &self,
        (account, sid): (&AccountSid, &CallSid),
        (cause, reason): (RemovalCause, Option<&str>),
        now: Millis,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO removed_call (hash, account, day, cause, reason) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                removed::sid_hash(account, sid),
                account.as_str(),
                removed::day(now),
                cause.as_str(),
                reason,
            ])?;
        Ok(())
    }

    /// Erases a call with the rows of the legs that were merged into it; returns how many legs it had.
    pub(super) fn erase(&mut self, call: &CallRow, now: Millis) -> Result<usize, StoreError> {
        let cause = RemovalCause::Erased;
        self.remember(call, cause, now)?;
        let legs = rows::child_legs_of(&self.connection, call.id)?;
        for leg in &legs {
            let hash = hash_index::hash_of_sid(leg);
            for id in self.sids.find(&self.connection, hash)? {
                let row = CallRow::load(&self.connection, id)?;
                let is_merged = |row: &CallRow| {
                    row.callbacks == 0 && row.sid == *leg && row.account == call.account
                };
                if let Some(row) = row.filter(is_merged) {
                    self.remove(&row, Some(cause))?;
                }
            }
        }
        self.remove(call, Some(cause))?;
        Ok(legs.len() + 1)
    }

    /// Why the call of the callback was removed, if it was.
    pub(super) fn removal_of(
        &self,
        callback: &NewCallback,
    ) -> Result<Option<RemovalCause>, StoreError> {
        let hash = removed::sid_hash(&callback.account, &callback.call);
        let sql = "SELECT cause FROM removed_call WHERE hash = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query([hash])?;
        let row = found.next()?;
        row.map(|row| Row::Sqlite(row).parse(0, RemovalCause::parse))
            .transpose()
    }

    /// Removes a call; without a cause, because it was transferred from a spool.
    pub(super) fn remove(
        &mut self,
        call: &CallRow,
        cause: Option<RemovalCause>,
    ) -> Result<(), StoreError> {
        let mut legs = rows::child_legs_of(&self.connection, call.id)?;
        legs.push(call.sid.clone());
        for leg in legs {
            let entry = (hash_index::hash_of_sid(&leg), call.id);
            self.sids.remove(&self.connection, entry)?;
            // Memory forgets the entry after the commit, because a rollback restores the row.
            self.purged_sids.push(entry);
        }
        self.remove_addresses(call.id)?;
        for sql in [
            "DELETE FROM callback WHERE id BETWEEN ?1 AND ?2",
            "DELETE FROM attempt WHERE id BETWEEN ?1 AND ?2",
        ] {
            self.connection
                .prepare_cached(sql)?
                .execute(rows::rows_of(call.id))?;
        }
        self.connection
            .prepare_cached("DELETE FROM call WHERE id = ?1")?
            .execute([call.id])?;
        self.counters.purge_call(call.state);
        let counted = call.counted();
        match (cause, call.class) {
            // The database has it.
            (None, Class::Waiting | Class::WaitingLate) => self.ledger.take_back(counted),
            (None, _) => self.ledger.remove(counted),
            (Some(cause), class) => {
                let class = cause.kept_class(class);
                let kept = Counted { class, ..counted };
                self.ledger.change(counted, kept);
                self.ledger.remove(kept);
            }
        }
        self.has_removed = true;
        Ok(())
    }

    /// Empties the write-ahead log if it may have copies of removed data. A reader of an old state
    /// prevents that, and no callback waits for it: the next call tries again.
    pub fn empty_log(&mut self) -> Result<(), StoreError> {
        if self.has_removed {
            self.has_removed =
                self.connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            self.health.log_was_kept(self.has_removed);
        }
        Ok(())
    }

    /// As [`Self::empty_log`], in any case; whether it is empty.
    pub fn log_is_emptied(&mut self) -> Result<bool, StoreError> {
        self.has_removed = true;
        self.empty_log()?;
        Ok(!self.has_removed)
    }

    /// As [`Self::shrink`]; whether there are more.
    pub fn shrink_more(&self) -> Result<bool, StoreError> {
        self.shrink()?;
        let sql = "PRAGMA freelist_count";
        let free: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(free > 0)
    }

    /// Returns a few free pages to the file system.
    pub fn shrink(&self) -> Result<(), StoreError> {
        let mut shrink = self.connection.prepare_cached(SHRINK)?;
        let mut pages = shrink.query([])?;
        // Each step gives back one page.
        while pages.next()?.is_some() {}
        Ok(())
    }
}
