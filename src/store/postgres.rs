//! For several nodes: `PostgreSQL`, or a server that speaks its protocol and has SKIP LOCKED.
//!
//! One thread talks to the database over four connections, so that queries of operators do not delay
//! callbacks. Callbacks and settlements are sent in batches (`batcher`), claims and queries one by
//! one (`connection`). The database may be down, also at the start: operations then fail within
//! [`StoreOptions::timeout`], and the connections reconnect until it is back.

pub(super) mod acts;
mod batcher;
mod claim;
mod connection;
pub(super) mod counters;
mod erasure;
pub(super) mod legs;
mod merge;
mod migrate;
pub(super) mod operator_queries;
mod pooler;
mod reader;
mod record;
mod rows;
pub(super) mod search;
mod server;
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
pub(super) use self::reader::wait_for_other_checks;

use self::batcher::{Batcher, Queued};
use self::claim::NodeClaims;
use self::connection::{ConnectionRole, ManagedConnection};
use self::record::{IsNew, RecordJob};
use self::server::PgServer;
use self::settle::SettleJob;
use super::counters::Counters;
use super::erasure::{Compaction, Wiped};
use super::joined_thread::JoinedThread;
use super::sql::{Session, Sql};
use super::{
    AccountFilter, ClaimRequest, ClaimedCalls, Counts, Expiry, IndexJob, LeaseClock, NewCallback,
    OpenError, Purged, ReadJob, Reads, Recorded, Settlement, Store, StoreError, Ticket, Tx,
    Urgency, WriteJob, addresses,
};
use crate::clock::{self, Millis};
use crate::config::postgres::PostgresUrl;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::subject::Subject;

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

const FOLD_LEDGER: &str = include_str!("postgres/sql/fold_ledger.sql");

/// Changes that one statement folds, so that it ends within its timeout.
const FOLD_BATCH: u64 = 2_000;

const INDEX: &str = include_str!("postgres/sql/index_addresses.sql");

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
        operation: impl AsyncFn(&Session) -> Result<T, StoreError> + Send + 'static,
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

    /// Runs a transaction that needs no claim and is not batched.
    async fn transact<T: Send + 'static>(
        &self,
        work: impl AsyncFn(&Session, &mut Counters) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.query(async move |session| counters::transaction(session, &work).await)
            .await
    }

    async fn hasher(&self) -> Result<&AddressHasher, StoreError> {
        let read = || self.query(async |session| addresses::hasher(Sql::Postgres(session)).await);
        self.hasher.get_or_try_init(read).await
    }

    /// Runs an operation that needs no claim and is not batched.
    async fn query<T: Send + 'static>(
        &self,
        operation: impl AsyncFn(&Session) -> Result<T, StoreError> + Send + 'static,
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
        while let Ok(FOLD_BATCH) = connections.queries.run(fold_ledger).await {}
    }
}

/// Adds changes of the ledger to their rows; how many.
async fn fold_ledger(session: &Session) -> Result<u64, StoreError> {
    let sql = Sql::Postgres(session);
    sql.count(FOLD_LEDGER, &[&FOLD_BATCH.cast_signed()]).await
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
            self.hasher().await?.hashes(&settlement.terms)
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
        .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.query(counters::counts).await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<Purged, StoreError> {
        self.transact(async move |session, changes| {
            operator_queries::purge(session, changes, expiry, limit).await
        })
        .await
    }

    async fn index(&self, jobs: Vec<IndexJob>) -> Result<(), StoreError> {
        let hasher = self.hasher().await?;
        let jobs = jobs
            .into_iter()
            .map(|job| (job.call, job.callbacks, hasher.hashes(&job.terms)));
        let jobs: Vec<(i64, i64, Vec<i64>)> = jobs.collect();
        self.query(async move |session| {
            for (call, callbacks, hashes) in &jobs {
                session.execute(INDEX, &[call, callbacks, hashes]).await?;
            }
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A write, because only that reaches the disk.
        self.query(async move |session| counters::add(session, &Counters::default()).await)
            .await
    }

    async fn wipe(
        &self,
        _subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Wiped, StoreError> {
        self.wipe_tables(compaction).await
    }

    async fn run_read(&self, job: ReadJob) -> Result<(), StoreError> {
        self.query(async move |session| job(Reads::Postgres(session)).await)
            .await
    }

    async fn run_write(&self, _urgency: Urgency, job: WriteJob) -> Result<(), StoreError> {
        self.transact(async move |session, changes| job(Tx::Postgres(session, changes)).await)
            .await
    }
}
