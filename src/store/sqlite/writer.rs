//! The thread that owns the writing connection. It commits all waiting operations in one transaction.
//!
//! It knows no SQL: the operations are in `write_tx`.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::lock::Lock;
use super::write_tx::WriteTx;
use crate::store::StoreError;
use crate::store::joined_thread::JoinedThread;

/// The most operations in one transaction, so that the first of a burst does not wait for the last.
const MAX_BATCH: usize = 256;

/// Between the starts of two transactions, so that callbacks which arrive a millisecond apart share an
/// fsync. The first after a pause starts at once. An operation that is not urgent waits as long for others; if
/// the process is killed meanwhile, a request to Acquire is repeated.
const BATCH_INTERVAL: Duration = Duration::from_millis(3);

/// The same after a transaction of more than [`FEW`] operations. At 5,000 callbacks per second a longer
/// interval saves nothing, and calls wait for the worker.
const BUSY_INTERVAL: Duration = Duration::from_millis(2);

/// The operations of a transaction at a low rate.
const FEW: usize = 10;

/// A batch of this size starts at once.
const MIN_BATCH: usize = 16;

/// The most operations that wait while the disk stalls: about 16 MiB of usual callbacks. The writer
/// refuses more at once, because Twilio would have given up before the answer.
const MAX_QUEUED: usize = 16_384;

/// Between two checks of the size of the write-ahead log, which only grows by commits.
const LOG_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Sends operations to the writer's thread. Drop waits until the thread has finished all of them.
pub(super) struct Writer {
    jobs: SyncSender<Job>,
    _thread: JoinedThread,
}

enum Job {
    /// Runs in the next transaction, which starts at once.
    Write(Box<dyn Write>),
    /// Runs in the next transaction, which may wait for others.
    WriteSoon(Box<dyn Write>),
    /// Runs between transactions.
    Ask(Box<dyn FnOnce(&mut WriteTx) + Send>),
}

impl Writer {
    pub fn start(tx: WriteTx, lock: Lock) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_QUEUED);
        let thread = JoinedThread::start("store-writer", move || {
            serve(tx, &receiver);
            // The lock outlives the connection.
            drop(lock);
        })?;
        Ok(Self {
            jobs: sender,
            _thread: thread,
        })
    }

    /// Runs `operation` in a transaction that it shares with all waiting operations; returns after the commit.
    ///
    /// If the transaction fails, `operation` runs again in one of its own.
    pub async fn write<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut WriteTx) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_as(Job::Write, operation, |done| done).await
    }

    /// As [`Writer::write`], with a step that the writer does after the commit.
    pub async fn write_then<T, U, F, G>(&self, operation: F, after: G) -> Result<U, StoreError>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: FnMut(&mut WriteTx) -> Result<T, StoreError> + Send + 'static,
        G: FnOnce(T) -> U + Send + 'static,
    {
        self.write_as(Job::Write, operation, after).await
    }

    /// As [`Writer::write`], for an operation that Twilio does not wait for. It starts at most
    /// [`BATCH_INTERVAL`] later, so that it shares its fsync with callbacks.
    pub async fn write_soon<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut WriteTx) -> Result<T, StoreError> + Send + 'static,
    {
        self.write_as(Job::WriteSoon, operation, |done| done).await
    }

    async fn write_as<T, U, F, G>(
        &self,
        job: fn(Box<dyn Write>) -> Job,
        operation: F,
        after: G,
    ) -> Result<U, StoreError>
    where
        T: Send + 'static,
        U: Send + 'static,
        F: FnMut(&mut WriteTx) -> Result<T, StoreError> + Send + 'static,
        G: FnOnce(T) -> U + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work = Work {
            operation,
            done: None,
            answer: move |done: Result<T, StoreError>| {
                // Fails only if the caller was cancelled.
                let _ = answer.send(done.map(after));
            },
        };
        self.submit(job(Box::new(work)))?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Does `query` between two transactions.
    pub async fn ask<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut WriteTx) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Ask(Box::new(move |tx| {
            // Fails only if the caller was cancelled.
            let _ = answer.send(query(tx));
        })))?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn submit(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Disconnected(_) => StoreError::Closed,
            TrySendError::Full(_) => StoreError::Database(format!(
                "the disk does not keep up: {MAX_QUEUED} writes are waiting"
            )),
        })
    }
}

/// An operation, its result, and what sends it to the caller.
struct Work<T, F, A> {
    operation: F,
    done: Option<Result<T, StoreError>>,
    answer: A,
}

trait Write: Send {
    /// Fails only if the database failed.
    fn apply(&mut self, tx: &mut WriteTx) -> Result<(), StoreError>;

    /// Sends the caller the result, or why it was not committed.
    fn answer(self: Box<Self>, failed: Option<StoreError>);
}

impl<T, F, A> Write for Work<T, F, A>
where
    T: Send,
    F: FnMut(&mut WriteTx) -> Result<T, StoreError> + Send,
    A: FnOnce(Result<T, StoreError>) + Send,
{
    fn apply(&mut self, tx: &mut WriteTx) -> Result<(), StoreError> {
        match (self.operation)(tx) {
            // Other errors, such as a stale ticket, are results and need no rollback.
            Err(
                why @ (StoreError::Database(_)
                | StoreError::Disk(_)
                | StoreError::Damaged(_)
                | StoreError::Locked),
            ) => Err(why),
            done => {
                self.done = Some(done);
                Ok(())
            }
        }
    }

    fn answer(self: Box<Self>, failed: Option<StoreError>) {
        (self.answer)(match failed {
            Some(why) => Err(why),
            None => self.done.unwrap_or(Err(StoreError::Closed)),
        });
    }
}

fn serve(mut tx: WriteTx, jobs: &Receiver<Job>) {
    let mut next_start = Instant::now();
    let mut next_check = Instant::now();
    while let Some(batch) = next_batch(&mut tx, jobs, next_start) {
        let is_busy = batch.len() > FEW;
        let interval = if is_busy {
            BUSY_INTERVAL
        } else {
            BATCH_INTERVAL
        };
        next_start = Instant::now() + interval;
        commit_together(&mut tx, batch);
        if Instant::now() >= next_check {
            tx.health.check_log_size();
            next_check = Instant::now() + LOG_CHECK_INTERVAL;
        }
    }
}

/// The waiting operations, up to a batch: at `earliest`, or at once if they are many. Meanwhile it answers
/// queries. None once all senders are gone.
fn next_batch(
    tx: &mut WriteTx,
    jobs: &Receiver<Job>,
    earliest: Instant,
) -> Option<Vec<Box<dyn Write>>> {
    let mut batch = Vec::new();
    let mut start: Option<Instant> = None;
    // Receive only while the batch has room: a received operation must run.
    while batch.len() < MAX_BATCH {
        let next = match start {
            None => Some(jobs.recv().ok()?),
            Some(_) if batch.len() >= MIN_BATCH => jobs.try_recv().ok(),
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                jobs.recv_timeout(left).ok()
            }
        };
        match next {
            None => break,
            Some(Job::Ask(query)) => query(tx),
            Some(Job::Write(write)) => {
                start = Some(earliest);
                batch.push(write);
            }
            Some(Job::WriteSoon(write)) => {
                let latest = Instant::now() + BATCH_INTERVAL;
                start.get_or_insert(earliest.max(latest));
                batch.push(write);
            }
        }
    }
    Some(batch)
}

/// Commits all in one transaction. If that fails, commits each in one of its own, so that one impossible
/// operation does not fail the others.
fn commit_together(tx: &mut WriteTx, mut writes: Vec<Box<dyn Write>>) {
    if writes.is_empty() {
        return;
    }
    match transaction(tx, &mut writes) {
        Ok(()) => writes.into_iter().for_each(|write| write.answer(None)),
        // None could begin, and each would wait for the lock again.
        Err(StoreError::Locked) => writes
            .into_iter()
            .for_each(|write| write.answer(Some(StoreError::Locked))),
        // Each caller gets its own error, and logs it.
        Err(_) => {
            for mut write in writes {
                let committed = transaction(tx, std::slice::from_mut(&mut write));
                write.answer(committed.err());
            }
        }
    }
}

fn transaction(tx: &mut WriteTx, writes: &mut [Box<dyn Write>]) -> Result<(), StoreError> {
    let mut steps = || {
        tx.begin()?;
        for write in &mut *writes {
            write.apply(tx)?;
        }
        tx.commit()
    };
    let done = steps();
    if done.is_err() {
        tx.roll_back();
    }
    done
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::sqlite::leases::SharedLeaseTable;
    use crate::store::sqlite::open;

    fn writer(path: &Path) -> Writer {
        let lock = Lock::take(path).expect("it is not locked");
        let connection = open::writer(path).expect("a new file");
        let tx = WriteTx::new(connection, SharedLeaseTable::new()).expect("an empty store");
        Writer::start(tx, lock).expect("a thread")
    }

    #[tokio::test]
    async fn one_operation_that_fails_undoes_no_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let writer = writer(&folder.path().join("bridge.db"));
        let full = || Err::<(), _>(StoreError::Database("database or disk is full".to_owned()));
        let (first, second, third) = tokio::join!(
            writer.write(WriteTx::ping),
            writer.write(move |tx| {
                tx.ping()?;
                full()
            }),
            writer.write(WriteTx::ping),
        );
        assert!(first.is_ok() && third.is_ok());
        let why = second.expect_err("the database failed").to_string();
        assert_eq!(why, "database or disk is full");
        let pings = writer.ask(|tx| tx.pings()).await;
        assert_eq!(pings.expect("asked"), 2, "what failed left nothing behind");
    }

    /// A wait that a test would not survive.
    const LATER: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_batch_starts_at_its_time_or_once_it_is_large_and_answers_queries_meanwhile() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let connection = open::writer(&folder.path().join("bridge.db")).expect("a new file");
        let mut tx = WriteTx::new(connection, SharedLeaseTable::new()).expect("an empty store");
        let (sender, jobs) = sync_channel(MAX_QUEUED);
        let write = |sender: &SyncSender<Job>| {
            let work = Work {
                operation: WriteTx::ping,
                done: None,
                answer: drop,
            };
            let _ = sender.try_send(Job::Write(Box::new(work)));
        };
        write(&sender);
        let alone = next_batch(&mut tx, &jobs, Instant::now());
        assert_eq!(alone.map(|batch| batch.len()), Some(1));
        write(&sender);
        let rest = sender.clone();
        // Only the answer to the query sends the rest of the batch.
        let query = move |_: &mut WriteTx| (1..MIN_BATCH).for_each(|_| write(&rest));
        let _ = sender.try_send(Job::Ask(Box::new(query)));
        let large = next_batch(&mut tx, &jobs, Instant::now() + LATER);
        assert_eq!(large.map(|batch| batch.len()), Some(MIN_BATCH));
        drop(sender);
        assert!(next_batch(&mut tx, &jobs, Instant::now() + LATER).is_none());
    }

    #[tokio::test]
    async fn all_that_waits_is_done_however_much_it_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let writer = writer(&folder.path().join("bridge.db"));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let held = writer.ask(move |_| {
            let _ = wait.recv();
            Ok(())
        });
        let waiting = (0..3 * MAX_BATCH).map(|number| {
            let ping = |tx: &mut WriteTx| tx.ping();
            let writer = &writer;
            async move {
                match number % 2 {
                    0 => writer.write(ping).await,
                    _ => writer.write_soon(ping).await,
                }
            }
        });
        let (held, (), done) = tokio::join!(
            held,
            async {
                // By now all others are waiting: they were polled before.
                tokio::task::yield_now().await;
                drop(go);
            },
            futures_util::future::join_all(waiting),
        );
        held.expect("asked");
        assert!(done.iter().all(Result::is_ok), "each of them was answered");
        let pings = writer.ask(|tx| tx.pings()).await;
        assert_eq!(pings.ok(), i64::try_from(3 * MAX_BATCH).ok());
    }
}
