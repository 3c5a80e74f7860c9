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
use crate::domain::attempt::Attempt;
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

    // About as long as a commit takes. A crash within this time repeats a request.
    const BATCH_WAIT: Option<Duration> = Some(Duration::from_millis(2));

    async fn run_as_statement(
        session: &Session,
        jobs: &[Self],
    ) -> Result<Vec<Option<Due>>, StoreError> {
        // Of two jobs for one claim, the first one settles it.
        let mut seen = HashSet::new();
        let firsts: Vec<usize> = (0..jobs.len())
            .filter(|job| seen.insert((jobs[*job].ticket.call, jobs[*job].ticket.claim)))
            .collect();
        let claims: Vec<ClaimValues<'_>> = firsts
            .iter()
            .map(|job| ClaimValues::of(&jobs[*job]))
            .collect();
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
    let rows = settle(session, &[ClaimValues::of(job)], WaitingMerges::Include).await?;
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

fn array_text(values: &[i64]) -> Option<String> {
    let values: Vec<String> = values.iter().map(i64::to_string).collect();
    (!values.is_empty()).then(|| format!("{{{}}}", values.join(",")))
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
    claims: &[ClaimValues<'_>],
    merges: WaitingMerges,
) -> Result<Vec<Row>, StoreError> {
    macro_rules! column {
        ($field:ident) => {
            &claims.iter().map(|row| &row.$field).collect::<Vec<_>>()
        };
    }
    let values: Values<'_> = &[
        column!(call),
        column!(claim),
        column!(callbacks),
        column!(requeue_count),
        column!(retry_now_at),
        column!(state),
        column!(effective_at),
        column!(state_reason),
        column!(now),
        column!(leg),
        column!(kind),
        column!(tried_at),
        column!(took_us),
        column!(sent),
        column!(status),
        column!(verdict),
        column!(again_at),
        column!(given_up_reason),
        column!(fault),
        column!(excerpt),
        column!(report_mode),
        column!(failing_since),
        &(merges == WaitingMerges::Include),
        column!(cause),
        column!(class),
        column!(hashes),
    ];
    session.query(SETTLE, values).await
}

/// A claim and its attempt, as [`SETTLE`] reads them.
#[derive(Default)]
struct ClaimValues<'a> {
    call: i64,
    claim: i64,
    callbacks: i64,
    requeue_count: i64,
    retry_now_at: Option<i64>,
    state: &'static str,
    effective_at: i64,
    state_reason: Option<String>,
    now: i64,
    leg: Option<&'a str>,
    kind: Option<&'static str>,
    tried_at: Option<i64>,
    took_us: Option<i64>,
    sent: Option<String>,
    status: Option<i32>,
    verdict: Option<&'a str>,
    again_at: Option<i64>,
    given_up_reason: Option<String>,
    fault: Option<&'static str>,
    excerpt: Option<String>,
    report_mode: Option<&'static str>,
    failing_since: Option<i64>,
    cause: Option<String>,
    class: &'static str,
    /// An array in PostgreSQL's text form: arrays of arrays would need the same length.
    hashes: Option<String>,
}

impl<'a> ClaimValues<'a> {
    fn of(job: &'a SettleJob) -> Self {
        let next = job.settlement.next.columns(job.now);
        Self {
            call: job.ticket.call,
            claim: job.ticket.claim,
            callbacks: job.ticket.newest_callback,
            requeue_count: job.ticket.requeue_count,
            retry_now_at: job.ticket.retry_now_at.map(|at| at.0),
            state: next.state.as_str(),
            effective_at: next.effective_at.0,
            state_reason: next.reason.map(without_nul),
            cause: next.cause.map(|cause| cause.to_string()),
            class: job.settlement.class.as_str(),
            now: job.now.0,
            failing_since: job.settlement.failing_since.map(|at| at.0),
            hashes: array_text(&job.hashes),
            ..job
                .settlement
                .attempt
                .as_ref()
                .map(Self::of_attempt)
                .unwrap_or_default()
        }
    }

    fn of_attempt(attempt: &'a Attempt) -> Self {
        let verdict = attempt.verdict.to_columns();
        Self {
            leg: Some(attempt.leg.as_str()),
            kind: Some(attempt.kind.as_str()),
            tried_at: Some(attempt.at.0),
            took_us: Some(i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX)),
            sent: Some(without_nul(&attempt.sent)),
            status: attempt.status.map(i32::from),
            verdict: Some(verdict.verdict),
            again_at: verdict.again_at,
            given_up_reason: verdict.reason.map(without_nul),
            fault: attempt.fault.map(DeliveryFault::as_str),
            excerpt: Some(without_nul(&attempt.excerpt)),
            report_mode: Some(attempt.report_mode.as_str()),
            ..Self::default()
        }
    }
}
