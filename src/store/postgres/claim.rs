//! Hands out calls that are due, to one node at a time, for a lease in the time of the database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio_postgres::Row;

use super::rows::{self, word};
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::{
    AccountFilter, BACKLOG, ClaimRequest, Claimed, ClaimedCalls, ListOrder, Ticket,
};
use crate::twilio::{AccountSid, CallSid};

/// Who claims, and whose time counts.
#[derive(Debug)]
pub(super) struct NodeClaims {
    /// Tells the claims of one store from those of others.
    node: i64,
    leases: LeaseClock,
    /// The number of the last claim that was answered with calls.
    heard: AtomicI64,
    /// Whether a claim may have been made whose answer was not heard.
    is_unsure: AtomicBool,
}

/// Whose time leases are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// The database's, the same for all nodes, whatever their clocks show.
    Database,
    /// The caller's, which a test turns by hand.
    Caller,
}

/// The accounts asked for that have calls nobody holds, each with the time of its first: `$1` those
/// meant, `$2` whether all but those. One look into the index for each account, however many calls
/// wait.
macro_rules! accounts_with_due {
    () => {
        "WITH RECURSIVE every (account, effective_at) AS ( \
            (SELECT account, effective_at FROM call WHERE state = 'pending' AND claim IS NULL \
                ORDER BY account, effective_at LIMIT 1) \
            UNION ALL \
            SELECT next.account, next.effective_at FROM every CROSS JOIN LATERAL ( \
                SELECT account, effective_at FROM call WHERE state = 'pending' AND claim IS NULL \
                    AND call.account > every.account ORDER BY account, effective_at LIMIT 1) AS next), \
        whose AS MATERIALIZED ( \
            SELECT account, effective_at AS oldest FROM every WHERE (account = ANY ($1::text[])) <> $2)"
    };
}
pub(super) use accounts_with_due;

/// Takes calls whose lease has ended, then those that are due, as far as no other node is about to
/// take them: those due longest first or, where `$3` asks for it and one has been due since before
/// `$4`, those that fell due last. All with their callbacks, which are those of the moment the
/// statement began: one that was recorded while a call was waited for is not among them, and keeps
/// the call from coming to rest.
///
/// The one row that is always there tells when the next falls due. What is said of the plan of a
/// record holds here too.
const CLAIM: &str = concat!(
    accounts_with_due!(),
    ", turn AS MATERIALIZED ( \
        SELECT nextval('claim_number') AS number, \
            coalesce($7, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now, \
            $3 AND coalesce((SELECT min(oldest) FROM whose) < $4, false) AS is_backlog), \
    expired AS ( \
        SELECT id, lease_end FROM call WHERE claim IS NOT NULL \
            AND lease_end <= (SELECT now FROM turn) AND (account = ANY ($1::text[])) <> $2 \
        ORDER BY lease_end, id LIMIT $5 FOR UPDATE SKIP LOCKED), \
    longest AS ( \
        SELECT due.id, due.effective_at FROM whose CROSS JOIN LATERAL ( \
            SELECT id, effective_at FROM call WHERE call.account = whose.account AND state = 'pending' \
                AND claim IS NULL AND effective_at <= $6 AND NOT (SELECT is_backlog FROM turn) \
            ORDER BY effective_at, id LIMIT $5 FOR UPDATE SKIP LOCKED) AS due), \
    freshest AS ( \
        SELECT due.id, due.effective_at FROM whose CROSS JOIN LATERAL ( \
            SELECT id, effective_at FROM call WHERE call.account = whose.account AND state = 'pending' \
                AND claim IS NULL AND effective_at <= $6 AND (SELECT is_backlog FROM turn) \
            ORDER BY effective_at DESC, id DESC LIMIT $5 FOR UPDATE SKIP LOCKED) AS due), \
    chosen AS ( \
        SELECT id, row_number() OVER (ORDER BY part, rank, tie) AS place FROM ( \
            SELECT 0 AS part, lease_end AS rank, id AS tie, id FROM expired \
            UNION ALL SELECT 1, effective_at, id, id FROM longest \
            UNION ALL SELECT 1, -effective_at, -id, id FROM freshest) AS found \
        ORDER BY place LIMIT $5), \
    claimed AS ( \
        UPDATE call SET claim = turn.number, node = $8, lease_end = turn.now + $9 \
        FROM chosen CROSS JOIN turn WHERE call.id = chosen.id \
            AND call.id = ANY (ARRAY(SELECT id FROM chosen)) \
        RETURNING chosen.place, call.id, call.claim, call.sid, call.account, \
            call.requeue_count, call.planned_callbacks, call.attempts) \
    SELECT next.due, claimed.id, claim, sid, account, requeue_count, planned_callbacks, \
        attempts, callback.received, url, headers, body \
    FROM (SELECT min(later.effective_at) AS due FROM whose CROSS JOIN LATERAL ( \
        SELECT effective_at FROM call WHERE call.account = whose.account AND state = 'pending' \
            AND claim IS NULL AND effective_at > $6 ORDER BY effective_at LIMIT 1) AS later) AS next \
    LEFT JOIN claimed ON true \
    LEFT JOIN LATERAL (SELECT number, received, url, headers, body FROM callback \
        WHERE callback.call = claimed.id OFFSET 0) AS callback ON true \
    ORDER BY place, callback.number"
);

const RELEASE: &str = "UPDATE call SET claim = NULL, node = NULL, lease_end = NULL \
    WHERE claim IS NOT NULL AND node = $1 AND claim > $2";

const RETRY_NOW: &str = "UPDATE call SET effective_at = $3, changed = $3 WHERE id IN ( \
    SELECT id FROM call WHERE state = 'pending' AND claim IS NULL AND attempts > 0 \
        AND effective_at > $3 AND (account = ANY ($1::text[])) <> $2 \
    ORDER BY effective_at LIMIT $4 FOR UPDATE SKIP LOCKED)";

/// Accounts, and whether all but those are meant.
fn asked(whose: &AccountFilter) -> (Vec<&str>, bool) {
    match whose {
        AccountFilter::All => (Vec::new(), true),
        AccountFilter::Only(accounts) => (accounts.iter().map(AccountSid::as_str).collect(), false),
        AccountFilter::AllBut(accounts) => {
            (accounts.iter().map(AccountSid::as_str).collect(), true)
        }
    }
}

impl NodeClaims {
    pub fn new(leases: LeaseClock) -> Self {
        Self {
            node: fastrand::i64(..),
            leases,
            heard: AtomicI64::default(),
            is_unsure: AtomicBool::default(),
        }
    }

    /// One claim after the other. What one took whose answer was lost is freed first: nobody sends
    /// it, and it would wait for the end of its lease.
    pub async fn claim(
        &self,
        session: &Session,
        now: Millis,
        lease: Duration,
        wanted: &ClaimRequest,
    ) -> Result<ClaimedCalls, PgError> {
        if self.is_unsure.load(Ordering::Relaxed) {
            self.release_after(session, self.heard.load(Ordering::Relaxed))
                .await?;
        }
        self.is_unsure.store(true, Ordering::Relaxed);
        let claims = claim(session, self, now, lease, wanted).await?;
        if let Some(call) = claims.calls.first() {
            self.heard.store(call.ticket.claim, Ordering::Relaxed);
        }
        self.is_unsure.store(false, Ordering::Relaxed);
        Ok(claims)
    }

    /// Frees what a node that stops still holds, so that nobody waits for its leases.
    pub async fn release(&self, session: &Session) -> Result<(), PgError> {
        self.release_after(session, 0).await
    }

    async fn release_after(&self, session: &Session, claim: i64) -> Result<(), PgError> {
        session.execute(RELEASE, &[&self.node, &claim]).await?;
        Ok(())
    }
}

async fn claim(
    session: &Session,
    claimant: &NodeClaims,
    now: Millis,
    lease: Duration,
    wanted: &ClaimRequest,
) -> Result<ClaimedCalls, PgError> {
    let (accounts, all_but) = asked(&wanted.whose);
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let told = match claimant.leases {
        LeaseClock::Database => None,
        LeaseClock::Caller => Some(now.0),
    };
    let values: Values<'_> = &[
        &accounts,
        &all_but,
        &(wanted.order == ListOrder::FreshFirst),
        &now.minus(BACKLOG).0,
        &limit,
        &now.0,
        &told,
        &claimant.node,
        &i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
    ];
    let rows = session.query(CLAIM, values).await?;
    let mut calls = read(&rows)?;
    if calls.iter().any(|(_, tried)| *tried) {
        add_attempts(session, &mut calls).await?;
    }
    let next_due = match rows.first() {
        // Asked for only by a worker that has room left, and so waits for the next call.
        Some(row) if calls.len() < wanted.limit => row.try_get::<_, Option<i64>>(0)?.map(Millis),
        _ => None,
    };
    let calls = calls.into_iter().map(|(call, _)| call).collect();
    Ok(ClaimedCalls { calls, next_due })
}

/// The calls in the rows of [`CLAIM`], and whether there are attempts of each.
fn read(rows: &[Row]) -> Result<Vec<(Claimed, bool)>, PgError> {
    let mut calls: Vec<(Claimed, bool)> = Vec::new();
    for row in rows {
        let Some(id) = row.try_get::<_, Option<i64>>(1)? else {
            continue;
        };
        if calls.last().is_none_or(|(call, _)| call.ticket.call != id) {
            let call = Claimed {
                ticket: Ticket {
                    call: id,
                    claim: row.try_get(2)?,
                    newest_callback: 0,
                    requeue_count: row.try_get(5)?,
                },
                sid: word(row, 3, |text| CallSid::parse(text).ok())?,
                account: word(row, 4, |text| AccountSid::parse(text).ok())?,
                callbacks: Vec::new(),
                planned_callbacks: usize::try_from(row.try_get::<_, i64>(6)?).unwrap_or_default(),
                attempts: Vec::new(),
            };
            calls.push((call, row.try_get::<_, i64>(7)? > 0));
        }
        if let Some((call, _)) = calls.last_mut() {
            call.callbacks.push(rows::callback(row, 8)?);
            call.ticket.newest_callback += 1;
        }
    }
    Ok(calls)
}

async fn add_attempts(session: &Session, calls: &mut [(Claimed, bool)]) -> Result<(), PgError> {
    let ids: Vec<i64> = calls.iter().map(|(call, _)| call.ticket.call).collect();
    let mut at: HashMap<i64, &mut Claimed> = calls
        .iter_mut()
        .map(|(call, _)| (call.ticket.call, call))
        .collect();
    for (id, round, attempt) in rows::attempts_of(session, &ids).await? {
        if let Some(call) = at.get_mut(&id)
            && call.ticket.requeue_count == round
        {
            call.attempts.push(attempt);
        }
    }
    Ok(())
}

pub(super) async fn retry_now(
    session: &Session,
    whose: &AccountFilter,
    now: Millis,
    limit: usize,
) -> Result<usize, PgError> {
    let (accounts, all_but) = asked(whose);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let hastened = session
        .execute(RETRY_NOW, &[&accounts, &all_but, &now.0, &limit])
        .await?;
    Ok(usize::try_from(hastened).unwrap_or(usize::MAX))
}
