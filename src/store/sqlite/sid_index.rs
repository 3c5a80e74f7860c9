//! Finds calls by SID, in two levels: what is new stays in memory and in an appended table until
//! there is enough of it to be sorted into the index.
//!
//! SIDs are random, so each new one would dirty an index page of its own in every commit. Sorted in
//! by the ten thousands, many share a page.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::twilio::CallSid;

/// So many new names are sorted in together. Twice as many may be in memory, at some 40 bytes.
const FREEZE_AT: usize = 65_536;

/// So many names are sorted in per transaction: more than a transaction can add, few enough that no
/// commit is delayed by more than about a millisecond.
const SLICE: usize = 512;

/// Rows of `sid_log` that are removed per transaction.
const TRUNCATE_LOG: i64 = 2_048;

/// A hash and the call that it may mean.
pub(super) type SidEntry = (i64, i64);

/// Sixteen of the 32 hexadecimal digits folded over the others: they are random already.
///
/// Kept in the database, so it must never change. Different SIDs may share a hash.
pub(super) fn hash(sid: &CallSid) -> i64 {
    let half = |digits: &str| u64::from_str_radix(digits, 16).unwrap_or_default();
    let (first, last) = sid.as_str()[2..].split_at(16);
    (half(first) ^ half(last)).cast_signed()
}

/// The names of all calls; the writer's side.
#[derive(Debug, Default)]
pub(super) struct SidIndex {
    /// With their rows in `sid_log`.
    memtable: BTreeMap<SidEntry, i64>,
    immutable: BTreeMap<SidEntry, i64>,
    /// The last name of `frozen` that is in the index.
    sorted_to: Option<SidEntry>,
    /// Rows of `sid_log` up to `swept_to` are gone, up to `sweep_to` they are to go.
    swept_to: i64,
    sweep_to: i64,
    last_row: i64,
    /// What the open transaction makes true.
    step: Step,
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    #[default]
    None,
    SortedTo(SidEntry),
    SortedAll,
    SweptTo(i64),
}

impl SidIndex {
    /// Reads back what was not yet sorted in.
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut names = Self::default();
        let mut statement = connection.prepare("SELECT id, hash, call FROM sid_log ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            if names.memtable.is_empty() {
                names.swept_to = id - 1;
                names.sweep_to = id - 1;
            }
            names.memtable.insert((row.get(1)?, row.get(2)?), id);
            names.last_row = id;
        }
        Ok(names)
    }

    /// The calls that `hash` may mean.
    pub fn find(&self, connection: &Connection, hash: i64) -> rusqlite::Result<Vec<i64>> {
        let mut calls = Vec::new();
        for level in [&self.memtable, &self.immutable] {
            let found = level.range((hash, i64::MIN)..=(hash, i64::MAX));
            calls.extend(found.map(|((_, call), _)| *call));
        }
        let mut statement =
            connection.prepare_cached("SELECT call FROM sid_index WHERE hash = ?1")?;
        let mut rows = statement.query([hash])?;
        while let Some(row) = rows.next()? {
            calls.push(row.get(0)?);
        }
        Ok(calls)
    }

    pub fn add(&mut self, connection: &Connection, name: SidEntry) -> rusqlite::Result<()> {
        let row = self.last_row + 1;
        connection
            .prepare_cached("INSERT INTO sid_log (id, hash, call) VALUES (?1, ?2, ?3)")?
            .execute(params![row, name.0, name.1])?;
        self.last_row = row;
        self.memtable.insert(name, row);
        Ok(())
    }

    /// Takes back [`SidIndex::add`] of a transaction that failed.
    pub fn forget(&mut self, name: SidEntry) {
        self.memtable.remove(&name);
    }

    /// Removes the name of a purged call from the database. In memory it stays until
    /// [`SidIndex::forget_purged`], and means a call that is not there.
    pub fn remove(&mut self, connection: &Connection, name: SidEntry) -> rusqlite::Result<()> {
        connection
            .prepare_cached("DELETE FROM sid_index WHERE hash = ?1 AND call = ?2")?
            .execute(params![name.0, name.1])?;
        for level in [&self.memtable, &self.immutable] {
            if let Some(row) = level.get(&name) {
                connection
                    .prepare_cached("DELETE FROM sid_log WHERE id = ?1")?
                    .execute([row])?;
            }
        }
        Ok(())
    }

    pub fn forget_purged(&mut self, name: SidEntry) {
        self.memtable.remove(&name);
        self.immutable.remove(&name);
    }

    /// Sorts in a slice of what is frozen, or sweeps behind it, within the open transaction and
    /// before anything is purged there: what is purged must not be sorted in again.
    pub fn maintain(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.step = Step::None;
        if !self.immutable.is_empty() {
            self.step = self.flush(connection)?;
        } else if self.swept_to < self.sweep_to {
            let to = self.sweep_to.min(self.swept_to + TRUNCATE_LOG);
            connection
                .prepare_cached("DELETE FROM sid_log WHERE id > ?1 AND id <= ?2")?
                .execute([self.swept_to, to])?;
            self.step = Step::SweptTo(to);
        }
        Ok(())
    }

    fn flush(&self, connection: &Connection) -> rusqlite::Result<Step> {
        use std::ops::Bound::{Excluded, Unbounded};

        let mut insert = connection
            .prepare_cached("INSERT OR IGNORE INTO sid_index (hash, call) VALUES (?1, ?2)")?;
        let behind = self.sorted_to.map_or(Unbounded, Excluded);
        let mut last = None;
        for name in self.immutable.range((behind, Unbounded)).take(SLICE) {
            insert.execute(params![name.0.0, name.0.1])?;
            last = Some(*name.0);
        }
        Ok(last.map_or(Step::SortedAll, Step::SortedTo))
    }

    /// The open transaction is on disk.
    pub fn committed(&mut self) {
        match std::mem::take(&mut self.step) {
            Step::None => {}
            Step::SortedTo(name) => self.sorted_to = Some(name),
            Step::SortedAll => {
                self.immutable.clear();
                self.sorted_to = None;
            }
            Step::SweptTo(row) => self.swept_to = row,
        }
        let idle = self.immutable.is_empty() && self.swept_to >= self.sweep_to;
        if idle && self.memtable.len() >= FREEZE_AT {
            self.immutable = std::mem::take(&mut self.memtable);
            self.sweep_to = self.last_row;
        }
    }
}
