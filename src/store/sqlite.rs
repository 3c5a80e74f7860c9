//! The embedded default: one `SQLite` file, owned by one process.
//!
//! One thread writes and hands out (`ledger`); it commits all that waits together (`writer`).
//! Another thread reads for pages. Claims live in memory. The file holds four kinds of rows: calls,
//! their callbacks and attempts, which stand together by their row numbers, and the names by which
//! calls are found (`names`).

mod backup;
mod consistency;
mod counters;
mod leases;
mod lock;
mod open;
mod reader;
mod refused;
mod rows;
mod sid_index;
pub(super) mod spool;
mod write_tx;
mod writer;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

pub use self::reader::SqliteReader;

use self::leases::SharedLeaseTable;
use self::lock::Lock;
use self::reader::ReaderThread;
use self::write_tx::WriteTx;
use self::writer::Writer;
use super::{
    AccountFilter, CallSummary, ClaimRequest, ClaimedCalls, Counts, Expiry, ListFilter, Migrated,
    NewCallback, OpenError, ReadStore as _, Recorded, Settlement, Store, StoreError, StoredCall,
    Ticket,
};
use crate::clock::Millis;
use crate::twilio::CallSid;

/// A store in one `SQLite` file. Dropped, it finishes what it was given, closes the file and frees
/// it for the next owner.
pub struct SqliteStore {
    /// Dropped before the writer: only who may write can fold the log into the file, and only the
    /// last to close it does.
    reader: ReaderThread,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the file, made or migrated as needed, and owns it until dropped.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let path = &open::plain(path)?;
        let unusable = |why: String| OpenError::Unusable {
            path: path.to_owned(),
            why,
        };
        let mut lock = Lock::take(path)?;
        let connection = open::writer(path)?;
        let claims = SharedLeaseTable::new();
        let reader = SqliteReader::open_beside(path, claims.clone())?;
        let ledger = WriteTx::new(connection, claims).map_err(|why| OpenError::of(path, why))?;
        lock.opened();
        let no_thread = |error: std::io::Error| unusable(format!("no thread for it: {error}"));
        Ok(Self {
            reader: ReaderThread::start(reader).map_err(no_thread)?,
            writer: Writer::start(ledger, lock).map_err(no_thread)?,
        })
    }
}

/// Brings a file that nobody owns to this version.
pub(super) fn migrate(path: &Path) -> Result<Migrated, OpenError> {
    let path = &open::plain(path)?;
    let _lock = Lock::take(path)?;
    open::migrated(path)
}

#[async_trait]
impl Store for SqliteStore {
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError> {
        self.writer
            .write(move |ledger| ledger.record(&callback, now))
            .await
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        wanted: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        self.writer
            .ask(move |ledger| {
                let calls = ledger.claim(now, lease, &wanted)?;
                // Asked for only by a worker that has room left, and so waits for the next call.
                let next_due = if calls.len() < wanted.limit {
                    ledger.next_due(&wanted.whose)?
                } else {
                    None
                };
                Ok(ClaimedCalls { calls, next_due })
            })
            .await
    }

    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        self.writer
            .write_soon(move |ledger| ledger.settle(&ticket, &settlement, now))
            .await
    }

    async fn retry_now(
        &self,
        whose: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.writer
            .write(move |ledger| ledger.retry_now(&whose, now, limit))
            .await
    }

    async fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        let sid = sid.clone();
        self.reader.ask(move |reader| reader.get(&sid)).await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        self.reader.ask(move |reader| reader.list(filter)).await
    }

    async fn requeue(&self, sid: &CallSid, now: Millis) -> Result<bool, StoreError> {
        let sid = sid.clone();
        self.writer
            .write(move |ledger| ledger.requeue(&sid, now))
            .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.writer.ask(|ledger| ledger.counts()).await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<usize, StoreError> {
        let purged = self
            .writer
            .write(move |ledger| ledger.purge(expiry, limit))
            .await?;
        if purged > 0 {
            self.writer.ask(|ledger| ledger.shrink()).await?;
        }
        Ok(purged)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.write(WriteTx::ping).await
    }
}
