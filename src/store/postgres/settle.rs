//! Settles a batch of claims in one statement.
//!
//! The SQL is in `sql/settle.sql`. The next state of a call is decided by the worker.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::Row;

use super::batcher::BatchJob;
use super::merge;
use super::rows::text;
use crate::acquire::DeliveryFault;
use crate::clock::Millis;
use crate::store::columns::StateColumns;
use crate::store::counters::Counters;
use crate::store::sql::{PostgresValues as Values, Session, without_nul};
use crate::store::{Settlement, State, StoreError, Ticket};
use crate::twilio::{AccountSid, CallSid};

/// A claim to settle.
#[derive(Clone)]
pub(super) struct SettleJob {
    pub ticket: Ticket,
    pub settlement: Settlement,
    /// Of its terms.
    pub hashes: Vec<i64>,
    pub now: Millis,
}

const SETTLE: &str = include_str!("sql/settle.sql");

/// When the call is due next, if it is pending.
type Due = Option<Millis>;

impl BatchJob for SettleJob {
    /// `None` if the claim is no longer held or the call must then be merged: see
    /// [`settle_and_merge`].
    type Output = Option<Due>;

    const MAX_BATCH: usize = 256;

    // Nothing waits for a settlement, and each statement costs the database as much as several calls. A crash
    // within this time repeats a request.
    const BATCH_WAIT: Option<Duration> = Some(Duration::from_millis(10));

    async fn run_as_statement(
        session: &Session,
        jobs: &[Self],
    ) -> Result<Vec<Option<Due>>, StoreError> {
        // Of two jobs for one claim, the first one settles it.
        let mut seen = HashSet::new();
        let firsts: Vec<usize> = (0..jobs.len())
            .filter(|job| seen.insert((jobs[*job].ticket.call, jobs[*job].ticket.claim)))
            .collect();
        let claims: Vec<&Self> = firsts.iter().map(|job| &jobs[*job]).collect();
        let mut settled = vec![None; jobs.len()];
        for row in settle(session, &claims, WaitingMerges::LeaveOut).await? {
            // From WITH ORDINALITY, which starts at one.
            let n: i64 = row.try_get(0)?;
            let job = usize::try_from(n - 1).ok().and_then(|n| firsts.get(n));
            if let Some(settled) = job.and_then(|job| settled.get_mut(*job)) {
                *settled = Some(due(&row)?);
            }
        }
        Ok(settled)
    }
}

/// Settles one claim, and merges its call into the parent's call if that waited for it.
pub(super) async fn settle_and_merge(
    session: &Session,
    changes: &mut Counters,
    job: &SettleJob,
) -> Result<Due, StoreError> {
    let rows = settle(session, &[job], WaitingMerges::Include).await?;
    let Some(row) = rows.first() else {
        return Err(StoreError::StaleTicket);
    };
    if row.try_get::<_, Option<&str>>(5)?.is_some() {
        let account = text(row, 3, |text| AccountSid::parse(text).ok())?;
        let leg = text(row, 4, |text| CallSid::parse(text).ok())?;
        let parent = text(row, 5, |text| CallSid::parse(text).ok())?;
        if merge::merge_into_parent(session, changes, &account, (&leg, &parent), job.now).await? {
            return Ok(Some(job.now));
        }
    }
    due(row)
}

fn due(row: &Row) -> Result<Due, StoreError> {
    let state = text(row, 1, State::parse)?;
    let effective_at = Millis(row.try_get(2)?);
    Ok((state == State::Pending).then_some(effective_at))
}

/// Whether to settle calls that must be merged afterwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitingMerges {
    LeaveOut,
    Include,
}

async fn settle(
    session: &Session,
    jobs: &[&SettleJob],
    merges: WaitingMerges,
) -> Result<Vec<Row>, StoreError> {
    macro_rules! column {
        ($job:ident => $value:expr) => {
            &jobs.iter().map(|$job| $value).collect::<Vec<_>>()
        };
    }
    macro_rules! of_attempt {
        ($attempt:ident => $value:expr) => {
            column!(job => job.settlement.attempt.as_ref().map(|$attempt| $value))
        };
        ($attempt:ident => $value:expr, flat) => {
            column!(job => job.settlement.attempt.as_ref().and_then(|$attempt| $value))
        };
    }
    let values: Values<'_> = &[
        column!(job => job.ticket.call),
        column!(job => job.ticket.claim),
        column!(job => job.ticket.newest_callback),
        column!(job => job.ticket.requeue_count),
        column!(job => job.ticket.retry_now_at.map(|at| at.0)),
        column!(job => next(job).state.as_str()),
        column!(job => next(job).effective_at.0),
        column!(job => next(job).reason.map(without_nul)),
        column!(job => job.now.0),
        of_attempt!(attempt => attempt.leg.as_str()),
        of_attempt!(attempt => attempt.kind.as_str()),
        of_attempt!(attempt => attempt.at.0),
        of_attempt!(attempt => i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX)),
        of_attempt!(attempt => without_nul(&attempt.sent)),
        of_attempt!(attempt => attempt.status.map(i32::from), flat),
        of_attempt!(attempt => attempt.verdict.as_str()),
        of_attempt!(attempt => attempt.verdict.to_columns().again_at, flat),
        of_attempt!(attempt => attempt.verdict.to_columns().reason.map(without_nul), flat),
        of_attempt!(attempt => attempt.fault.map(DeliveryFault::as_str), flat),
        of_attempt!(attempt => without_nul(&attempt.excerpt)),
        of_attempt!(attempt => attempt.report_mode.as_str()),
        column!(job => job.settlement.failing_since.map(|at| at.0)),
        &(merges == WaitingMerges::Include),
        column!(job => next(job).cause.map(|cause| cause.to_string())),
        column!(job => job.settlement.class.as_str()),
        column!(job => array_text(&job.hashes)),
    ];
    session.query(SETTLE, values).await
}

fn next(job: &SettleJob) -> StateColumns<'_> {
    job.settlement.next.columns(job.now)
}

/// An array in PostgreSQL's text form: arrays of arrays would need the same length.
fn array_text(values: &[i64]) -> Option<String> {
    let values: Vec<String> = values.iter().map(i64::to_string).collect();
    (!values.is_empty()).then(|| format!("{{{}}}", values.join(",")))
}
