//! For several nodes: `PostgreSQL`, or a server that speaks its protocol and has SKIP LOCKED.
//!
//! One thread talks to the database over four connections, so that queries of operators do not delay
//! callbacks. Callbacks and settlements are sent in batches (`batcher`), claims and queries one by
//! one (`connection`). The database may be down, also at the start: operations then fail within
//! [`StoreOptions::timeout`], and the connections reconnect until it is back.

mod acts;
mod addresses;
mod audit;
mod batcher;
mod claim;
mod connection;
mod consistency;
mod counters;
mod erasure;
mod ledger;
mod merge;
mod migrate;
mod operations;
mod operator_queries;
mod pooler;
mod reader;
mod record;
mod records;
mod refused;
mod rows;
mod search;
mod server;
mod session;
mod settle;
mod tls;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::task::LocalSet;
use tracing::warn;

pub use self::migrate::{MIGRATIONS, Migration, migrate};
pub use self::pooler::refuse_transaction_pooler;
pub use self::reader::PostgresReader;

use self::batcher::{Batcher, Queued};
use self::claim::NodeClaims;
use self::connection::{ConnectionRole, ManagedConnection};
use self::record::{IsNew, RecordJob};
use self::server::PgServer;
use self::session::{PgError, Session};
use self::settle::SettleJob;
use super::joined_thread::JoinedThread;
use super::{
    AccountFilter, Addresses as _, CallSummary, ClaimRequest, ClaimedCalls, Counts, Expiry,
    LeaseClock, ListFilter, NewCallback, OpenError, Purged, Recorded, RemovedCall, Settlement,
    Store, StoreError, StoredCall, Ticket,
};
use crate::clock::{self, Millis};
use crate::config::postgres::PostgresUrl;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::purge_clock::PurgeClock;
use crate::store::counters::Counters;
use crate::twilio::CallSid;

/// How a store measures leases, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    pub lease_clock: LeaseClock,
    /// For one operation. Twilio waits 15 seconds, and the spool must still store the callback when
    /// the database hangs.
    pub timeout: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            lease_clock: LeaseClock::Store,
            timeout: Duration::from_secs(1),
        }
    }
}

/// Between two runs of [`counters::compact`]. So few rows are added meanwhile that their sum takes no
/// time.
const COMPACT_INTERVAL: Duration = Duration::from_secs(2);

/// The most queries that may wait.
const MAX_QUERIES: usize = 1024;

/// A store in a database that nodes share. When dropped, it finishes accepted operations and
/// releases the calls that it has claimed.
pub struct PostgresStore {
    callbacks: Batcher<RecordJob>,
    settlements: Batcher<SettleJob>,
    queries: mpsc::Sender<StoreQuery>,
    claims: Arc<NodeClaims>,
    /// Read once from the database.
    hasher: OnceCell<AddressHasher>,
    /// Ends once all its queues are closed and empty.
    _thread: JoinedThread,
}

/// An operation that is not batched. It runs on the store's own thread.
type StoreQuery = Box<dyn FnOnce(Rc<QueryConnections>) -> LocalBoxFuture<'static, ()> + Send>;

/// The connections of operations that are not batched.
struct QueryConnections {
    claims: ManagedConnection,
    queries: ManagedConnection,
    /// For further connections.
    server: PgServer,
}

impl PostgresStore {
    /// Starts to connect, and returns at once: the database may be down.
    pub fn open(url: &PostgresUrl, options: StoreOptions) -> Result<Self, OpenError> {
        let server = PgServer::new(url, options.timeout)?;
        let runtime = server.runtime()?;
        let (callbacks, to_record) = Batcher::new();
        let (settlements, to_settle) = Batcher::new();
        let (queries, to_query) = mpsc::channel(MAX_QUERIES);
        let claims = Arc::new(NodeClaims::new(options.lease_clock));
        let node_claims = Arc::clone(&claims);
        let threads_server = server.clone();
        let thread = JoinedThread::start("store", move || {
            let work = serve(threads_server, &node_claims, to_record, to_settle, to_query);
            LocalSet::new().block_on(&runtime, work);
        });
        Ok(Self {
            callbacks,
            settlements,
            queries,
            claims,
            hasher: OnceCell::new(),
            _thread: thread
                .map_err(|error| server.unusable(&format!("no thread for it: {error}")))?,
        })
    }

    /// Runs an operation on one of the [`QueryConnections`].
    async fn run_on<T: Send + 'static>(
        &self,
        connection: fn(&QueryConnections) -> &ManagedConnection,
        operation: impl AsyncFn(&Session) -> Result<T, PgError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(async move |connections| connection(&connections).run(operation).await)
            .await
    }

    /// Runs work on the store's own thread.
    async fn submit<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(Rc<QueryConnections>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, result) = oneshot::channel();
        let query: StoreQuery = Box::new(move |connections| {
            Box::pin(async move {
                // Fails if the caller no longer waits.
                let _ = sender.send(work(connections).await);
            })
        });
        self.queries.try_send(query).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            mpsc::error::TrySendError::Full(_) => {
                StoreError::Unavailable(format!("{MAX_QUERIES} queries are waiting"))
            }
        })?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs an operation that needs no claim and is not batched.
    async fn query<T: Send + 'static>(
        &self,
        operation: impl AsyncFn(&Session) -> Result<T, PgError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run_on(|connections| &connections.queries, operation)
            .await
    }
}

/// Runs operations until the store is dropped, then releases its claims.
async fn serve(
    server: PgServer,
    claims: &NodeClaims,
    to_record: mpsc::Receiver<Queued<RecordJob>>,
    to_settle: mpsc::Receiver<Queued<SettleJob>>,
    mut to_query: mpsc::Receiver<StoreQuery>,
) {
    let connect = |role| ManagedConnection::start(server.clone(), role);
    let callbacks = Rc::new(connect(ConnectionRole::Callbacks));
    let settlements = Rc::new(connect(ConnectionRole::Settlements));
    let connections = Rc::new(QueryConnections {
        claims: connect(ConnectionRole::Claims),
        queries: connect(ConnectionRole::Queries),
        server: server.clone(),
    });
    let compacting = tokio::task::spawn_local(compact_regularly(Rc::clone(&connections)));
    let querying = async {
        let mut running = tokio::task::JoinSet::new();
        while let Some(query) = to_query.recv().await {
            running.spawn_local(query(Rc::clone(&connections)));
            while running.try_join_next().is_some() {}
        }
        running.join_all().await;
    };
    tokio::join!(
        batcher::serve(callbacks, to_record),
        batcher::serve(settlements, to_settle),
        querying
    );
    compacting.abort();
    let release = async |session: &Session| claims.release(session).await;
    if let Err(why) = connections.claims.run(release).await {
        warn!("claimed calls stay claimed until their leases end: {why}");
    }
}

async fn compact_regularly(connections: Rc<QueryConnections>) {
    loop {
        clock::pause(COMPACT_INTERVAL).await;
        // A failure delays nothing, and the connection logs an outage itself.
        let _ = connections.queries.run(counters::compact).await;
        // All of them: under load there are more changes than one statement folds.
        while let Ok(true) = connections.queries.run(ledger::fold).await {}
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError> {
        let due = callback.due(now);
        let callback = Arc::new(callback);
        let job = RecordJob { callback, now };
        if self.callbacks.run(job.clone()).await? == IsNew::No {
            return self
                .query(async move |session| record::record_repeat(session, &job).await)
                .await;
        }
        if due < now {
            self.query(async move |session| {
                record::send_to_backlog(session, &job.callback, due).await
            })
            .await?;
        }
        Ok(Recorded::New)
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        request: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        let claims = Arc::clone(&self.claims);
        self.run_on(
            |connections| &connections.claims,
            async move |session: &Session| claims.claim(session, now, lease, &request).await,
        )
        .await
    }

    async fn retry_now(
        &self,
        accounts: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.run_on(
            |connections| &connections.claims,
            async move |session: &Session| claim::retry_now(session, &accounts, now, limit).await,
        )
        .await
    }

    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        let hashes = if settlement.terms.is_empty() {
            Vec::new()
        } else {
            self.address_hasher().await?.hashes(&settlement.terms)
        };
        let job = SettleJob {
            ticket,
            settlement,
            hashes,
            now,
        };
        if let Some(due) = self.settlements.run(job.clone()).await? {
            return Ok(due);
        }
        self.run_on(
            |connections| &connections.claims,
            async move |session: &Session| {
                counters::transaction(session, async |session, changes| {
                    settle::settle_and_merge(session, changes, &job).await
                })
                .await
            },
        )
        .await?
    }

    async fn get_all(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        let sid = sid.clone();
        self.query(async move |session| operator_queries::get_all(session, &sid).await)
            .await
    }

    async fn removed(&self, sid: &CallSid) -> Result<Vec<RemovedCall>, StoreError> {
        let sid = sid.clone();
        self.query(async move |session| operator_queries::removed(session, &sid).await)
            .await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        self.query(async move |session| operator_queries::list(session, filter).await)
            .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.query(counters::counts).await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<Purged, StoreError> {
        self.query(async move |session| {
            counters::transaction(session, async |session, changes| {
                operator_queries::purge(session, changes, expiry, limit).await
            })
            .await
        })
        .await
    }

    async fn purge_clock(&self) -> Result<Option<PurgeClock>, StoreError> {
        self.query(operator_queries::purge_clock).await
    }

    async fn set_purge_clock(&self, clock: PurgeClock) -> Result<(), StoreError> {
        self.query(async move |session| operator_queries::set_purge_clock(session, &clock).await)
            .await
    }

    async fn parked_before(&self, at: Millis) -> Result<u64, StoreError> {
        self.query(async move |session| {
            operator_queries::count(session, operator_queries::PARKED_BEFORE, &[&at.0]).await
        })
        .await
    }

    async fn correct_times(
        &self,
        now: Millis,
        latest: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.query(async move |session| {
            operator_queries::correct_times(session, now, latest, limit).await
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A write, because only that reaches the disk.
        self.query(async move |session| counters::add(session, &Counters::default()).await)
            .await
    }
}
