//! Records a batch of callbacks in one statement.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::batcher::BatchJob;
use super::counters;
use super::merge;
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::{NewCallback, Recorded};

/// A callback to record.
pub(super) struct RecordJob {
    pub callback: NewCallback,
    pub now: Millis,
}

const RECORD: &str = include_str!("sql/record.sql");

impl BatchJob for RecordJob {
    type Output = Recorded;

    const MAX_BATCH: usize = 256;

    // Twilio waits for the response.
    const BATCH_WAIT: Option<Duration> = None;

    async fn run_as_statement(session: &Session, jobs: &[Self]) -> Result<Vec<Recorded>, PgError> {
        let (recorded, _) = RecordBatch::new(jobs)
            .record(session, OnMerge::Conflict)
            .await?;
        Ok(recorded)
    }

    async fn run_in_transaction(
        session: &Session,
        jobs: &[Self],
    ) -> Result<Vec<Recorded>, PgError> {
        let batch = RecordBatch::new(jobs);
        counters::transaction(session, async |session, changes| {
            let (recorded, to_merge) = batch.record(session, OnMerge::Return).await?;
            for RecordJob { callback, now } in to_merge {
                let (leg, call) = (&callback.leg, &callback.call);
                merge::merge_into_parent(session, changes, &callback.account, (leg, call), *now)
                    .await?;
            }
            Ok(recorded)
        })
        .await
    }
}

/// How to handle a leg that already has a call of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMerge {
    /// Return its job, so that the caller merges the calls.
    Return,
    /// Fail with [`PgError::Conflict`].
    Conflict,
}

/// The parameters of [`RECORD`].
struct RecordBatch<'a> {
    calls: Vec<CallValues<'a>>,
    /// Each callback once, with the place of its call.
    callbacks: Vec<(i64, &'a RecordJob)>,
    /// Each child leg once, with the place of its call.
    legs: Vec<(i64, &'a RecordJob)>,
    /// For each job, the index of its callback; `None` if an earlier job has the same callback.
    callback_of_job: Vec<Option<usize>>,
}

struct CallValues<'a> {
    account: &'a str,
    sid: &'a str,
    first_received: i64,
    callbacks: i64,
}

impl<'a> RecordBatch<'a> {
    fn new(jobs: &'a [RecordJob]) -> Self {
        let mut batch = Self {
            calls: Vec::new(),
            callbacks: Vec::with_capacity(jobs.len()),
            legs: Vec::new(),
            callback_of_job: Vec::with_capacity(jobs.len()),
        };
        let mut calls: HashMap<(&str, &str), usize> = HashMap::new();
        let (mut keys, mut legs) = (HashSet::new(), HashSet::new());
        for job in jobs {
            let NewCallback {
                account, call, leg, ..
            } = &job.callback;
            let (account, sid) = (account.as_str(), call.as_str());
            let index = *calls.entry((account, sid)).or_insert_with(|| {
                batch.calls.push(CallValues {
                    account,
                    sid,
                    first_received: job.now.0,
                    callbacks: 0,
                });
                batch.calls.len() - 1
            });
            // Arrays of PostgreSQL start at one.
            let place = i64::try_from(index + 1).unwrap_or(i64::MAX);
            if leg != call && legs.insert((index, leg)) {
                batch.legs.push((place, job));
            }
            if !keys.insert((index, job.callback.key.as_str())) {
                batch.callback_of_job.push(None);
                continue;
            }
            let call = &mut batch.calls[index];
            call.callbacks += 1;
            call.first_received = call.first_received.min(job.now.0);
            batch.callback_of_job.push(Some(batch.callbacks.len()));
            batch.callbacks.push((place, job));
        }
        batch
    }

    /// Returns the result of each job, and the jobs with a leg that has a call of its own.
    async fn record(
        &self,
        session: &Session,
        on_merge: OnMerge,
    ) -> Result<(Vec<Recorded>, Vec<&RecordJob>), PgError> {
        macro_rules! column {
            ($rows:ident, $row:pat => $value:expr) => {
                &self.$rows.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        let values: Values<'_> = &[
            column!(calls, call => call.account),
            column!(calls, call => call.sid),
            column!(calls, call => call.first_received),
            column!(calls, call => call.callbacks),
            column!(callbacks, (place, _) => place),
            column!(callbacks, (_, job) => job.callback.leg.as_str()),
            column!(callbacks, (_, job) => job.callback.key.as_str().as_bytes()),
            column!(callbacks, (_, job) => job.now.0),
            column!(callbacks, (_, job) => &job.callback.request.url),
            column!(callbacks, (_, job) => &job.callback.request.headers),
            column!(callbacks, (_, job) => &job.callback.request.body[..]),
            column!(legs, (place, _) => place),
            column!(legs, (_, job) => job.callback.account.as_str()),
            column!(legs, (_, job) => job.callback.leg.as_str()),
            &(on_merge == OnMerge::Conflict),
        ];
        let rows = session.query(RECORD, values).await?;
        let (is_new, needs_merge): (Vec<bool>, Vec<bool>) = match rows.first() {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => Default::default(),
        };
        // The results belong to the jobs by their position.
        if (is_new.len(), needs_merge.len()) != (self.callbacks.len(), self.legs.len()) {
            return Err(PgError::Refused("a callback has no result".to_owned()));
        }
        let recorded = self.callback_of_job.iter().map(|callback| match callback {
            Some(index) if is_new[*index] => Recorded::New,
            _ => Recorded::Repeated,
        });
        let to_merge = self
            .legs
            .iter()
            .zip(needs_merge)
            .filter(|(_, needs)| *needs);
        Ok((
            recorded.collect(),
            to_merge.map(|((_, job), _)| *job).collect(),
        ))
    }
}
