//! Ends the claims of all who wait, in one statement.

use std::collections::{HashMap, HashSet};

use super::join;
use super::lane::Job;
use super::rows::{without_nul, word};
use super::session::{Session, Trouble};
use super::tally::Tally;
use crate::acquire::Fault;
use crate::attempt::{Attempt, Verdict};
use crate::clock::Millis;
use crate::store::{Rest, Settlement, State, StoreError, Ticket};
use crate::twilio::{AccountSid, CallSid};

/// A claim to end.
pub(super) struct Settling {
    pub ticket: Ticket,
    pub settlement: Settlement,
    pub now: Millis,
}

/// Calls that are held by these claims come to rest, unless something was recorded or asked for
/// meanwhile; what was tried is kept.
const SETTLE: &str = "WITH given AS MATERIALIZED ( \
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], \
            $5::text[], $6::bigint[], $7::text[], $8::bigint[]) WITH ORDINALITY \
            AS given (call, claim, newest, round, state, at, reason, now, n)), \
    tried AS MATERIALIZED ( \
        SELECT * FROM unnest($9::bigint[], $10::text[], $11::text[], $12::bigint[], \
            $13::bigint[], $14::text[], $15::int[], $16::text[], $17::bigint[], $18::text[], \
            $19::text[], $20::text[]) \
            AS tried (n, leg, kind, at, took_us, sent, status, verdict, again_at, reason, fault, \
                excerpt)), \
    held AS MATERIALIZED ( \
        SELECT given.*, call.callbacks > given.newest OR call.round > given.round AS is_overtaken \
        FROM given JOIN call ON call.id = given.call AND call.claim = given.claim \
        ORDER BY call.id FOR UPDATE OF call), \
    kept AS ( \
        INSERT INTO attempt (call, round, leg, kind, at, took_us, sent, status, verdict, again_at, \
            reason, fault, excerpt) \
        SELECT held.call, held.round, tried.leg, tried.kind, tried.at, tried.took_us, tried.sent, \
            tried.status, tried.verdict, tried.again_at, tried.reason, tried.fault, tried.excerpt \
        FROM held JOIN tried ON tried.n = held.n), \
    settled AS ( \
        UPDATE call SET state = CASE WHEN is_overtaken THEN 'pending' ELSE held.state END, \
            at = CASE WHEN is_overtaken THEN held.now ELSE held.at END, \
            reason = CASE WHEN is_overtaken THEN NULL ELSE held.reason END, \
            changed = held.now, planned = held.newest, claim = NULL, node = NULL, lease_end = NULL, \
            attempts = attempts + (SELECT count(*) FROM tried WHERE tried.n = held.n) \
        FROM held WHERE call.id = held.call \
        RETURNING held.n, call.state, call.at, call.account, call.sid, call.joins) \
    SELECT n, state, at, account, sid, joins FROM settled ORDER BY n";

type Settled = Result<Option<Millis>, StoreError>;

impl Job for Settling {
    /// When the call is due next, if it is pending.
    type Done = Settled;

    const MOST: usize = 256;

    async fn carry_out(session: &Session, jobs: &[Self]) -> Result<Vec<Settled>, Trouble> {
        session
            .transaction(async |session, tally| settle(session, tally, jobs).await)
            .await
    }
}

async fn settle(
    session: &Session,
    tally: &mut Tally,
    jobs: &[Settling],
) -> Result<Vec<Settled>, Trouble> {
    // Of two that end one claim the first does.
    let mut seen = HashSet::new();
    let firsts: Vec<usize> = (0..jobs.len())
        .filter(|at| seen.insert((jobs[*at].ticket.call, jobs[*at].ticket.claim)))
        .collect();
    let rows = {
        let given: Vec<Given> = firsts.iter().map(|at| Given::of(&jobs[*at])).collect();
        let tried: Vec<Tried<'_>> = (1..)
            .zip(&firsts)
            .filter_map(|(n, at)| Some(Tried::of(n, jobs[*at].settlement.attempt.as_ref()?)))
            .collect();
        macro_rules! column {
            ($rows:ident . $field:ident) => {
                &$rows
                    .iter()
                    .map(|row| row.$field.clone())
                    .collect::<Vec<_>>()
            };
        }
        session
            .query(
                SETTLE,
                &[
                    column!(given.call),
                    column!(given.claim),
                    column!(given.newest),
                    column!(given.round),
                    column!(given.state),
                    column!(given.at),
                    column!(given.reason),
                    column!(given.now),
                    column!(tried.n),
                    column!(tried.leg),
                    column!(tried.kind),
                    column!(tried.at),
                    column!(tried.took_us),
                    column!(tried.sent),
                    column!(tried.status),
                    column!(tried.verdict),
                    column!(tried.again_at),
                    column!(tried.reason),
                    column!(tried.fault),
                    column!(tried.excerpt),
                ],
            )
            .await?
    };
    let mut done: HashMap<usize, Option<Millis>> = HashMap::new();
    let mut to_join = Vec::new();
    for row in &rows {
        let n: i64 = row.try_get(0)?;
        let at = firsts[usize::try_from(n - 1).unwrap_or(usize::MAX)];
        let state = word(row, 1, State::parse)?;
        tally.moves(State::Pending, state);
        let due = (state == State::Pending).then_some(Millis(row.try_get(2)?));
        done.insert(at, due);
        if row.try_get::<_, Option<&str>>(5)?.is_some() {
            let account = word(row, 3, |text| AccountSid::parse(text).ok())?;
            let leg = word(row, 4, |text| CallSid::parse(text).ok())?;
            let parent = word(row, 5, |text| CallSid::parse(text).ok())?;
            to_join.push((at, account, leg, parent));
        }
    }
    for (at, account, leg, parent) in to_join {
        let now = jobs[at].now;
        if join::join(session, tally, &account, (&leg, &parent), now).await? {
            done.insert(at, Some(now));
        }
    }
    Ok((0..jobs.len())
        .map(|at| done.remove(&at).ok_or(StoreError::StaleTicket))
        .collect())
}

/// A claim and where its call comes to rest.
struct Given {
    call: i64,
    claim: i64,
    newest: i64,
    round: i64,
    state: &'static str,
    at: i64,
    reason: Option<String>,
    now: i64,
}

impl Given {
    fn of(job: &Settling) -> Self {
        let (state, at, reason) = match &job.settlement.rest {
            Rest::PendingAt(due) => (State::Pending, *due, None),
            Rest::Delivered => (State::Delivered, job.now, None),
            Rest::Skipped(why) => (State::Skipped, job.now, Some(without_nul(why))),
            Rest::Parked(why) => (State::Parked, job.now, Some(without_nul(why))),
        };
        Self {
            call: job.ticket.call,
            claim: job.ticket.claim,
            newest: job.ticket.newest_callback,
            round: job.ticket.round,
            state: state.as_str(),
            at: at.0,
            reason,
            now: job.now.0,
        }
    }
}

/// An attempt as its row has it.
struct Tried<'a> {
    n: i64,
    leg: &'a str,
    kind: &'static str,
    at: i64,
    took_us: i64,
    sent: String,
    status: Option<i32>,
    verdict: &'static str,
    again_at: Option<i64>,
    reason: Option<String>,
    fault: Option<&'static str>,
    excerpt: String,
}

impl<'a> Tried<'a> {
    fn of(n: i64, attempt: &'a Attempt) -> Self {
        let (again_at, reason) = match &attempt.verdict {
            Verdict::Again(at) => (Some(at.0), None),
            Verdict::GivenUp(why) => (None, Some(without_nul(why))),
            Verdict::Accepted | Verdict::AcceptedAsRepeat => (None, None),
        };
        Self {
            n,
            leg: attempt.leg.as_str(),
            kind: attempt.kind.as_str(),
            at: attempt.at.0,
            took_us: i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX),
            sent: without_nul(&attempt.sent),
            status: attempt.status.map(i32::from),
            verdict: attempt.verdict.as_str(),
            again_at,
            reason,
            fault: attempt.fault.map(Fault::as_str),
            excerpt: without_nul(&attempt.excerpt),
        }
    }
}
