//! Does together what waits: while one batch is under way, the next one gathers.

use std::rc::Rc;

use tokio::sync::{mpsc, oneshot};

use super::line::Line;
use super::session::{Session, Trouble};
use crate::store::StoreError;

/// The most that may wait while the database stalls; more is refused at once.
const WAITING: usize = 16_384;

/// What many may wait for at once.
pub(super) trait Job: Send + 'static {
    type Done: Send + 'static;

    /// The most that one transaction takes, so that nobody waits long behind a burst.
    const MOST: usize;

    /// Does all in one transaction, or none; what came of each, in their order.
    async fn carry_out(session: &Session, jobs: &[Self]) -> Result<Vec<Self::Done>, Trouble>
    where
        Self: Sized;
}

/// The way to those who do jobs of one kind.
pub(super) struct Lane<J: Job>(mpsc::Sender<Waiting<J>>);

/// A job and who waits for it.
pub(super) struct Waiting<J: Job> {
    job: J,
    answer: oneshot::Sender<Result<J::Done, StoreError>>,
}

impl<J: Job> Lane<J> {
    pub fn new() -> (Self, mpsc::Receiver<Waiting<J>>) {
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self(sender), waiting)
    }

    pub async fn done(&self, job: J) -> Result<J::Done, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Waiting { job, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
                mpsc::error::TrySendError::Full(_) => StoreError::Away(format!(
                    "the database does not keep up: {WAITING} writes are waiting"
                )),
            })?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Does what waits until nobody can ask any more.
pub(super) async fn serve<J: Job>(line: Rc<Line>, mut waiting: mpsc::Receiver<Waiting<J>>) {
    while let Some(first) = waiting.recv().await {
        let (mut jobs, mut answers) = (vec![first.job], vec![first.answer]);
        while jobs.len() < J::MOST
            && let Ok(next) = waiting.try_recv()
        {
            jobs.push(next.job);
            answers.push(next.answer);
        }
        for (answer, done) in answers.into_iter().zip(together(&line, jobs).await) {
            // Nobody waits any more if this fails.
            let _ = answer.send(done);
        }
    }
}

/// All in one transaction; if the database refuses that, each in one of its own, so that one that
/// cannot be done does not keep the others from being done.
async fn together<J: Job>(line: &Line, jobs: Vec<J>) -> Vec<Result<J::Done, StoreError>> {
    let all = line
        .run(async |session| J::carry_out(session, &jobs).await)
        .await;
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

async fn alone<J: Job>(line: &Line, job: J) -> Result<J::Done, StoreError> {
    let job = [job];
    let done = line.run(async |session| J::carry_out(session, &job).await);
    done.await?.pop().ok_or(StoreError::Closed)
}
