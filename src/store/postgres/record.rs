//! Records a batch of callbacks in one statement, and a repeat that has new fields in a transaction of
//! its own.
//!
//! The SQL is in `sql/record.sql`; calls are merged in `merge`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::batcher::BatchJob;
use super::counters;
use super::merge::{self, EXTEND_CALL};
use super::rows::text;
use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::removed;
use crate::store::repeat::{self, StoredForm};
use crate::store::sql::{PostgresValues as Values, Session};
use crate::store::{NewCallback, Recorded, State};

/// A callback to record.
#[derive(Clone)]
pub(super) struct RecordJob {
    pub callback: Arc<NewCallback>,
    pub now: Millis,
}

/// Whether a batch stored a callback, because none with its key was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsNew {
    Yes,
    No,
}

const RECORD: &str = include_str!("sql/record.sql");

const FORMS: &str = "SELECT headers, body FROM sid_index JOIN callback ON callback.call = sid_index.call \
    WHERE sid_index.sid = $1 AND sid_index.account = $2 AND key = $3";

const ERASED: &str = "SELECT 1 FROM removed_call WHERE hash = $1 AND cause = 'erased'";

const LOCK_CALL: &str = "SELECT call.id, call.state FROM sid_index \
    JOIN call ON call.id = sid_index.call AND call.callbacks > 0 \
    WHERE sid_index.sid = $1 AND sid_index.account = $2 FOR UPDATE OF call";

const INSERT_VARIANT: &str = "INSERT INTO callback \
    (call, key, variant, leg, received, url, headers, body) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

impl BatchJob for RecordJob {
    /// Whether the callback is new: one that is not may have new fields, see [`record_repeat`].
    type Output = IsNew;

    const MAX_BATCH: usize = 256;

    // Twilio waits for the response.
    const BATCH_WAIT: Option<Duration> = None;

    async fn run_as_statement(session: &Session, jobs: &[Self]) -> Result<Vec<IsNew>, StoreError> {
        let (recorded, _) = RecordBatch::new(jobs)
            .record(session, OnMerge::Conflict)
            .await?;
        Ok(recorded)
    }

    async fn run_in_transaction(
        session: &Session,
        jobs: &[Self],
    ) -> Result<Vec<IsNew>, StoreError> {
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
    /// Fail with [`StoreError::Conflict`].
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
    sid_hash: [u8; 16],
    is_reconciled: bool,
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
            } = &*job.callback;
            let sid_hash = || removed::sid_hash(account, call);
            let (account, sid) = (account.as_str(), call.as_str());
            let index = *calls.entry((account, sid)).or_insert_with(|| {
                batch.calls.push(CallValues {
                    account,
                    sid,
                    first_received: job.now.0,
                    callbacks: 0,
                    sid_hash: sid_hash(),
                    is_reconciled: job.callback.is_reconciled(),
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
    ) -> Result<(Vec<IsNew>, Vec<&RecordJob>), StoreError> {
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
            column!(calls, call => &call.sid_hash[..]),
            column!(calls, call => call.is_reconciled),
        ];
        let rows = session.query(RECORD, values).await?;
        let (is_new, needs_merge): (Vec<bool>, Vec<bool>) = match rows.first() {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => Default::default(),
        };
        // The results belong to the jobs by their position.
        if (is_new.len(), needs_merge.len()) != (self.callbacks.len(), self.legs.len()) {
            return Err(StoreError::Database("a callback has no result".to_owned()));
        }
        let recorded = self.callback_of_job.iter().map(|callback| match callback {
            Some(index) if is_new[*index] => IsNew::Yes,
            _ => IsNew::No,
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

/// Stores a repeat if it has fields that no stored callback with its key has.
pub(super) async fn record_repeat(
    session: &Session,
    job: &RecordJob,
) -> Result<Recorded, StoreError> {
    let stored = forms(session, &job.callback).await?;
    if stored.is_empty() && is_erased(session, &job.callback).await? {
        return Ok(Recorded::Erased);
    }
    // Most repeats have none, so they need no lock and no transaction.
    if !has_new_fields(&job.callback, &stored) {
        return Ok(Recorded::Repeated);
    }
    counters::transaction(session, async |session, changes| {
        let NewCallback { account, call, .. } = &*job.callback;
        let rows = session
            .query(LOCK_CALL, &[&call.as_str(), &account.as_str()])
            .await?;
        let Some(row) = rows.first() else {
            return Ok(Recorded::Repeated);
        };
        // Another node may have stored the same meanwhile.
        let forms = forms(session, &job.callback).await?;
        if !has_new_fields(&job.callback, &forms) {
            return Ok(Recorded::Repeated);
        }
        let id: i64 = row.try_get(0)?;
        let variant = i16::try_from(forms.len() + 1).unwrap_or(i16::MAX);
        let request = &job.callback.request;
        let values: Values<'_> = &[
            &id,
            &job.callback.key.as_str().as_bytes(),
            &variant,
            &job.callback.leg.as_str(),
            &job.now.0,
            &request.url,
            &request.headers,
            &&request.body[..],
        ];
        session.execute(INSERT_VARIANT, values).await?;
        let (callbacks, attempts) = (1_i64, 0_i64);
        let values: Values<'_> = &[&id, &callbacks, &attempts, &job.now.0, &None::<i64>];
        session.execute(EXTEND_CALL, values).await?;
        changes.move_call(text(row, 1, State::parse)?, State::Pending);
        Ok(Recorded::New)
    })
    .await
}

/// Whether the call of a callback was erased.
async fn is_erased(session: &Session, callback: &NewCallback) -> Result<bool, StoreError> {
    let hash = removed::sid_hash(&callback.account, &callback.call);
    let rows = session.query(ERASED, &[&hash.as_slice()]).await?;
    Ok(!rows.is_empty())
}

/// The forms of the stored callbacks with the key of this one.
async fn forms(session: &Session, callback: &NewCallback) -> Result<Vec<StoredForm>, StoreError> {
    let (sid, account) = (callback.call.as_str(), callback.account.as_str());
    let key = callback.key.as_str().as_bytes();
    let rows = session.query(FORMS, &[&sid, &account, &key]).await?;
    let form = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(form).collect()
}

/// Without a stored form, the call was removed since the callback was found to be a repeat.
fn has_new_fields(callback: &NewCallback, forms: &[StoredForm]) -> bool {
    !forms.is_empty() && repeat::is_worth_storing(&callback.request, forms)
}

const SEND_TO_BACKLOG: &str = "UPDATE call SET effective_at = least(effective_at, $3) FROM sid_index \
    WHERE sid_index.sid = $1 AND sid_index.account = $2 AND call.id = sid_index.call \
    AND call.state = 'pending' AND call.claim IS NULL";

/// Makes the call of an imported callback due since `due`, so that fresh calls come first.
pub(super) async fn send_to_backlog(
    session: &Session,
    callback: &NewCallback,
    due: Millis,
) -> Result<(), StoreError> {
    let (sid, account) = (callback.call.as_str(), callback.account.as_str());
    session
        .execute(SEND_TO_BACKLOG, &[&sid, &account, &due.0])
        .await?;
    Ok(())
}
