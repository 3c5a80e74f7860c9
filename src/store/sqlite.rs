//! The embedded default: one `SQLite` file, owned by one process.
//!
//! One thread writes and claims (`write_tx`); it commits all waiting operations in one transaction
//! (`writer`). Another thread reads for pages. Claims are in memory (`leases`). The rows of a call's
//! callbacks and attempts are adjacent, because their row numbers start with the call's. A call is
//! found by the hash of its SIDs (`hash_index`).

mod addresses;
mod backup;
pub(super) mod counters;
mod erasure;
mod hash_index;
mod health;
mod leases;
mod legs;
mod lock;
mod open;
mod reader;
mod rows;
mod search;
pub(super) mod spool;
mod write_tx;
mod writer;

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;

pub use self::backup::partial_copy;
pub use self::health::look_from_outside;
pub use self::reader::SqliteReader;

pub(super) use self::backup::back_up;
pub(super) use self::health::verify_integrity;
pub(super) use self::legs::legs;
pub(super) use self::write_tx::WriteTx;

use self::health::FileHealth;
use self::leases::SharedLeaseTable;
use self::lock::Lock;
use self::reader::ReaderThread;
use self::writer::Writer;
use super::erasure::{Compaction, Wiped};
use super::sql::at_once;
use super::{
    AccountFilter, ClaimRequest, Claimed, ClaimedCalls, Counts, Expiry, IndexJob, LeaseClock,
    Migrated, NewCallback, Offer, OpenError, Purged, ReadJob, Reads, Recorded, Settlement, Store,
    StoreError, StoreFiles, StoreWarning, Ticket, Tx, Urgency, WriteJob,
};
use crate::clock::Millis;
use crate::domain::subject::Subject;

/// A store in one `SQLite` file. Drop finishes all operations, closes the file and unlocks it.
pub struct SqliteStore {
    /// Dropped before the writer: the last connection that closes copies the write-ahead log into the
    /// file, and only the writer's may.
    reader: ReaderThread,
    writer: Writer,
    health: FileHealth,
    lease_clock: LeaseClock,
    /// The store's own clock starts here: no jump of the wall clock ends or extends a lease.
    opened: Instant,
}

impl SqliteStore {
    /// Opens the file, creates or migrates it as needed, and locks it until drop.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, LeaseClock::Store)
    }

    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, lease_clock: LeaseClock) -> Result<Self, OpenError> {
        let path = &open::plain(path)?;
        let unusable = |why: String| OpenError::Unusable {
            path: path.to_owned(),
            why,
        };
        let mut lock = Lock::take(path)?;
        // The writer first: a reader can neither create nor migrate the file.
        let connection = open::writer(path)?;
        let leases = SharedLeaseTable::new();
        let reader = SqliteReader::open_beside(path, leases.clone())?;
        let tx = WriteTx::new(connection, leases).map_err(|why| OpenError::of(path, why))?;
        let health = tx.health.clone();
        // Only now: a start that fails leaves the note of the last owner unchanged.
        lock.opened();
        let no_thread = |error: std::io::Error| unusable(format!("no thread for it: {error}"));
        Ok(Self {
            reader: ReaderThread::start(reader).map_err(no_thread)?,
            writer: Writer::start(tx, lock).map_err(no_thread)?,
            health,
            lease_clock,
            opened: Instant::now(),
        })
    }
}

impl SqliteStore {
    fn lease_now(&self, now: Millis) -> Millis {
        match self.lease_clock {
            LeaseClock::Store => Millis::default().plus(self.opened.elapsed()),
            LeaseClock::Caller => now,
        }
    }
}

/// Migrates a file that no bridge has open to this version.
pub(super) fn migrate(path: &Path) -> Result<Migrated, OpenError> {
    let path = &open::plain(path)?;
    let _lock = Lock::take(path)?;
    open::migrated(path)
}

#[async_trait]
impl Store for SqliteStore {
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError> {
        self.writer.write(move |tx| tx.record(&callback, now)).await
    }

    fn takes_offers(&self) -> bool {
        true
    }

    async fn record_for(
        &self,
        callback: NewCallback,
        now: Millis,
        offer: Offer,
    ) -> Result<Recorded, StoreError> {
        let lease_end = self.lease_now(now).plus(offer.lease);
        // Handed over by the writer, also if the caller no longer waits.
        let record = move |tx: &mut WriteTx| tx.record_claimed(&callback, now, lease_end);
        let hand_over = move |(recorded, claimed): (Recorded, Option<Claimed>)| {
            if let Some(call) = claimed {
                offer.hand_over(call);
            }
            recorded
        };
        self.writer.write_then(record, hand_over).await
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        request: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        let lease_now = self.lease_now(now);
        self.writer
            .ask(move |tx| {
                let calls = tx.claim(now, lease_now, lease, &request)?;
                // Asked for only by a worker that has room left, and so waits for the next call.
                let next_due = if calls.len() < request.limit {
                    tx.next_due(&request.accounts)?
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
            .write_soon(move |tx| tx.settle(&ticket, &settlement, now))
            .await
    }

    async fn retry_now(
        &self,
        accounts: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.writer
            .write(move |tx| tx.retry_now(&accounts, now, limit))
            .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.writer.ask(|tx| tx.counts()).await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<Purged, StoreError> {
        let purged = self.writer.write(move |tx| tx.purge(expiry, limit)).await?;
        if purged.removed() > 0 {
            // Between transactions, so that no commit waits for it.
            self.writer.ask(|tx| tx.shrink()).await?;
        }
        if purged.removed() < limit {
            self.writer.ask(WriteTx::empty_log).await?;
        }
        Ok(purged)
    }

    async fn index(&self, jobs: Vec<IndexJob>) -> Result<(), StoreError> {
        self.writer
            .write_soon(move |tx| jobs.iter().try_for_each(|job| tx.index_job(job)))
            .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer.write(WriteTx::ping).await
    }

    async fn wipe(
        &self,
        subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Wiped, StoreError> {
        self.wipe_files(subject, compaction).await
    }

    async fn run_read(&self, job: ReadJob) -> Result<(), StoreError> {
        self.reader
            .ask(move |reader| at_once(job(Reads::Sqlite(reader))))
            .await
    }

    async fn run_write(&self, urgency: Urgency, job: WriteJob) -> Result<(), StoreError> {
        let write = move |tx: &mut WriteTx| at_once(job(Tx::Sqlite(tx)));
        match urgency {
            Urgency::Now => self.writer.write(write).await,
            Urgency::Soon => self.writer.write_soon(write).await,
        }
    }

    fn warning(&self) -> Option<StoreWarning> {
        self.health.warning()
    }

    fn files(&self) -> StoreFiles {
        self.health.files()
    }
}
