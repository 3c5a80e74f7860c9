//! Hands out calls that are due, to one node at a time, for a lease in the time of the database.

use std::collections::HashMap;
use std::time::Duration;

use super::rows::{self, word};
use super::session::{Session, Trouble};
use crate::clock::Millis;
use crate::store::{BACKLOG, Claimed, Claims, Order, Ticket, Wanted, Whose};
use crate::twilio::{AccountSid, CallSid};

/// Who claims, and whose time counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimant {
    /// Tells the claims of one store from those of others.
    pub node: i64,
    pub leases: LeaseTime,
}

/// Whose time leases are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseTime {
    /// The database's, the same for all nodes, whatever their clocks show.
    Database,
    /// The caller's, which a test turns by hand.
    Caller,
}

/// The accounts asked for that have calls nobody holds: `$1` those meant, `$2` whether all but
/// those. One look into the index for each account, however many calls wait.
macro_rules! whose {
    () => {
        "WITH RECURSIVE every (account) AS ( \
            (SELECT account FROM call WHERE state = 'pending' AND claim IS NULL \
                ORDER BY account LIMIT 1) \
            UNION ALL \
            SELECT (SELECT call.account FROM call WHERE state = 'pending' AND claim IS NULL \
                AND call.account > every.account ORDER BY call.account LIMIT 1) \
            FROM every WHERE every.account IS NOT NULL), \
        whose AS (SELECT account FROM every \
            WHERE account IS NOT NULL AND (account = ANY ($1::text[])) <> $2)"
    };
}
pub(super) use whose;

const NEXT_DUE: &str = concat!(
    whose!(),
    " SELECT min(first.at) FROM whose CROSS JOIN LATERAL \
        (SELECT at FROM call WHERE call.account = whose.account AND state = 'pending' \
            AND claim IS NULL ORDER BY at LIMIT 1) AS first"
);

/// Calls whose lease has ended, then those that are due in `$order`, as far as no other node is
/// about to take them.
macro_rules! claim {
    ($order:literal) => {
        concat!(
            whose!(),
            ", lease AS (SELECT coalesce($5, \
                (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now), \
            expired AS ( \
                SELECT id, lease_end AS at FROM call WHERE claim IS NOT NULL \
                    AND lease_end <= (SELECT now FROM lease) \
                    AND (account = ANY ($1::text[])) <> $2 \
                ORDER BY lease_end, id LIMIT $3 FOR UPDATE SKIP LOCKED), \
            due AS ( \
                SELECT found.id, found.at FROM whose CROSS JOIN LATERAL ( \
                    SELECT id, at FROM call WHERE call.account = whose.account \
                        AND state = 'pending' AND claim IS NULL AND at <= $4 \
                    ORDER BY at ",
            $order,
            ", id ",
            $order,
            " LIMIT $3 FOR UPDATE SKIP LOCKED) AS found), \
            chosen AS ( \
                SELECT id, row_number() OVER () AS place FROM ( \
                    SELECT id FROM (SELECT 0 AS turn, id, at FROM expired \
                        UNION ALL SELECT 1, id, at FROM due) AS found \
                    ORDER BY turn, CASE turn WHEN 0 THEN at END, CASE turn WHEN 0 THEN id END, \
                        at ",
            $order,
            ", id ",
            $order,
            " LIMIT $3) AS ordered) \
            UPDATE call SET claim = $6, node = $7, lease_end = (SELECT now FROM lease) + $8 \
            FROM chosen WHERE call.id = chosen.id \
            RETURNING chosen.place, call.id, call.sid, call.account, call.round, call.planned"
        )
    };
}

const LONGEST_DUE: &str = claim!("ASC");
const FRESHEST: &str = claim!("DESC");

const NUMBER: &str = "SELECT nextval('claim_number')";

const RELEASE: &str = "UPDATE call SET claim = NULL, node = NULL, lease_end = NULL \
    WHERE claim IS NOT NULL AND node = $1";

const HASTEN: &str = "UPDATE call SET at = $3, changed = $3 WHERE id IN ( \
    SELECT id FROM call WHERE state = 'pending' AND claim IS NULL AND attempts > 0 \
        AND at > $3 AND (account = ANY ($1::text[])) <> $2 \
    ORDER BY at LIMIT $4 FOR UPDATE SKIP LOCKED)";

/// Accounts, and whether all but those are meant.
fn asked(whose: &Whose) -> (Vec<&str>, bool) {
    match whose {
        Whose::All => (Vec::new(), true),
        Whose::Only(accounts) => (accounts.iter().map(AccountSid::as_str).collect(), false),
        Whose::AllBut(accounts) => (accounts.iter().map(AccountSid::as_str).collect(), true),
    }
}

pub(super) async fn claim(
    session: &Session,
    claimant: Claimant,
    now: Millis,
    lease: Duration,
    wanted: &Wanted,
) -> Result<Claims, Trouble> {
    let order = match wanted.order {
        Order::FreshFirst if is_backlog(session, now, &wanted.whose).await? => FRESHEST,
        Order::FreshFirst | Order::LongestDueFirst => LONGEST_DUE,
    };
    let (accounts, all_but) = asked(&wanted.whose);
    let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
    let told = match claimant.leases {
        LeaseTime::Database => None,
        LeaseTime::Caller => Some(now.0),
    };
    let number: i64 = match session.query(NUMBER, &[]).await?.first() {
        Some(row) => row.try_get(0)?,
        None => return Err(Trouble::Refused("a claim got no number".to_owned())),
    };
    let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let rows = session
        .query(
            order,
            &[
                &accounts,
                &all_but,
                &limit,
                &now.0,
                &told,
                &number,
                &claimant.node,
                &lease,
            ],
        )
        .await?;
    let mut calls = Vec::with_capacity(rows.len());
    for row in &rows {
        let call = Claimed {
            ticket: Ticket {
                call: row.try_get(1)?,
                claim: number,
                newest_callback: 0,
                round: row.try_get(4)?,
            },
            sid: word(row, 2, |text| CallSid::parse(text).ok())?,
            account: word(row, 3, |text| AccountSid::parse(text).ok())?,
            callbacks: Vec::new(),
            planned: usize::try_from(row.try_get::<_, i64>(5)?).unwrap_or_default(),
            attempts: Vec::new(),
        };
        calls.push((row.try_get::<_, i64>(0)?, call));
    }
    calls.sort_unstable_by_key(|(place, _)| *place);
    let mut calls: Vec<Claimed> = calls.into_iter().map(|(_, call)| call).collect();
    gather(session, &mut calls).await?;
    // Asked for only by a worker that has room left, and so waits for the next call.
    let next_due = if calls.len() < wanted.limit {
        next_due(session, &wanted.whose).await?
    } else {
        None
    };
    Ok(Claims { calls, next_due })
}

/// What is recorded between claim and gathering is handed out too, and counted as such.
async fn gather(session: &Session, calls: &mut [Claimed]) -> Result<(), Trouble> {
    if calls.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = calls.iter().map(|call| call.ticket.call).collect();
    let mut at: HashMap<i64, &mut Claimed> = calls
        .iter_mut()
        .map(|call| (call.ticket.call, call))
        .collect();
    for (id, callback) in rows::callbacks_of(session, &ids).await? {
        if let Some(call) = at.get_mut(&id) {
            call.callbacks.push(callback);
            call.ticket.newest_callback += 1;
        }
    }
    for (id, round, attempt) in rows::attempts_of(session, &ids).await? {
        if let Some(call) = at.get_mut(&id)
            && call.ticket.round == round
        {
            call.attempts.push(attempt);
        }
    }
    Ok(())
}

async fn is_backlog(session: &Session, now: Millis, whose: &Whose) -> Result<bool, Trouble> {
    let oldest = next_due(session, whose).await?;
    Ok(oldest.is_some_and(|oldest| now.since(oldest) > BACKLOG))
}

async fn next_due(session: &Session, whose: &Whose) -> Result<Option<Millis>, Trouble> {
    let (accounts, all_but) = asked(whose);
    let rows = session.query(NEXT_DUE, &[&accounts, &all_but]).await?;
    let due = rows.first().map(|row| row.try_get::<_, Option<i64>>(0));
    Ok(due.transpose()?.flatten().map(Millis))
}

pub(super) async fn hasten(
    session: &Session,
    whose: &Whose,
    now: Millis,
    limit: usize,
) -> Result<usize, Trouble> {
    let (accounts, all_but) = asked(whose);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let hastened = session
        .execute(HASTEN, &[&accounts, &all_but, &now.0, &limit])
        .await?;
    Ok(usize::try_from(hastened).unwrap_or(usize::MAX))
}

/// Frees what a node that stops still holds, so that nobody waits for its leases.
pub(super) async fn release(session: &Session, node: i64) -> Result<(), Trouble> {
    session.execute(RELEASE, &[&node]).await?;
    Ok(())
}
