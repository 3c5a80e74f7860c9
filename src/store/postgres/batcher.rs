//! Runs waiting jobs in batches: while one batch is in flight, the next one is collected.
//!
//! It knows no SQL: each kind of job has its own statement.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connection::ManagedConnection;
use crate::clock;
use crate::store::StoreError;
use crate::store::sql::Session;

/// The most jobs that may wait while the database stalls; more are refused at once.
const MAX_QUEUED: usize = 16_384;

/// A batch of this size is sent while another is still in flight, so that the database has work
/// while responses are read. A smaller one waits, since each batch costs a commit.
const MIN_BATCH: usize = 16;

/// Between the starts of two batches of urgent jobs, so that callbacks which arrive a millisecond apart share
/// a commit. The first after a pause starts at once.
const BATCH_INTERVAL: Duration = Duration::from_millis(2);

/// A write that shares a statement with others of its kind.
pub(super) trait BatchJob: Send + 'static {
    type Output: Send + 'static;

    /// The most jobs in one transaction, so that a burst does not delay those behind it for long.
    const MAX_BATCH: usize;

    /// How long the first job waits for others; `None` if a caller outside waits for its result. Then it waits
    /// at most until [`BATCH_INTERVAL`] after the start of the last batch.
    const BATCH_WAIT: Option<Duration>;

    /// Runs all jobs in one statement, or none of them. Returns their results in the same order.
    async fn run_as_statement(
        session: &Session,
        jobs: &[Self],
    ) -> Result<Vec<Self::Output>, StoreError>
    where
        Self: Sized;

    /// Like [`BatchJob::run_as_statement`], in a transaction of as many statements as necessary.
    async fn run_in_transaction(
        session: &Session,
        jobs: &[Self],
    ) -> Result<Vec<Self::Output>, StoreError>
    where
        Self: Sized,
    {
        Self::run_as_statement(session, jobs).await
    }
}

/// The queue of jobs of one kind.
pub(super) struct Batcher<J: BatchJob>(mpsc::Sender<Queued<J>>);

/// A job in the queue, and where its result goes.
pub(super) struct Queued<J: BatchJob> {
    job: J,
    result: oneshot::Sender<Result<J::Output, StoreError>>,
}

impl<J: BatchJob> Batcher<J> {
    pub fn new() -> (Self, mpsc::Receiver<Queued<J>>) {
        let (sender, queue) = mpsc::channel(MAX_QUEUED);
        (Self(sender), queue)
    }

    /// Queues a job and waits for its result.
    pub async fn run(&self, job: J) -> Result<J::Output, StoreError> {
        let (sender, result) = oneshot::channel();
        let queued = Queued {
            job,
            result: sender,
        };
        self.0.try_send(queued).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable(format!(
                "the database does not keep up: {MAX_QUEUED} writes are waiting"
            )),
        })?;
        result.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Runs jobs, in the order of the queue, until the [`Batcher`] is dropped.
pub(super) async fn serve<J: BatchJob>(
    connection: Rc<ManagedConnection>,
    mut queue: mpsc::Receiver<Queued<J>>,
) {
    let mut in_flight = JoinSet::new();
    let mut next_start = Instant::now();
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        match J::BATCH_WAIT {
            // Jobs that arrive meanwhile join the batch.
            Some(wait) => clock::pause(wait).await,
            None => {
                while batch.len() < MIN_BATCH
                    && let Ok(Some(next)) = timeout_at(next_start, queue.recv()).await
                {
                    batch.push(next);
                }
            }
        }
        loop {
            while in_flight.try_join_next().is_some() {}
            while batch.len() < J::MAX_BATCH
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            let is_large = batch.len() >= MIN_BATCH;
            // At most two are in flight: a third would only wait on the connection, and collects
            // more jobs by waiting here.
            if in_flight.is_empty() || in_flight.len() == 1 && is_large {
                break;
            }
            tokio::select! {
                _ = in_flight.join_next() => {}
                // A large batch waits for a response only. Otherwise a burst could grow it beyond
                // MAX_BATCH here.
                Some(next) = queue.recv(), if !is_large => batch.push(next),
            }
        }
        next_start = Instant::now() + BATCH_INTERVAL;
        in_flight.spawn_local(run_and_respond(Rc::clone(&connection), batch));
    }
    in_flight.join_all().await;
}

async fn run_and_respond<J: BatchJob>(connection: Rc<ManagedConnection>, batch: Vec<Queued<J>>) {
    let batch = batch.into_iter().map(|queued| (queued.job, queued.result));
    let (jobs, senders): (Vec<J>, Vec<_>) = batch.unzip();
    for (sender, result) in senders.into_iter().zip(run_batch(&connection, jobs).await) {
        // Fails if the caller no longer waits.
        let _ = sender.send(result);
    }
}

/// Runs all jobs in one statement. If that conflicts, runs them in one transaction; if the database
/// refuses it, each in its own transaction, so that one invalid job does not fail the others.
async fn run_batch<J: BatchJob>(
    connection: &ManagedConnection,
    jobs: Vec<J>,
) -> Vec<Result<J::Output, StoreError>> {
    let statement =
        connection.run_pipelined(async |session| J::run_as_statement(session, &jobs).await);
    let all = match statement.await {
        Ok(Some(results)) => Ok(results),
        Ok(None) => {
            connection
                .run(async |session| J::run_in_transaction(session, &jobs).await)
                .await
        }
        Err(why) => Err(why),
    };
    match all {
        Ok(results) => results.into_iter().map(Ok).collect(),
        // Only if the database refused the batch: while it is unavailable each job would wait for
        // the timeout.
        Err(StoreError::Database(_)) if jobs.len() > 1 => {
            let mut results = Vec::with_capacity(jobs.len());
            for job in jobs {
                results.push(run_one(connection, job).await);
            }
            results
        }
        Err(why) => jobs.iter().map(|_| Err(why.clone())).collect(),
    }
}

async fn run_one<J: BatchJob>(
    connection: &ManagedConnection,
    job: J,
) -> Result<J::Output, StoreError> {
    let job = [job];
    let results = connection.run(async |session| J::run_in_transaction(session, &job).await);
    results.await?.pop().ok_or(StoreError::Closed)
}
