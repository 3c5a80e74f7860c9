//! Queries of operators and background tasks: a call, lists, the purge of old calls, and the
//! correction of times. The path of a callback does not use them.

use std::time::Duration;

use tokio_postgres::Row;

use super::addresses;
use super::audit;
use super::rows::{self, read_summary, text};
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::domain::purge_clock::PurgeClock;
use crate::store::counters::Counters;
use crate::store::removed::{self, RemovalCause};
use crate::store::{
    CallSummary, Expiry, ListFilter, Purged, RemovedCall, State, StoredCall, split_by_requeue,
};
use crate::twilio::{AccountSid, CallSid};

// A call's own SID comes before a leg's.
const FIND: &str = concat!(
    "SELECT ",
    rows::summary!(),
    ", call.id, call.requeue_count, call.retry_now_at FROM sid_index JOIN call ON call.id = sid_index.call \
     WHERE sid_index.sid = $1 ORDER BY call.sid <> $1, call.id"
);

const NEWEST: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call ORDER BY id DESC LIMIT $1"
);

// By account, because the index of due calls starts with the account.
const SOONEST_DUE: &str = concat!(
    include_str!("sql/accounts_with_due.sql"),
    "SELECT ",
    rows::summary!(),
    " FROM accounts_with_due CROSS JOIN LATERAL (SELECT * FROM call \
        WHERE call.account = accounts_with_due.account AND state = 'pending' AND claim IS NULL \
        ORDER BY effective_at, id LIMIT $3) AS call \
     ORDER BY effective_at, id LIMIT $3"
);

const NEWEST_CLAIMED: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE claim IS NOT NULL ORDER BY id DESC LIMIT $1"
);

// `state <> 'pending'` is the condition of the partial index.
const LATEST_FINISHED: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE state = $2 AND state <> 'pending' ORDER BY effective_at DESC, id DESC LIMIT $1"
);

const EXPIRED: &str = include_str!("sql/expired.sql");
pub(super) const REMEMBER_REMOVED: &str = include_str!("sql/remember_removed.sql");

// A few at a time: a call has few legs.
const FORGET_REMOVED: &str = "DELETE FROM removed_call WHERE hash = ANY (ARRAY( \
    SELECT hash FROM removed_call WHERE day < $1 AND cause <> 'erased' ORDER BY day LIMIT $2 \
    FOR UPDATE SKIP LOCKED))";

const DEFER: &str = "UPDATE call SET effective_at = $2 WHERE id = $1";
const SET_PURGE_CLOCK: &str = "INSERT INTO purge_clock VALUES (1, $1, $2, $3, $4) \
    ON CONFLICT (id) DO UPDATE SET known = excluded.known, used = excluded.used, \
    boot = excluded.boot, uptime_ms = excluded.uptime_ms";
const CORRECT_TIMES: &str = concat!(
    include_str!("sql/accounts_with_due.sql"),
    include_str!("sql/correct_times.sql")
);

pub(super) const PARKED_BEFORE: &str = "SELECT count(*) FROM call \
    WHERE state = 'parked' AND state <> 'pending' AND effective_at < $1";
pub(super) const DUE_AFTER: &str = "SELECT count(*) FROM call \
    WHERE state = 'pending' AND claim IS NULL AND effective_at > $1";

// For the ledger, which counts a removed call in its last class.
const EXPIRE: &str = "UPDATE call SET class = 'expired' WHERE id = ANY ($1) AND class = 'parked'";
const PURGE_SIDS: &str = include_str!("sql/purge_sids.sql");
const PURGE_CALLBACKS: &str = "DELETE FROM callback WHERE call = ANY ($1)";
const PURGE_ATTEMPTS: &str = "DELETE FROM attempt WHERE call = ANY ($1)";
const PURGE_CALLS: &str = "DELETE FROM call WHERE id = ANY ($1)";

/// The calls with this SID, or with a leg of this SID, one for each account.
pub(super) async fn get_all(session: &Session, sid: &CallSid) -> Result<Vec<StoredCall>, PgError> {
    let mut calls: Vec<StoredCall> = Vec::new();
    for row in session.query(FIND, &[&sid.as_str()]).await? {
        let call = read_call(session, &row).await?;
        let account = &call.summary.account;
        if calls.iter().all(|known| known.summary.account != *account) {
            calls.push(call);
        }
    }
    Ok(calls)
}

async fn read_call(session: &Session, row: &Row) -> Result<StoredCall, PgError> {
    let (id, requeue_count): (i64, i64) = (row.try_get(9)?, row.try_get(10)?);
    let callbacks = rows::callbacks_of(session, &[id]).await?;
    let attempts = rows::attempts_of(session, &[id]).await?.into_iter();
    let attempts = attempts.map(|(_, made_at, attempt)| (made_at, attempt));
    let (attempts, attempts_before_requeue) = split_by_requeue(attempts.collect(), requeue_count);
    Ok(StoredCall {
        summary: read_summary(row)?,
        callbacks: callbacks
            .into_iter()
            .map(|(_, callback)| callback)
            .collect(),
        attempts,
        attempts_before_requeue,
        retry_now_at: row.try_get::<_, Option<i64>>(11)?.map(Millis),
    })
}

pub(super) async fn list(
    session: &Session,
    filter: ListFilter,
) -> Result<Vec<CallSummary>, PgError> {
    let query = async |sql, values: Values<'_>| session.query(sql, values).await;
    let rows = run_list(filter, query).await?;
    rows.iter().map(read_summary).collect()
}

/// Opens a cursor on the whole list, whatever its limit, for [`fetch_found`].
pub(super) async fn find(session: &Session, filter: ListFilter) -> Result<(), PgError> {
    let unlimited = ListFilter {
        limit: usize::MAX,
        ..filter
    };
    let declare = async |sql, values: Values<'_>| session.declare(sql, values).await;
    run_list(unlimited, declare).await
}

/// The next rows of the cursor; none at its end.
pub(super) async fn fetch_found(session: &Session) -> Result<Vec<CallSummary>, PgError> {
    let rows = session.query("FETCH 500 FROM found", &[]).await?;
    rows.iter().map(read_summary).collect()
}

async fn run_list<T>(
    filter: ListFilter,
    run: impl AsyncFnOnce(&'static str, Values<'_>) -> Result<T, PgError>,
) -> Result<T, PgError> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    match filter.state {
        None => run(NEWEST, &[&limit]).await,
        Some(State::Pending) => {
            let no_account: &[&str] = &[];
            let all_but = true;
            run(SOONEST_DUE, &[&no_account, &all_but, &limit]).await
        }
        Some(State::Claimed) => run(NEWEST_CLAIMED, &[&limit]).await,
        Some(state) => run(LATEST_FINISHED, &[&limit, &state.as_str()]).await,
    }
}

/// Removes up to `limit` calls after their retention; returns how many.
pub(super) async fn purge(
    session: &Session,
    changes: &mut Counters,
    expiry: Expiry,
    limit: usize,
) -> Result<Purged, PgError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (finished, parked) = (expiry.delivered_and_skipped.0, expiry.parked.0);
    // Ten per call, because a call has few legs: so this keeps up with the SIDs that purges add.
    session
        .execute(
            FORGET_REMOVED,
            &[&removed::day(expiry.parked), &limit.saturating_mul(10)],
        )
        .await?;
    let rows = session
        .query(EXPIRED, &[&finished, &parked, &limit])
        .await?;
    let mut purged = Purged::default();
    let mut ids: Vec<i64> = Vec::with_capacity(rows.len());
    for row in &rows {
        let (id, state) = (row.try_get(0)?, text(row, 1, State::parse)?);
        let cutoff = match state {
            State::Parked => expiry.parked,
            _ => expiry.delivered_and_skipped,
        };
        if let Some(reported) = removed::reported_after(&row.try_get::<_, Vec<_>>(2)?, cutoff) {
            session.execute(DEFER, &[&id, &reported.0]).await?;
            purged.deferred += 1;
        } else {
            ids.push(id);
            changes.purge_call(state);
            purged.add(state);
        }
    }
    if ids.is_empty() {
        return Ok(purged);
    }
    let by_age = None::<&str>;
    session
        .execute(
            REMEMBER_REMOVED,
            &[&ids, &removed::day(expiry.now), &by_age],
        )
        .await?;
    session.execute(EXPIRE, &[&ids]).await?;
    remove(session, &ids).await?;
    if let Some(entry) = purged.audit_entry(expiry.now) {
        audit::append(session, &entry).await?;
    }
    Ok(purged)
}

/// Removes calls, which are remembered.
pub(super) async fn remove(session: &Session, ids: &[i64]) -> Result<(), PgError> {
    // SIDs first: their legs are found in the callbacks.
    for sql in [
        addresses::REMOVE,
        PURGE_SIDS,
        PURGE_CALLBACKS,
        PURGE_ATTEMPTS,
        PURGE_CALLS,
    ] {
        session.execute(sql, &[&ids]).await?;
    }
    Ok(())
}

/// See [`crate::store::Store::purge_clock`].
pub(super) async fn purge_clock(session: &Session) -> Result<Option<PurgeClock>, PgError> {
    let sql = "SELECT known, used, boot, uptime_ms FROM purge_clock";
    let rows = session.query(sql, &[]).await?;
    let read = |row: &Row| {
        Ok(PurgeClock {
            known: Millis(row.try_get(0)?),
            used: Millis(row.try_get(1)?),
            boot: row.try_get(2)?,
            uptime: Duration::from_millis(row.try_get::<_, i64>(3)?.unsigned_abs()),
        })
    };
    rows.first().map(read).transpose()
}

/// See [`crate::store::Store::set_purge_clock`].
pub(super) async fn set_purge_clock(session: &Session, clock: &PurgeClock) -> Result<(), PgError> {
    let uptime_ms = i64::try_from(clock.uptime.as_millis()).unwrap_or(i64::MAX);
    let values: Values<'_> = &[&clock.known.0, &clock.used.0, &clock.boot, &uptime_ms];
    session.execute(SET_PURGE_CLOCK, values).await?;
    Ok(())
}

/// See [`crate::store::Store::correct_times`].
pub(super) async fn correct_times(
    session: &Session,
    now: Millis,
    latest: Millis,
    limit: usize,
) -> Result<usize, PgError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let no_account: &[&str] = &[];
    let values: Values<'_> = &[&no_account, &true, &now.0, &latest.0, &limit];
    let corrected = count(session, CORRECT_TIMES, values).await?;
    Ok(usize::try_from(corrected).unwrap_or(usize::MAX))
}

/// The number that a query returns.
pub(super) async fn count(
    session: &Session,
    sql: &'static str,
    values: Values<'_>,
) -> Result<u64, PgError> {
    let rows = session.query(sql, values).await?;
    let counted: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(counted.unsigned_abs())
}

/// See [`crate::store::ReadStore::removed`].
pub(super) async fn removed(session: &Session, sid: &CallSid) -> Result<Vec<RemovedCall>, PgError> {
    let mut found = Vec::new();
    let accounts = "SELECT DISTINCT account FROM removed_call";
    for row in session.query(accounts, &[]).await? {
        let account = text(&row, 0, |text| AccountSid::parse(text).ok())?;
        let hash = removed::sid_hash(&account, sid);
        let sql = "SELECT day, cause, reason FROM removed_call WHERE hash = $1";
        for row in session.query(sql, &[&hash.as_slice()]).await? {
            found.push(RemovedCall {
                account: account.clone(),
                day: removed::start_of(row.try_get(0)?),
                cause: text(&row, 1, RemovalCause::parse)?,
                reason: row.try_get(2)?,
            });
        }
    }
    Ok(found)
}
