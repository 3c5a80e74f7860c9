//! Ends the claims of all who wait, in one statement.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::Row;

use super::batcher::BatchJob;
use super::counters::Counters;
use super::merge;
use super::rows::{without_nul, word};
use super::session::{PgError, Session, Values};
use crate::acquire::DeliveryFault;
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::store::{NextState, Settlement, State, StoreError, Ticket};
use crate::twilio::{AccountSid, CallSid};

/// A claim to end.
#[derive(Clone)]
pub(super) struct SettleJob {
    pub ticket: Ticket,
    pub settlement: Settlement,
    pub now: Millis,
}

/// Calls that are held by these claims come to rest, unless something was recorded or asked for
/// meanwhile; what was tried is kept, and all is counted. Those that another call will take over are
/// left out unless `$20` asks for them. What is said of the plan of a record holds here too, and a
/// claim that were asked for by `=` would be looked for in the index by lease, all of it.
const SETTLE: &str = "WITH given AS MATERIALIZED ( \
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], \
            $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::text[], $10::text[], \
            $11::bigint[], $12::bigint[], $13::text[], $14::int[], $15::text[], $16::bigint[], \
            $17::text[], $18::text[], $19::text[]) WITH ORDINALITY \
            AS given (call, claim, newest, requeue_count, state, effective_at, why, now, leg, \
                kind, tried_at, took_us, sent, status, verdict, again_at, reason, fault, excerpt, n)), \
    held AS MATERIALIZED ( \
        SELECT given.*, call.callbacks > given.newest OR call.requeue_count > given.requeue_count \
            AS is_overtaken \
        FROM (SELECT * FROM given ORDER BY call) AS given \
        CROSS JOIN LATERAL (SELECT callbacks, requeue_count FROM call \
            WHERE call.id = given.call AND claim IS NOT DISTINCT FROM given.claim \
                AND (merge_parent IS NULL OR $20::bool) FOR UPDATE) AS call), \
    kept AS ( \
        INSERT INTO attempt (call, requeue_count, leg, kind, at, took_us, sent, status, verdict, again_at, \
            reason, fault, excerpt) \
        SELECT call, requeue_count, leg, kind, tried_at, took_us, sent, status, verdict, again_at, reason, \
            fault, excerpt FROM held WHERE leg IS NOT NULL), \
    settled AS ( \
        UPDATE call SET state = CASE WHEN is_overtaken THEN 'pending' ELSE held.state END, \
            effective_at = CASE WHEN is_overtaken THEN held.now ELSE held.effective_at END, \
            reason = CASE WHEN is_overtaken THEN NULL ELSE held.why END, \
            changed = held.now, planned_callbacks = held.newest, claim = NULL, node = NULL, lease_end = NULL, \
            attempts = attempts + (held.leg IS NOT NULL)::int \
        FROM held WHERE call.id = held.call AND call.id = ANY (ARRAY(SELECT call FROM held)) \
        RETURNING held.n, call.state, call.effective_at, call.account, call.sid, call.merge_parent), \
    counted AS ( \
        INSERT INTO counters (seen, purged, pending, delivered, skipped, parked) \
        SELECT 0, 0, -(delivered + skipped + parked), delivered, skipped, parked FROM ( \
            SELECT count(*) FILTER (WHERE state = 'delivered') AS delivered, \
                count(*) FILTER (WHERE state = 'skipped') AS skipped, \
                count(*) FILTER (WHERE state = 'parked') AS parked FROM settled) AS moved \
        WHERE delivered + skipped + parked > 0) \
    SELECT n, state, effective_at, account, sid, merge_parent FROM settled ORDER BY n";

/// When the call is due next, if it is pending.
type Due = Option<Millis>;

impl BatchJob for SettleJob {
    /// None if the claim was no longer held, or if there is more to do: see [`alone`].
    type Done = Option<Due>;

    const MAX_BATCH: usize = 256;

    /// No longer than a commit takes: so long more may be sent again after a crash.
    const BATCH_WAIT: Option<Duration> = Some(Duration::from_millis(2));

    async fn at_once(session: &Session, jobs: &[Self]) -> Result<Vec<Option<Due>>, PgError> {
        // Of two that end one claim the first does.
        let mut seen = HashSet::new();
        let firsts: Vec<usize> = (0..jobs.len())
            .filter(|at| seen.insert((jobs[*at].ticket.call, jobs[*at].ticket.claim)))
            .collect();
        let given: Vec<Given<'_>> = firsts.iter().map(|at| Given::of(&jobs[*at])).collect();
        let mut done = vec![None; jobs.len()];
        for row in settle(session, &given, Those::ThatStay).await? {
            let n: i64 = row.try_get(0)?;
            let at = usize::try_from(n - 1).ok().and_then(|n| firsts.get(n));
            if let Some(done) = at.and_then(|at| done.get_mut(*at)) {
                *done = Some(due(&row)?);
            }
        }
        Ok(done)
    }
}

/// Ends one claim, and joins its call to another if that waited for it.
pub(super) async fn alone(
    session: &Session,
    tally: &mut Counters,
    job: &SettleJob,
) -> Result<Result<Due, StoreError>, PgError> {
    let rows = settle(session, &[Given::of(job)], Those::ThatJoinToo).await?;
    let Some(row) = rows.first() else {
        return Ok(Err(StoreError::StaleTicket));
    };
    if row.try_get::<_, Option<&str>>(5)?.is_some() {
        let account = word(row, 3, |text| AccountSid::parse(text).ok())?;
        let leg = word(row, 4, |text| CallSid::parse(text).ok())?;
        let parent = word(row, 5, |text| CallSid::parse(text).ok())?;
        if merge::merge_into_parent(session, tally, &account, (&leg, &parent), job.now).await? {
            return Ok(Ok(Some(job.now)));
        }
    }
    Ok(Ok(due(row)?))
}

fn due(row: &Row) -> Result<Due, PgError> {
    let state = word(row, 1, State::parse)?;
    let at = Millis(row.try_get(2)?);
    Ok((state == State::Pending).then_some(at))
}

/// Which calls are settled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Those {
    /// That no other call takes over.
    ThatStay,
    ThatJoinToo,
}

async fn settle(session: &Session, given: &[Given<'_>], those: Those) -> Result<Vec<Row>, PgError> {
    macro_rules! column {
        ($field:ident) => {
            &given.iter().map(|row| &row.$field).collect::<Vec<_>>()
        };
    }
    let values: Values<'_> = &[
        column!(call),
        column!(claim),
        column!(newest),
        column!(requeue_count),
        column!(state),
        column!(effective_at),
        column!(why),
        column!(now),
        column!(leg),
        column!(kind),
        column!(tried_at),
        column!(took_us),
        column!(sent),
        column!(status),
        column!(verdict),
        column!(again_at),
        column!(reason),
        column!(fault),
        column!(excerpt),
        &(those == Those::ThatJoinToo),
    ];
    session.query(SETTLE, values).await
}

/// A claim to end and what was tried with it, as [`SETTLE`] has them.
#[derive(Default)]
struct Given<'a> {
    call: i64,
    claim: i64,
    newest: i64,
    requeue_count: i64,
    state: &'static str,
    effective_at: i64,
    why: Option<String>,
    now: i64,
    leg: Option<&'a str>,
    kind: Option<&'static str>,
    tried_at: Option<i64>,
    took_us: Option<i64>,
    sent: Option<String>,
    status: Option<i32>,
    verdict: Option<&'static str>,
    again_at: Option<i64>,
    reason: Option<String>,
    fault: Option<&'static str>,
    excerpt: Option<String>,
}

impl<'a> Given<'a> {
    fn of(job: &'a SettleJob) -> Self {
        let (state, at, why) = match &job.settlement.rest {
            NextState::PendingAt(due) => (State::Pending, *due, None),
            NextState::Delivered => (State::Delivered, job.now, None),
            NextState::Skipped(why) => (State::Skipped, job.now, Some(without_nul(why))),
            NextState::Parked(why) => (State::Parked, job.now, Some(without_nul(why))),
        };
        Self {
            call: job.ticket.call,
            claim: job.ticket.claim,
            newest: job.ticket.newest_callback,
            requeue_count: job.ticket.requeue_count,
            state: state.as_str(),
            effective_at: at.0,
            why,
            now: job.now.0,
            ..job
                .settlement
                .attempt
                .as_ref()
                .map(Self::tried)
                .unwrap_or_default()
        }
    }

    fn tried(attempt: &'a Attempt) -> Self {
        let (again_at, reason) = match &attempt.verdict {
            Verdict::Again(at) => (Some(at.0), None),
            Verdict::GivenUp(why) => (None, Some(without_nul(why))),
            Verdict::Accepted | Verdict::AcceptedAsRepeat => (None, None),
        };
        Self {
            leg: Some(attempt.leg.as_str()),
            kind: Some(attempt.kind.as_str()),
            tried_at: Some(attempt.at.0),
            took_us: Some(i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX)),
            sent: Some(without_nul(&attempt.sent)),
            status: attempt.status.map(i32::from),
            verdict: Some(attempt.verdict.as_str()),
            again_at,
            reason,
            fault: attempt.fault.map(DeliveryFault::as_str),
            excerpt: Some(without_nul(&attempt.excerpt)),
            ..Self::default()
        }
    }
}
