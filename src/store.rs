//! The [`Store`] trait and its types.
//!
//! A store keeps callbacks, calls and attempts, and claims due calls. It does not decide what a call
//! needs: [`crate::domain::plan`] does. The caller passes the time.
//!
//! What both databases do with the same statements is written once, on a connection that reads
//! ([`Reads`]) or in a transaction ([`Tx`]).

mod acts;
mod addresses;
mod audit;
mod call;
mod columns;
mod consistency;
mod counters;
pub mod disk;
mod error;
pub mod hand_over;
mod joined_thread;
pub mod ledger;
mod open;
pub mod operations;
pub mod postgres;
mod reader;
mod reads;
pub mod records;
mod refused;
mod removed;
mod repeat;
mod rows;
mod search;
pub mod spool;
mod sql;
pub mod sqlite;
mod times;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;

use self::counters::Counters;
use self::sql::{Session, Sql};
use self::sqlite::WriteTx;
use crate::clock::Millis;
use crate::domain::subject::Subject;
use crate::twilio::CallSid;

pub use crate::domain::call_state::State;
pub use acts::Dismissal;
pub use addresses::{IndexJob, Unindexed, terms_of};
pub use audit::{AuditFilter, StoredAuditRow};
pub use call::{
    AccountFilter, BACKLOG_AGE, CallSummary, ClaimRequest, Claimed, ClaimedCalls, Counts, Expiry,
    LeaseClock, ListFilter, ListOrder, Migrated, NewCallback, NextState, Purged, REQUEUED_OVERDUE,
    Recorded, Settlement, SignedRequest, StoreFiles, StoreWarning, StoredCall, StoredCallback,
    Ticket,
};
pub use error::{OpenError, StoreError};
pub use hand_over::{HandOver, Offer};
pub use ledger::{CauseCount, LedgerRow, ParkedCause};
pub use open::{fsync_latency, migrate, open, open_to_read, open_to_serve};
pub use operations::erasure;
pub use operations::{Cursor, DEFAULT_RATE, NewOperation, Operation, OperationBatch};
pub use reader::{CallPredicate, ReadStore};
pub use records::{NoteChange, StoredLeg};
pub use refused::{
    RefusedCause, RefusedFilter, RefusedLimits, RefusedRequest, StoredRefusedRequest,
};
pub use removed::{RemovalCause, RemovedCall};
pub use search::{CallPage, CallQuery, Detail, ListPosition, Towards, Wanted};
pub use sqlite::SqliteReader;

use self::call::split_by_requeue;
use self::erasure::{Compaction, SpoolErasure, Wiped};

/// Keeps callbacks, calls and attempts. A change is durable when its method returns.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a callback and makes its call due at `now`; returns after the commit. Of the callbacks with
    /// one key it stores the first, and up to three more that have a field with a value which the stored
    /// ones do not have. A callback belongs to
    /// the call that has its parent as a leg, if there is one. A call that a leg started before its
    /// parent was known is merged into the parent's call and skipped; while it is claimed, the merge
    /// waits until it is settled or its claim ends, and the parent's call is not claimed until then.
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError>;

    /// Whether [`Store::record_for`] ever hands over a call: an offer keeps a permit of the worker until the
    /// callback is recorded.
    fn takes_offers(&self) -> bool {
        false
    }

    /// As [`Store::record`]. A new call that is due at once may be claimed in the same commit, and handed
    /// over.
    async fn record_for(
        &self,
        callback: NewCallback,
        now: Millis,
        offer: Offer,
    ) -> Result<Recorded, StoreError> {
        let recorded = self.record(callback, now).await;
        drop(offer);
        recorded
    }

    /// Claims due calls for the time `lease`.
    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        request: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError>;

    /// Makes the retries of all attempts before `now` due, of up to `limit` unclaimed calls that fail;
    /// returns how many calls changed. A claimed call of these accounts is due again when it is settled as
    /// pending. A call that failed again after this does not change again: its retries keep their times.
    async fn retry_now(
        &self,
        accounts: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// Ends a claim: the attempt and the state it led to, in one commit. A callback that was
    /// recorded, or a requeue that was asked for, since the claim makes the call due now instead; so
    /// does a [`Self::retry_now`], if the state is pending.
    /// Returns when the call is due next, if it is pending.
    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError>;

    /// The calls with this SID, or with a leg that has it, as [`ReadStore::get_all`].
    async fn get_all(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        let sid = sid.clone();
        read(self, async move |reads| reads.get_all(&sid).await).await
    }

    /// The first of [`Self::get_all`].
    async fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        Ok(self.get_all(sid).await?.into_iter().next())
    }

    /// The call of a list, with all that the store has of it.
    async fn get_listed(&self, listed: &CallSummary) -> Result<Option<StoredCall>, StoreError> {
        let mut calls = self.get_all(&listed.sid).await?.into_iter();
        Ok(calls.find(|call| call.summary.account == listed.account))
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        let mut query = filter.query(filter.limit);
        let mut found = Vec::new();
        loop {
            let page = self.search(query.clone()).await?;
            found.extend(page.calls.into_iter().map(|call| call.summary));
            (query.from, query.limit) = (page.end, filter.limit - found.len());
            if query.from.is_none() || query.limit == 0 {
                return Ok(found);
            }
        }
    }

    /// A page of the calls that match a query.
    async fn search(&self, query: CallQuery) -> Result<CallPage, StoreError> {
        read(self, async move |reads| reads.search(&query).await).await
    }

    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Removes up to `limit` expired calls, the longest in their state first. The store
    /// remembers their SIDs: a callback of a removed call is a repeat.
    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<Purged, StoreError>;

    /// Adds calls to the search index. A call that was removed or merged meanwhile is left out.
    async fn index(&self, jobs: Vec<IndexJob>) -> Result<(), StoreError>;

    /// Whether a callback can be stored now: writes to the disk.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Overwrites what removed rows left in the files, and searches the files for the value if that is
    /// possible. `subject` is None if it is not known any more.
    async fn wipe(
        &self,
        subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Wiped, StoreError>;

    /// Removes a subject from the spool of this node; None without a spool.
    async fn erase_spooled(
        &self,
        _subject: Subject,
        _now: Millis,
    ) -> Result<Option<SpoolErasure>, StoreError> {
        Ok(None)
    }

    /// The spool of this node. A restore of the database does not set back its notes.
    fn spool(&self) -> Option<&dyn Store> {
        None
    }

    /// How many callbacks are in the spool; None without a spool.
    fn spooled(&self) -> Option<u64> {
        None
    }

    /// What another program does to the file of this bridge.
    fn warning(&self) -> Option<StoreWarning> {
        None
    }

    /// The file of this bridge; zeros without one.
    fn files(&self) -> StoreFiles {
        StoreFiles::default()
    }

    /// Runs a job on a connection that reads.
    async fn run_read(&self, job: ReadJob) -> Result<(), StoreError>;

    /// Runs a job in a transaction; returns after the commit. The job runs again if the transaction fails.
    async fn run_write(&self, urgency: Urgency, job: WriteJob) -> Result<(), StoreError>;
}

/// A connection that reads.
#[derive(Clone, Copy)]
pub enum Reads<'c> {
    Sqlite(&'c SqliteReader),
    Postgres(&'c Session),
}

/// An open transaction; in PostgreSQL with its changes of the counters.
pub enum Tx<'c> {
    Sqlite(&'c mut WriteTx),
    Postgres(&'c Session, &'c mut Counters),
}

impl Tx<'_> {
    fn sql(&self) -> Sql<'_> {
        match self {
            Self::Sqlite(tx) => Sql::Sqlite(tx.connection()),
            Self::Postgres(session, _) => Sql::Postgres(session),
        }
    }

    /// Notes that rows with personal data were removed or overwritten: the log of the file has copies.
    fn has_removed(&mut self) {
        if let Self::Sqlite(tx) = self {
            tx.has_removed = true;
        }
    }
}

/// Whether a transaction starts at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Now,
    /// It may wait a little, so that it shares its fsync with callbacks.
    Soon,
}

/// What [`Store::run_read`] runs.
pub type ReadJob =
    Box<dyn for<'c> Fn(Reads<'c>) -> LocalBoxFuture<'c, Result<(), StoreError>> + Send + Sync>;

/// What [`Store::run_write`] runs.
pub type WriteJob =
    Box<dyn for<'c> Fn(Tx<'c>) -> LocalBoxFuture<'c, Result<(), StoreError>> + Send + Sync>;

/// Runs work on a connection that reads.
async fn read<T: Send + 'static>(
    store: &(impl Store + ?Sized),
    work: impl AsyncFn(Reads<'_>) -> Result<T, StoreError> + Send + Sync + 'static,
) -> Result<T, StoreError> {
    let (work, done) = (Arc::new(work), Done::default());
    let result = done.clone();
    let job: ReadJob = Box::new(move |reads| {
        let (work, done) = (Arc::clone(&work), done.clone());
        Box::pin(async move { work(reads).await.map(|result| done.set(result)) })
    });
    store.run_read(job).await?;
    result.take()
}

/// Runs work in a transaction.
async fn write<T: Send + 'static>(
    store: &(impl Store + ?Sized),
    urgency: Urgency,
    work: impl AsyncFn(Tx<'_>) -> Result<T, StoreError> + Send + Sync + 'static,
) -> Result<T, StoreError> {
    let (work, done) = (Arc::new(work), Done::default());
    let result = done.clone();
    let job: WriteJob = Box::new(move |tx| {
        let (work, done) = (Arc::clone(&work), done.clone());
        Box::pin(async move { work(tx).await.map(|result| done.set(result)) })
    });
    store.run_write(urgency, job).await?;
    result.take()
}

/// The result of a job that ran last.
struct Done<T>(Arc<Mutex<Option<T>>>);

impl<T> Done<T> {
    fn set(&self, result: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    fn take(self) -> Result<T, StoreError> {
        let result = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.ok_or(StoreError::Closed)
    }
}

impl<T> Default for Done<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Done<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
