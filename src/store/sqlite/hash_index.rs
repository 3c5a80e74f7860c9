//! Finds calls by the hash of a SID or an address: an LSM index with two levels in memory and one table.
//!
//! Hashes are random, so a B-tree would change one page for each new entry in every commit. New entries go
//! to the memtable and to the log. A full memtable becomes immutable, and each transaction flushes a batch
//! of it, in order, to the table: many entries then share a page. After the flush, the log is truncated. A
//! start reads the memtable back from the log.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use crate::twilio::CallSid;

/// Entries in the memtable before it becomes immutable. Memory holds up to twice as many, at about
/// 40 bytes each.
const MAX_MEMTABLE: usize = 65_536;

/// Entries flushed per transaction, unless the last one added half as many: few enough that a commit takes
/// at most about a millisecond longer.
const FLUSH_BATCH: usize = 512;

/// Rows of the log that are removed per transaction; as [`FLUSH_BATCH`].
const TRUNCATE_BATCH: usize = 2_048;

/// A hash, and a call that may have it.
pub(super) type HashEntry = (i64, i64);

/// The tables of an index.
#[derive(Debug)]
pub(super) struct IndexTables {
    load: &'static str,
    find: &'static str,
    log: &'static str,
    remove: &'static str,
    unlog: &'static str,
    truncate: &'static str,
    flush: &'static str,
}

macro_rules! tables {
    ($index:literal, $log:literal) => {
        IndexTables {
            load: concat!("SELECT id, hash, call FROM ", $log, " ORDER BY id"),
            find: concat!("SELECT call FROM ", $index, " WHERE hash = ?1"),
            log: concat!(
                "INSERT INTO ",
                $log,
                " (id, hash, call) VALUES (?1, ?2, ?3)"
            ),
            remove: concat!("DELETE FROM ", $index, " WHERE hash = ?1 AND call = ?2"),
            unlog: concat!("DELETE FROM ", $log, " WHERE id = ?1"),
            truncate: concat!("DELETE FROM ", $log, " WHERE id > ?1 AND id <= ?2"),
            // IGNORE: after a crash, a start flushes entries again that are already in the table.
            flush: concat!(
                "INSERT OR IGNORE INTO ",
                $index,
                " (hash, call) VALUES (?1, ?2)"
            ),
        }
    };
}

/// Calls by SID.
pub(super) const SIDS: &IndexTables = &tables!("sid_index", "sid_log");
/// Calls by address.
pub(super) const ADDRESSES: &IndexTables = &tables!("address", "address_log");

/// The XOR of the two halves of the 32 hexadecimal digits, which are random. Different SIDs may share
/// a hash. The database stores it, so it must never change.
pub(super) fn hash_of_sid(sid: &CallSid) -> i64 {
    let half = |digits: &str| u64::from_str_radix(digits, 16).unwrap_or_default();
    let (first, last) = sid.as_str()[2..].split_at(16);
    (half(first) ^ half(last)).cast_signed()
}

/// The query of [`find_committed`].
pub(super) const FIND_COMMITTED: &str = "\
    SELECT hash, call FROM sid_index WHERE hash IN (SELECT value FROM json_each(?1)) \
    UNION SELECT hash, call FROM sid_log WHERE hash IN (SELECT value FROM json_each(?1))";

/// The calls that may have SIDs with these hashes, by hash, as far as they are committed. Ask for many
/// hashes at once: the log has no index, so that each query reads all of it.
pub(super) fn find_committed(
    connection: &Connection,
    hashes: &[i64],
) -> rusqlite::Result<HashMap<i64, Vec<i64>>> {
    let mut found: HashMap<i64, Vec<i64>> = HashMap::new();
    let mut statement = connection.prepare_cached(FIND_COMMITTED)?;
    // Rust prints a list of numbers as JSON has it.
    let mut rows = statement.query([format!("{hashes:?}")])?;
    while let Some(row) = rows.next()? {
        found.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(found)
}

/// The index as the writer has it. Each method runs within the open transaction.
#[derive(Debug)]
pub(super) struct HashIndex {
    tables: &'static IndexTables,
    /// Each entry with its row in the log.
    memtable: BTreeMap<HashEntry, i64>,
    immutable: BTreeMap<HashEntry, i64>,
    /// The last entry of `immutable` that was flushed.
    flushed_to: Option<HashEntry>,
    /// Rows of the log up to `truncated_to` are deleted; up to `truncate_to` they can be.
    truncated_to: i64,
    truncate_to: i64,
    last_row: i64,
    /// Entries that the open transaction added.
    added: usize,
    /// The maintenance that the open transaction does.
    step: Step,
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    #[default]
    None,
    FlushedTo(HashEntry),
    FlushedAll,
    TruncatedTo(i64),
}

impl HashIndex {
    /// Reads the entries of the log into the memtable.
    pub fn load(connection: &Connection, tables: &'static IndexTables) -> rusqlite::Result<Self> {
        let mut index = Self {
            tables,
            memtable: BTreeMap::new(),
            immutable: BTreeMap::new(),
            flushed_to: None,
            truncated_to: 0,
            truncate_to: 0,
            last_row: 0,
            added: 0,
            step: Step::None,
        };
        let mut statement = connection.prepare(tables.load)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            if index.memtable.is_empty() {
                index.truncated_to = id - 1;
                index.truncate_to = id - 1;
            }
            index.memtable.insert((row.get(1)?, row.get(2)?), id);
            index.last_row = id;
        }
        Ok(index)
    }

    /// The calls that may have this hash.
    pub fn find(&self, connection: &Connection, hash: i64) -> rusqlite::Result<Vec<i64>> {
        let mut calls = Vec::new();
        for level in [&self.memtable, &self.immutable] {
            let found = level.range((hash, i64::MIN)..=(hash, i64::MAX));
            calls.extend(found.map(|((_, call), _)| *call));
        }
        let mut statement = connection.prepare_cached(self.tables.find)?;
        let mut rows = statement.query([hash])?;
        while let Some(row) = rows.next()? {
            calls.push(row.get(0)?);
        }
        Ok(calls)
    }

    pub fn add(&mut self, connection: &Connection, entry: HashEntry) -> rusqlite::Result<()> {
        // The log makes the entry durable in this transaction; the table gets it later.
        let row = self.last_row + 1;
        connection
            .prepare_cached(self.tables.log)?
            .execute(params![row, entry.0, entry.1])?;
        self.last_row = row;
        self.added += 1;
        self.memtable.insert(entry, row);
        Ok(())
    }

    /// Undoes [`HashIndex::add`] of a transaction that failed.
    pub fn forget(&mut self, entry: HashEntry) {
        self.memtable.remove(&entry);
    }

    /// Removes the entry of a purged call from the database. Memory keeps it until
    /// [`HashIndex::forget_purged`]; until then it names a call that does not exist.
    pub fn remove(&mut self, connection: &Connection, entry: HashEntry) -> rusqlite::Result<()> {
        connection
            .prepare_cached(self.tables.remove)?
            .execute(params![entry.0, entry.1])?;
        for level in [&self.memtable, &self.immutable] {
            if let Some(row) = level.get(&entry) {
                connection
                    .prepare_cached(self.tables.unlog)?
                    .execute([row])?;
            }
        }
        Ok(())
    }

    pub fn forget_purged(&mut self, entry: HashEntry) {
        self.memtable.remove(&entry);
        self.immutable.remove(&entry);
    }

    /// Flushes a batch of the immutable memtable, or truncates the log behind it. Call it before the
    /// transaction purges anything, because a flush would bring a purged entry back.
    pub fn maintain(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.step = Step::None;
        // Entries must leave the memory faster than they come.
        let added = std::mem::take(&mut self.added);
        if !self.immutable.is_empty() {
            self.step = self.flush(connection, FLUSH_BATCH.max(2 * added))?;
        } else if self.truncated_to < self.truncate_to {
            let batch = i64::try_from(TRUNCATE_BATCH.max(2 * added)).unwrap_or(i64::MAX);
            let to = self.truncate_to.min(self.truncated_to + batch);
            connection
                .prepare_cached(self.tables.truncate)?
                .execute([self.truncated_to, to])?;
            self.step = Step::TruncatedTo(to);
        }
        Ok(())
    }

    fn flush(&self, connection: &Connection, batch: usize) -> rusqlite::Result<Step> {
        use std::ops::Bound::{Excluded, Unbounded};

        let mut insert = connection.prepare_cached(self.tables.flush)?;
        let behind = self.flushed_to.map_or(Unbounded, Excluded);
        let mut last = None;
        for entry in self.immutable.range((behind, Unbounded)).take(batch) {
            insert.execute(params![entry.0.0, entry.0.1])?;
            last = Some(*entry.0);
        }
        Ok(last.map_or(Step::FlushedAll, Step::FlushedTo))
    }

    /// Call after the commit of the open transaction.
    pub fn committed(&mut self) {
        match std::mem::take(&mut self.step) {
            Step::None => {}
            Step::FlushedTo(entry) => self.flushed_to = Some(entry),
            Step::FlushedAll => {
                self.immutable.clear();
                self.flushed_to = None;
            }
            Step::TruncatedTo(row) => self.truncated_to = row,
        }
        let idle = self.immutable.is_empty() && self.truncated_to >= self.truncate_to;
        if idle && self.memtable.len() >= MAX_MEMTABLE {
            // Only when the previous flush and its truncation are done, so that one log has one memtable to
            // flush.
            self.immutable = std::mem::take(&mut self.memtable);
            self.truncate_to = self.last_row;
        }
    }
}
