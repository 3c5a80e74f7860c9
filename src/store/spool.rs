//! A database that may go away, and a file that keeps callbacks until it is back.
//!
//! The rule of order: as long as the spool holds a callback, all go to it, behind those that are there, and
//! the mover brings them to the database in the order in which they were received. A callback leaves the
//! spool after the database has committed it; what is moved twice is recognised there as a repeat.

mod refused;
mod transfer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{RwLock, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::sqlite::SqliteStore;
use super::{
    AccountFilter, CallSummary, ClaimRequest, ClaimedCalls, Counts, Expiry, ListFilter,
    NewCallback, OpenError, Recorded, Settlement, Store, StoreError, StoredCall, Ticket,
};
use crate::clock::Millis;
use crate::twilio::CallSid;

/// How long the database may take for a callback before the spool takes it.
pub const DATABASE_COMMIT_TIMEOUT: Duration = Duration::from_millis(750);

/// What `reason` says of a call that is in the spool.
const WAITS: &str = "in the spool of this bridge until the database is back";

/// A store with a spool. Dropped, it leaves in the spool what could not be moved yet.
pub struct SpoolingStore {
    shared: Arc<Shared>,
    stop: CancellationToken,
    mover: Option<JoinHandle<()>>,
}

/// Which way callbacks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WritePath {
    ToDatabase,
    ToSpool,
}

/// What those who record and the mover have in common.
struct Shared {
    database: Arc<dyn Store>,
    spool: SqliteStore,
    path: PathBuf,
    patience: Duration,
    way: watch::Sender<WritePath>,
    /// Held together by those who add to the spool, and alone by the mover when it empties it.
    gate: RwLock<()>,
    /// Callbacks in the spool.
    waiting: AtomicU64,
}

impl SpoolingStore {
    /// Opens the spool, which is then owned; the database may be away. What was left in the spool
    /// is moved first.
    pub fn open(
        database: Arc<dyn Store>,
        path: &Path,
        patience: Duration,
    ) -> Result<Self, OpenError> {
        let spool = |why| OpenError::Spool(Box::new(why));
        let no_thread = |why: std::io::Error| {
            spool(OpenError::Unusable {
                path: path.to_owned(),
                why: format!("no thread for it: {why}"),
            })
        };
        let (file, waiting) = SqliteStore::open_spool(path).map_err(spool)?;
        let way = if waiting == 0 {
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
            patience,
            way: watch::Sender::new(way),
            gate: RwLock::new(()),
            waiting: AtomicU64::new(waiting),
        });
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(no_thread)?;
        let (moving, stopped) = (Arc::clone(&shared), stop.clone());
        let mover = thread::Builder::new()
            .name("store-mover".to_owned())
            .spawn(move || {
                runtime.block_on(stopped.run_until_cancelled(transfer::run(&moving)));
            })
            .map_err(no_thread)?;
        Ok(Self {
            shared,
            stop,
            mover: Some(mover),
        })
    }
}

impl Drop for SpoolingStore {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(mover) = self.mover.take()
            && mover.join().is_err()
        {
            error!("the thread that empties the spool has panicked");
        }
    }
}

impl Shared {
    fn way(&self) -> WritePath {
        *self.way.borrow()
    }

    /// `None` where the database cannot keep it now.
    async fn record_in_database(&self, callback: &NewCallback, now: Millis) -> Option<Recorded> {
        let mut way = self.way.subscribe();
        if *way.borrow_and_update() == WritePath::ToSpool {
            return None;
        }
        let recording = self.database.record(callback.clone(), now);
        let recorded = tokio::select! {
            biased;
            recorded = timeout(self.patience, recording) => recorded,
            // Another was told sooner that the database is away.
            _ = way.changed() => return None,
        };
        match recorded {
            Ok(Ok(recorded)) => return Some(recorded),
            Ok(Err(why)) => self.turn_to_spool(&why.to_string()),
            Err(_) => self.turn_to_spool(&format!("no commit within {:?}", self.patience)),
        }
        None
    }

    /// From now on, callbacks go to the spool until it is empty.
    fn turn_to_spool(&self, why: &str) {
        let turned = self.way.send_if_modified(|way| {
            std::mem::replace(way, WritePath::ToSpool) == WritePath::ToDatabase
        });
        if turned {
            let path = self.path.display();
            warn!("callbacks are kept in {path} until the database takes them: {why}");
        }
    }

    async fn record_in_spool(
        &self,
        callback: NewCallback,
        now: Millis,
    ) -> Result<Recorded, StoreError> {
        // Counted before, since the mover may have it before this goes on.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let recorded = self.spool.record(callback, now).await;
        if !matches!(recorded, Ok(Recorded::New)) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        recorded
    }

    fn waits(mut summary: CallSummary) -> CallSummary {
        summary.due = None;
        summary.reason = Some(WAITS.to_owned());
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
        if shared.way() == WritePath::ToDatabase {
            // The spool was emptied while its turn was waited for.
            drop(adding);
            if let Some(recorded) = shared.record_in_database(&callback, now).await {
                return Ok(recorded);
            }
            adding = shared.gate.read().await;
            shared.turn_to_spool("it went away again");
        }
        let recorded = shared.record_in_spool(callback, now).await;
        drop(adding);
        recorded
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        wanted: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        self.shared.database.claim(now, lease, wanted).await
    }

    async fn retry_now(
        &self,
        whose: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.shared.database.retry_now(whose, now, limit).await
    }

    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        self.shared.database.settle(ticket, settlement, now).await
    }

    /// As the database has it, else as the spool does.
    async fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        let known = self.shared.database.get(sid).await;
        if matches!(known, Ok(Some(_))) || self.spooled() == Some(0) {
            return known;
        }
        match self.shared.spool.get(sid).await? {
            Some(call) => Ok(Some(in_spool(call))),
            None => known,
        }
    }

    /// Of the spool, while the database is away.
    async fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        match self.shared.database.list(filter).await {
            Err(StoreError::Away(_)) => {
                let calls = self.shared.spool.list(filter).await?;
                Ok(calls.into_iter().map(Shared::waits).collect())
            }
            listed => listed,
        }
    }

    async fn requeue(&self, sid: &CallSid, now: Millis) -> Result<bool, StoreError> {
        self.shared.database.requeue(sid, now).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.shared.database.counts().await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<usize, StoreError> {
        self.shared.database.purge(expiry, limit).await
    }

    /// Whether either can keep a callback: the one to which they go now.
    async fn ping(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        if shared.way() == WritePath::ToDatabase
            && let Ok(Ok(())) = timeout(shared.patience, shared.database.ping()).await
        {
            return Ok(());
        }
        shared.spool.ping().await
    }

    fn spooled(&self) -> Option<u64> {
        Some(self.shared.waiting.load(Ordering::Relaxed))
    }
}

/// A call as a spool has it: with the reason why nothing is due.
#[must_use]
pub fn in_spool(mut call: StoredCall) -> StoredCall {
    call.summary = Shared::waits(call.summary);
    call
}
