//! Reads a store from outside the bridge that writes it: for commands and the consistency check.
//!
//! It never writes, and never migrates a schema.

use std::ops::Range;
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::ledger::{self, CauseCount, LedgerRow};
use super::postgres::PostgresReader;
use super::records::{self, Note, StoredLeg};
use super::sqlite::{self, SqliteReader};
use super::{
    AuditFilter, CallPage, CallQuery, CallSummary, Counts, ListFilter, ListPosition, Reads,
    RefusedCause, RefusedFilter, RemovedCall, StoreError, StoredAuditRow, StoredCall,
    StoredRefusedRequest, Unindexed, addresses, audit, postgres, refused, removed, times,
};
use crate::clock::Millis;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::purge_clock::PurgeClock;
use crate::twilio::{AccountSid, CallSid};

/// Whether a call belongs in the result. It may query the same reader for more of the call.
pub type CallPredicate<'a> = dyn FnMut(&CallSummary) -> Result<bool, StoreError> + 'a;

/// Calls that [`ReadStore::find`] reads at once.
const FIND_PAGE: usize = 5_000;

/// A store that is only read. Each method waits for its answer.
pub trait ReadStore {
    /// The connection, for work that [`Self::run`] runs.
    fn reads(&self) -> Reads<'_>;

    /// Runs work on the connection to its end.
    fn run(&self, work: LocalBoxFuture<'_, ()>);

    /// The calls with this SID, or with a leg that has it, one for each account: Twilio's SIDs are unique,
    /// but any account's token can sign another account's SID.
    fn get_all(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        wait(self, self.reads().get_all(sid))
    }

    /// The first of [`Self::get_all`].
    fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        Ok(self.get_all(sid)?.into_iter().next())
    }

    /// See [`ListFilter`] for the order.
    fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        self.find(filter, &mut |_| Ok(true))
    }

    /// The calls of a list for which `wanted` is true. Memory does not hold the others.
    fn find(
        &self,
        filter: ListFilter,
        wanted: &mut CallPredicate<'_>,
    ) -> Result<Vec<CallSummary>, StoreError> {
        let mut query = filter.query(FIND_PAGE.min(filter.limit));
        let mut found = Vec::new();
        loop {
            let page = self.search(&query)?;
            for StoredCall { summary, .. } in page.calls {
                if found.len() == filter.limit {
                    return Ok(found);
                }
                if wanted(&summary)? {
                    found.push(summary);
                }
            }
            query.from = page.end;
            if query.from.is_none() {
                return Ok(found);
            }
        }
    }

    /// The numbers of calls. A file has no due time: only its writer knows which calls are claimed.
    fn counts(&self) -> Result<Counts, StoreError> {
        wait(self, self.reads().counts())
    }

    /// See [`Store::search`](super::Store::search).
    fn search(&self, query: &CallQuery) -> Result<CallPage, StoreError> {
        wait(self, self.reads().search(query))
    }

    /// A few unsettled calls behind `from` that changed before `before` and are not fully indexed.
    fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError> {
        wait(self, self.reads().unindexed(before, from))
    }

    /// Hashes with the key of this store.
    fn address_hasher(&self) -> Result<AddressHasher, StoreError> {
        wait(self, addresses::hasher(self.reads().sql()))
    }

    /// What is left of removed calls with this SID, or with a leg that has it: one for each account.
    fn removed(&self, sid: &CallSid) -> Result<Vec<RemovedCall>, StoreError> {
        wait(self, removed::removed(self.reads().sql(), sid))
    }

    /// The time that the last purge used; None before the first one.
    fn purge_clock(&self) -> Result<Option<PurgeClock>, StoreError> {
        wait(self, times::purge_clock(self.reads().sql()))
    }

    /// The number of calls that are due after `latest`. The bridge corrects them, so that a call that stays
    /// is a fault.
    fn due_after(&self, latest: Millis) -> Result<u64, StoreError> {
        wait(self, times::due_after(self.reads().sql(), latest))
    }

    /// Refused requests by cause, the latest cause first.
    fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        wait(self, refused::by_cause(self.reads().sql()))
    }

    fn refused(&self, filter: &RefusedFilter) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        wait(self, refused::latest(self.reads().sql(), filter))
    }

    /// What is stored of each of these legs of an account, in their order.
    fn legs(&self, account: &AccountSid, sids: &[CallSid]) -> Result<Vec<StoredLeg>, StoreError> {
        wait(self, self.reads().legs(account, sids))
    }

    /// When the first callback of the oldest call arrived that was not removed.
    fn oldest_call(&self) -> Result<Option<Millis>, StoreError> {
        wait(self, records::oldest_call(self.reads().sql()))
    }

    /// All notes with keys that start with `prefix`, by key.
    fn notes(&self, prefix: &str) -> Result<Vec<Note>, StoreError> {
        wait(self, records::notes(self.reads().sql(), prefix))
    }

    /// The rows of the quarters that start in this time.
    fn ledger(&self, time: Range<Millis>) -> Result<Vec<LedgerRow>, StoreError> {
        wait(self, ledger::rows_of(self.reads().sql(), &time))
    }

    /// How many calls are parked or skipped, by account and cause.
    fn causes(&self) -> Result<Vec<CauseCount>, StoreError> {
        wait(self, ledger::causes(self.reads().sql()))
    }

    fn audit(&self, filter: &AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError> {
        wait(self, audit::latest(self.reads().sql(), filter))
    }

    /// Checks that calls seen = calls in each state + calls purged, that each callback belongs to a
    /// call, that each delivered call has an accepted attempt, that the ledger counts each call, and the
    /// chain of the audit log. Reads every row; returns a
    /// sentence for each problem.
    fn verify_consistency(&self) -> Result<Vec<String>, StoreError> {
        wait(self, self.reads().verify_consistency())
    }

    /// A sentence for each damage in the file itself. A database server checks its own files.
    fn verify_integrity(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// The versions of the schema and the database, in words.
    fn version(&self) -> Result<String, StoreError>;

    /// Writes to the database of a server, and takes it back. A file is tested by
    /// [`look_from_outside`](super::sqlite::look_from_outside).
    fn try_write(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes a copy of one moment to `path`, which must not exist.
    /// Shows these calls as claimed. The claims of a SQLite file are in the memory of the bridge, which
    /// names them to commands.
    fn note_claimed(&self, _sids: &[CallSid]) -> Result<(), StoreError> {
        Ok(())
    }

    fn back_up(&self, _path: &Path) -> Result<(), StoreError> {
        Err(StoreError::Database(
            "backup copies a SQLite file; back PostgreSQL up with its own tools, such as pg_dump \
             or pg_basebackup"
                .to_owned(),
        ))
    }
}

fn wait<T>(
    reader: &(impl ReadStore + ?Sized),
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let mut done = Err(StoreError::Closed);
    reader.run(Box::pin(async { done = work.await }));
    done
}

impl ReadStore for SqliteReader {
    fn reads(&self) -> Reads<'_> {
        Reads::Sqlite(self)
    }

    fn run(&self, work: LocalBoxFuture<'_, ()>) {
        // SQLite answers at once.
        let _ = work.now_or_never();
    }

    fn verify_integrity(&self) -> Result<Vec<String>, StoreError> {
        sqlite::verify_integrity(&self.connection)
    }

    fn version(&self) -> Result<String, StoreError> {
        let sql = "PRAGMA user_version";
        let schema: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(format!("schema {schema}, SQLite {}", rusqlite::version()))
    }

    fn note_claimed(&self, sids: &[CallSid]) -> Result<(), StoreError> {
        self.lease(sids)
    }

    fn back_up(&self, path: &Path) -> Result<(), StoreError> {
        sqlite::back_up(&self.connection, path)
    }
}

impl ReadStore for PostgresReader {
    fn reads(&self) -> Reads<'_> {
        Reads::Postgres(self.session())
    }

    fn run(&self, work: LocalBoxFuture<'_, ()>) {
        self.block_on(work);
    }

    fn version(&self) -> Result<String, StoreError> {
        let sql = "SELECT 'schema ' || max(version) || ', PostgreSQL ' || \
                   current_setting('server_version') FROM migration";
        let version = self.reads().sql().first(sql, &[], |row| row.get(0));
        Ok(wait(self, version)?.unwrap_or_default())
    }

    fn try_write(&self) -> Result<(), StoreError> {
        wait(self, postgres::counters::try_add(self.session()))
    }
}
