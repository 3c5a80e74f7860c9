//! Does together what waits: while one batch is under way, the next one gathers.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::connection::ManagedConnection;
use super::session::{PgError, Session};
use crate::clock;
use crate::store::StoreError;

/// The most that may wait while the database stalls; more is refused at once.
const MAX_QUEUED: usize = 16_384;

/// So many leave while a batch is still under way, so that the database has work while others are
/// answered; fewer wait for its end, since each batch costs a commit.
const MIN_BATCH: usize = 16;

/// What many may wait for at once.
pub(super) trait BatchJob: Send + 'static {
    type Done: Send + 'static;

    /// The most that one transaction takes, so that nobody waits long behind a burst.
    const MAX_BATCH: usize;

    /// How long a first one waits for others, if nobody waits for its answer in haste.
    const BATCH_WAIT: Option<Duration>;

    /// Does all in one statement, or none; what came of each, in their order.
    async fn at_once(session: &Session, jobs: &[Self]) -> Result<Vec<Self::Done>, PgError>
    where
        Self: Sized;

    /// As [`BatchJob::at_once`], in a transaction of as many statements as it takes.
    async fn carry_out(session: &Session, jobs: &[Self]) -> Result<Vec<Self::Done>, PgError>
    where
        Self: Sized,
    {
        Self::at_once(session, jobs).await
    }
}

/// The way to those who do jobs of one kind.
pub(super) struct Batcher<J: BatchJob>(mpsc::Sender<Queued<J>>);

/// A job and who waits for it.
pub(super) struct Queued<J: BatchJob> {
    job: J,
    answer: oneshot::Sender<Result<J::Done, StoreError>>,
}

impl<J: BatchJob> Batcher<J> {
    pub fn new() -> (Self, mpsc::Receiver<Queued<J>>) {
        let (sender, waiting) = mpsc::channel(MAX_QUEUED);
        (Self(sender), waiting)
    }

    pub async fn done(&self, job: J) -> Result<J::Done, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Queued { job, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
                mpsc::error::TrySendError::Full(_) => StoreError::Away(format!(
                    "the database does not keep up: {MAX_QUEUED} writes are waiting"
                )),
            })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Does what waits until nobody can ask any more. What was asked for first reaches the database first.
pub(super) async fn serve<J: BatchJob>(
    line: Rc<ManagedConnection>,
    mut waiting: mpsc::Receiver<Queued<J>>,
) {
    let mut under_way = JoinSet::new();
    while let Some(first) = waiting.recv().await {
        if let Some(company) = J::BATCH_WAIT {
            clock::pause(company).await;
        }
        let mut batch = vec![first];
        loop {
            while under_way.try_join_next().is_some() {}
            while batch.len() < J::MAX_BATCH
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            let is_worth_it = batch.len() >= MIN_BATCH;
            if under_way.is_empty() || under_way.len() == 1 && is_worth_it {
                break;
            }
            tokio::select! {
                _ = under_way.join_next() => {}
                Some(next) = waiting.recv(), if !is_worth_it => batch.push(next),
            }
        }
        under_way.spawn_local(answer(Rc::clone(&line), batch));
    }
    under_way.join_all().await;
}

async fn answer<J: BatchJob>(line: Rc<ManagedConnection>, batch: Vec<Queued<J>>) {
    let batch = batch
        .into_iter()
        .map(|waiting| (waiting.job, waiting.answer));
    let (jobs, answers): (Vec<J>, Vec<_>) = batch.unzip();
    for (answer, done) in answers.into_iter().zip(together(&line, jobs).await) {
        // Nobody waits any more if this fails.
        let _ = answer.send(done);
    }
}

/// All in one statement, or else in one transaction; if the database refuses that, each in one of its
/// own, so that one that cannot be done does not keep the others from being done.
async fn together<J: BatchJob>(
    line: &ManagedConnection,
    jobs: Vec<J>,
) -> Vec<Result<J::Done, StoreError>> {
    let at_once = line.run_beside(async |session| J::at_once(session, &jobs).await);
    let all = match at_once.await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => {
            line.run(async |session| J::carry_out(session, &jobs).await)
                .await
        }
        Err(why) => Err(why),
    };
    match all {
        Ok(done) => done.into_iter().map(Ok).collect(),
        Err(StoreError::Database(_)) if jobs.len() > 1 => {
            let mut done = Vec::with_capacity(jobs.len());
            for job in jobs {
                done.push(alone(line, job).await);
            }
            done
        }
        Err(why) => jobs.iter().map(|_| Err(why.clone())).collect(),
    }
}

async fn alone<J: BatchJob>(line: &ManagedConnection, job: J) -> Result<J::Done, StoreError> {
    let job = [job];
    let done = line.run(async |session| J::carry_out(session, &job).await);
    done.await?.pop().ok_or(StoreError::Closed)
}
