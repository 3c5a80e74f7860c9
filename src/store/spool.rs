//! A database that may be unavailable, and a file that keeps callbacks until it is back.
//!
//! While the spool holds a callback, all new ones go to it too, and a thread transfers them to the
//! database in the order of arrival. It removes a callback from the spool after the database has
//! committed it; the database recognises one that is transferred twice as a repeat. Only callbacks
//! are spooled: every other operation needs the database.

mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{RwLock, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::erasure::{Compaction, SpoolErasure, Wiped};
use super::joined_thread::JoinedThread;
use super::sqlite::SqliteStore;
use super::{
    AccountFilter, CallPage, CallQuery, CallSummary, ClaimRequest, ClaimedCalls, Counts, Expiry,
    IndexJob, NewCallback, OpenError, Purged, ReadJob, Recorded, Settlement, Store, StoreError,
    StoreFiles, StoreWarning, StoredCall, Ticket, Urgency, WriteJob,
};
use crate::clock::Millis;
use crate::domain::subject::Subject;
use crate::twilio::CallSid;

/// How long the database may take to commit a callback before the spool stores it.
pub const DATABASE_COMMIT_TIMEOUT: Duration = Duration::from_millis(750);

/// The `reason` of a call that is in the spool.
const WAITS_IN_SPOOL: &str = "in the spool of this bridge until the database is back";

/// A store with a spool. After drop, the file holds the callbacks that were not transferred.
pub struct SpoolingStore {
    /// Ends the thread, which ends before the spool is closed and its lock is free.
    _stop: DropGuard,
    _transfer_thread: JoinedThread,
    shared: Arc<Shared>,
}

/// Where new callbacks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WritePath {
    ToDatabase,
    ToSpool,
}

/// The state that operations share with the transfer thread.
struct Shared {
    database: Arc<dyn Store>,
    spool: SqliteStore,
    path: PathBuf,
    commit_timeout: Duration,
    write_path: watch::Sender<WritePath>,
    /// Read-locked to add to the spool; write-locked for the final transfer, so that nothing is added
    /// behind it.
    gate: RwLock<()>,
    /// Callbacks in the spool.
    waiting: AtomicU64,
}

impl SpoolingStore {
    /// Opens and locks the spool; the database may be unavailable. Callbacks that are in the spool are
    /// transferred before new ones are stored in the database.
    pub fn open(
        database: Arc<dyn Store>,
        path: &Path,
        commit_timeout: Duration,
    ) -> Result<Self, OpenError> {
        let spool = |why| OpenError::Spool(Box::new(why));
        let no_thread = |why: std::io::Error| {
            spool(OpenError::Unusable {
                path: path.to_owned(),
                why: format!("no thread for it: {why}"),
            })
        };
        let (file, waiting) = SqliteStore::open_spool(path).map_err(spool)?;
        let write_path = if waiting == 0 {
            WritePath::ToDatabase
        } else {
            warn!(
                "{waiting} callbacks wait in {} for the database",
                path.display()
            );
            WritePath::ToSpool
        };
        let shared = Arc::new(Shared {
            database,
            spool: file,
            path: path.to_owned(),
            commit_timeout,
            write_path: watch::Sender::new(write_path),
            gate: RwLock::new(()),
            waiting: AtomicU64::new(waiting),
        });
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(no_thread)?;
        let (transferring, stopped) = (Arc::clone(&shared), stop.clone());
        let transfer_thread = JoinedThread::start("store-transfer", move || {
            runtime.block_on(stopped.run_until_cancelled(transfer::run(&transferring)));
        });
        Ok(Self {
            _stop: stop.drop_guard(),
            _transfer_thread: transfer_thread.map_err(no_thread)?,
            shared,
        })
    }
}

impl Shared {
    fn write_path(&self) -> WritePath {
        *self.write_path.borrow()
    }

    /// None if the database cannot store it now.
    async fn record_in_database(&self, callback: &NewCallback, now: Millis) -> Option<Recorded> {
        let mut write_path = self.write_path.subscribe();
        if *write_path.borrow_and_update() == WritePath::ToSpool {
            return None;
        }
        let recording = self.database.record(callback.clone(), now);
        let recorded = tokio::select! {
            // The database first: if both are ready, the callback is committed and must not be spooled.
            biased;
            recorded = timeout(self.commit_timeout, recording) => recorded,
            // Another operation noticed first that the database is unavailable.
            _ = write_path.changed() => return None,
        };
        match recorded {
            Ok(Ok(recorded)) => return Some(recorded),
            Ok(Err(why)) => self.turn_to_spool(&why.to_string()),
            Err(_) => self.turn_to_spool(&format!("no commit within {:?}", self.commit_timeout)),
        }
        None
    }

    /// Stores new callbacks in the spool until it is empty.
    fn turn_to_spool(&self, why: &str) {
        let turned = self.write_path.send_if_modified(|write_path| {
            std::mem::replace(write_path, WritePath::ToSpool) == WritePath::ToDatabase
        });
        if turned {
            let path = self.path.display();
            warn!("callbacks are kept in {path} until the database accepts them: {why}");
        }
    }

    async fn record_in_spool(
        &self,
        callback: NewCallback,
        now: Millis,
    ) -> Result<Recorded, StoreError> {
        // Count first: the transfer thread may remove it before this continues.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let recorded = self.spool.record(callback, now).await;
        if !matches!(recorded, Ok(Recorded::New)) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        recorded
    }

    fn waits(mut summary: CallSummary) -> CallSummary {
        summary.due = None;
        summary.reason = Some(WAITS_IN_SPOOL.to_owned());
        summary
    }
}

#[async_trait]
impl Store for SpoolingStore {
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError> {
        let shared = &self.shared;
        if let Some(recorded) = shared.record_in_database(&callback, now).await {
            return Ok(recorded);
        }
        let mut adding = shared.gate.read().await;
        if shared.write_path() == WritePath::ToDatabase {
            // The spool was emptied while this waited for the gate.
            drop(adding);
            if let Some(recorded) = shared.record_in_database(&callback, now).await {
                return Ok(recorded);
            }
            adding = shared.gate.read().await;
            shared.turn_to_spool("the database became unavailable again");
        }
        let recorded = shared.record_in_spool(callback, now).await;
        drop(adding);
        recorded
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        request: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        self.shared.database.claim(now, lease, request).await
    }

    async fn retry_now(
        &self,
        accounts: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.shared.database.retry_now(accounts, now, limit).await
    }

    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        self.shared.database.settle(ticket, settlement, now).await
    }

    /// From the database, and of other accounts from the spool.
    async fn get_all(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        let known = self.shared.database.get_all(sid).await;
        if self.spooled() == Some(0) {
            return known;
        }
        with_spooled(known, self.shared.spool.get_all(sid).await?)
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.shared.database.counts().await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<Purged, StoreError> {
        self.shared.database.purge(expiry, limit).await
    }

    async fn index(&self, jobs: Vec<IndexJob>) -> Result<(), StoreError> {
        self.shared.database.index(jobs).await
    }

    /// Whether a callback can be stored where new ones go now.
    async fn ping(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        if shared.write_path() == WritePath::ToDatabase
            && let Ok(Ok(())) = timeout(shared.commit_timeout, shared.database.ping()).await
        {
            return Ok(());
        }
        shared.spool.ping().await
    }

    fn spooled(&self) -> Option<u64> {
        Some(self.shared.waiting.load(Ordering::Relaxed))
    }

    fn warning(&self) -> Option<StoreWarning> {
        self.shared.spool.warning()
    }

    fn files(&self) -> StoreFiles {
        self.shared.spool.files()
    }

    /// The search index is in the database; while that is unavailable, the spool is listed without it.
    async fn search(&self, query: CallQuery) -> Result<CallPage, StoreError> {
        match self.shared.database.search(query.clone()).await {
            Err(StoreError::Unavailable(_)) if query.filter.address.is_none() => {
                let mut page = self.shared.spool.search(query).await?;
                for call in &mut page.calls {
                    call.summary = Shared::waits(call.summary.clone());
                }
                Ok(page)
            }
            page => page,
        }
    }

    async fn wipe(
        &self,
        subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Wiped, StoreError> {
        self.shared.database.wipe(subject, compaction).await
    }

    /// What the database accepts is transferred, and erased there. This removes what it refuses.
    async fn erase_spooled(
        &self,
        subject: Subject,
        now: Millis,
    ) -> Result<Option<SpoolErasure>, StoreError> {
        let shared = &self.shared;
        if shared.write_path() == WritePath::ToSpool {
            return Ok(Some(SpoolErasure::Waiting));
        }
        // Their callbacks may come again, and the database has not seen them.
        let sids = shared.spool.sids_with(&subject).await?;
        shared.database.remember_erased(sids, now).await?;
        let (callbacks, wiped) = shared.spool.erase_from_spool(subject, now).await?;
        shared.waiting.fetch_sub(callbacks, Ordering::Relaxed);
        let found_in = wiped.found_in;
        Ok(Some(SpoolErasure::Cleared {
            callbacks,
            found_in,
        }))
    }

    async fn run_read(&self, job: ReadJob) -> Result<(), StoreError> {
        self.shared.database.run_read(job).await
    }

    async fn run_write(&self, urgency: Urgency, job: WriteJob) -> Result<(), StoreError> {
        self.shared.database.run_write(urgency, job).await
    }

    fn spool(&self) -> Option<&dyn Store> {
        Some(&self.shared.spool)
    }
}

/// The calls with one SID: those of the database, and those of other accounts in the spool, which have a
/// reason instead of a due time. While the database fails, those in the spool, if there are any.
///
/// # Errors
///
/// That of the database, if the spool has none.
pub fn with_spooled<E>(
    known: Result<Vec<StoredCall>, E>,
    spooled: Vec<StoredCall>,
) -> Result<Vec<StoredCall>, E> {
    let mut calls = match known {
        Err(_) if !spooled.is_empty() => Vec::new(),
        known => known?,
    };
    for mut call in spooled {
        let account = &call.summary.account;
        if calls.iter().all(|known| known.summary.account != *account) {
            call.summary = Shared::waits(call.summary);
            calls.push(call);
        }
    }
    Ok(calls)
}
