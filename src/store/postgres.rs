//! For many nodes: `PostgreSQL`, or a server that speaks its protocol and offers SKIP LOCKED.
//!
//! One thread speaks to the database, over four connections, so that pages keep nobody waiting:
//! callbacks and settlements of all who wait share a transaction (`lane`), claims and questions are
//! done one by one (`line`). The database may be away, at the start too: verbs then fail within
//! [`StoreOptions::limit`], and connections are made anew until it is back.

mod batcher;
mod claim;
mod connection;
mod consistency;
mod counters;
mod merge;
mod migrate;
mod operator_queries;
mod reader;
mod record;
mod refused;
mod rows;
mod session;
mod settle;
mod tls;

use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tracing::{error, warn};

pub use self::claim::LeaseClock;
pub use self::migrate::{MIGRATIONS, Migration};
pub use self::reader::{PostgresReader, migrate};

use self::batcher::{Batcher, Queued};
use self::claim::NodeClaims;
use self::connection::{ConnectionRole, ManagedConnection, PgServer};
use self::record::RecordJob;
use self::session::{PgError, Session};
use self::settle::SettleJob;
use super::{
    AccountFilter, CallSummary, ClaimRequest, ClaimedCalls, Counts, Expiry, ListFilter,
    NewCallback, OpenError, Recorded, Settlement, Store, StoreError, StoredCall, Ticket,
};
use crate::clock::{self, Millis};
use crate::config::postgres::PostgresUrl;
use crate::twilio::CallSid;

/// On what terms a store works.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    pub leases: LeaseClock,
    /// How long a verb may take: a database that hangs is told from one that works so soon, and
    /// callbacks are kept elsewhere.
    pub limit: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            leases: LeaseClock::Database,
            limit: Duration::from_secs(1),
        }
    }
}

/// Between two foldings of the tally: few enough rows gather that counting them takes no time.
const COMPACT_INTERVAL: Duration = Duration::from_secs(2);

/// Questions that may wait at once.
const MAX_QUERIES: usize = 1024;

/// A store in a database that other nodes share. Dropped, it finishes what it was given and frees
/// the calls that it had claimed.
pub struct PostgresStore {
    recordings: Option<Batcher<RecordJob>>,
    settlings: Option<Batcher<SettleJob>>,
    questions: Option<mpsc::Sender<StoreQuery>>,
    claimant: Arc<NodeClaims>,
    thread: Option<JoinHandle<()>>,
}

/// A verb that is done by itself, on the store's own thread.
type StoreQuery = Box<dyn FnOnce(Rc<QueryConnections>) -> LocalBoxFuture<'static, ()> + Send>;

/// The connections of verbs that are done one by one.
struct QueryConnections {
    claims: ManagedConnection,
    questions: ManagedConnection,
}

impl PostgresStore {
    /// Begins to connect, and returns at once: the database may be away.
    pub fn open(url: &PostgresUrl, terms: StoreOptions) -> Result<Self, OpenError> {
        let server = server(url, terms.limit)?;
        let (recordings, to_record) = Batcher::new();
        let (settlings, to_settle) = Batcher::new();
        let (questions, asked) = mpsc::channel(MAX_QUERIES);
        let claimant = Arc::new(NodeClaims::new(terms.leases));
        let who = Arc::clone(&claimant);
        let runtime = runtime().map_err(|error| no_thread(url, &error))?;
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let work = serve(server, &who, to_record, to_settle, asked);
                LocalSet::new().block_on(&runtime, work);
            })
            .map_err(|error| no_thread(url, &error))?;
        Ok(Self {
            recordings: Some(recordings),
            settlings: Some(settlings),
            questions: Some(questions),
            claimant,
            thread: Some(thread),
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        line: fn(&QueryConnections) -> &ManagedConnection,
        verb: impl AsyncFn(&Session) -> Result<T, PgError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let question: StoreQuery = Box::new(move |lines| {
            Box::pin(async move {
                // Nobody waits any more if this fails.
                let _ = answer.send(line(&lines).run(verb).await);
            })
        });
        let questions = self.questions.as_ref().ok_or(StoreError::Closed)?;
        questions.try_send(question).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            mpsc::error::TrySendError::Full(_) => {
                StoreError::Away(format!("{MAX_QUERIES} questions are waiting"))
            }
        })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.recordings = None;
        self.settlings = None;
        self.questions = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the store's thread has panicked");
        }
    }
}

fn server(url: &PostgresUrl, limit: Duration) -> Result<PgServer, OpenError> {
    let tls = tls::connector(&url.trust).map_err(|source| OpenError::Tls {
        url: url.to_string(),
        source: Box::new(source),
    })?;
    Ok(PgServer {
        url: url.clone(),
        tls,
        limit,
        away: Arc::default(),
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn no_thread(url: &PostgresUrl, error: &std::io::Error) -> OpenError {
    OpenError::Database {
        url: url.to_string(),
        why: format!("no thread for it: {error}"),
    }
}

/// Works until nobody can ask any more, then frees what is still claimed.
async fn serve(
    server: PgServer,
    claimant: &NodeClaims,
    to_record: mpsc::Receiver<Queued<RecordJob>>,
    to_settle: mpsc::Receiver<Queued<SettleJob>>,
    mut asked: mpsc::Receiver<StoreQuery>,
) {
    let line = |purpose| ManagedConnection::start(server.clone(), purpose);
    let callbacks = Rc::new(line(ConnectionRole::Callbacks));
    let settlements = Rc::new(line(ConnectionRole::Settlements));
    let lines = Rc::new(QueryConnections {
        claims: line(ConnectionRole::Claims),
        questions: line(ConnectionRole::Questions),
    });
    let folding = tokio::task::spawn_local(compact(Rc::clone(&lines)));
    let answering = async {
        let mut open = tokio::task::JoinSet::new();
        while let Some(question) = asked.recv().await {
            open.spawn_local(question(Rc::clone(&lines)));
            while open.try_join_next().is_some() {}
        }
        open.join_all().await;
    };
    tokio::join!(
        batcher::serve(callbacks, to_record),
        batcher::serve(settlements, to_settle),
        answering
    );
    folding.abort();
    let release = async |session: &Session| claimant.release(session).await;
    if let Err(why) = lines.claims.run(release).await {
        warn!("what was claimed stays so until its leases end: {why}");
    }
}

async fn compact(lines: Rc<QueryConnections>) {
    loop {
        clock::pause(COMPACT_INTERVAL).await;
        // Told where it keeps somebody from something; folding can wait.
        let _ = lines.questions.run(counters::compact).await;
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError> {
        let lane = self.recordings.as_ref().ok_or(StoreError::Closed)?;
        lane.done(RecordJob { callback, now }).await
    }

    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        wanted: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        let claimant = Arc::clone(&self.claimant);
        self.ask(
            |lines| &lines.claims,
            async move |session: &Session| claimant.claim(session, now, lease, &wanted).await,
        )
        .await
    }

    async fn retry_now(
        &self,
        whose: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.ask(
            |lines| &lines.claims,
            async move |session: &Session| claim::retry_now(session, &whose, now, limit).await,
        )
        .await
    }

    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        let lane = self.settlings.as_ref().ok_or(StoreError::Closed)?;
        let settling = SettleJob {
            ticket,
            settlement,
            now,
        };
        if let Some(due) = lane.done(settling.clone()).await? {
            return Ok(due);
        }
        self.ask(
            |lines| &lines.claims,
            async move |session: &Session| {
                session
                    .transaction(async |session, tally| {
                        settle::alone(session, tally, &settling).await
                    })
                    .await
            },
        )
        .await?
    }

    async fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        let sid = sid.clone();
        self.ask(
            |lines| &lines.questions,
            async move |session: &Session| operator_queries::get(session, &sid).await,
        )
        .await
    }

    async fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        self.ask(
            |lines| &lines.questions,
            async move |session: &Session| operator_queries::list(session, filter).await,
        )
        .await
    }

    async fn requeue(&self, sid: &CallSid, now: Millis) -> Result<bool, StoreError> {
        let sid = sid.clone();
        self.ask(
            |lines| &lines.questions,
            async move |session: &Session| {
                session
                    .transaction(async |session, tally| {
                        operator_queries::requeue(session, tally, &sid, now).await
                    })
                    .await
            },
        )
        .await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.ask(|lines| &lines.questions, counters::counts).await
    }

    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<usize, StoreError> {
        self.ask(
            |lines| &lines.questions,
            async move |session: &Session| {
                session
                    .transaction(async |session, tally| {
                        operator_queries::purge(session, tally, expiry, limit).await
                    })
                    .await
            },
        )
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Reaches the disk, since it changes something.
        self.ask(
            |lines| &lines.questions,
            async move |session: &Session| {
                counters::add(session, &counters::Counters::default()).await
            },
        )
        .await
    }
}
