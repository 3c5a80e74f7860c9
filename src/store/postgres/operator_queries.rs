//! Queries of operators and background tasks: a call, lists, the purge of old calls, and the
//! correction of times. The path of a callback does not use them.

use tokio_postgres::Row;

use super::rows::{self, read_summary, text};
use crate::clock::Millis;
use crate::store::counters::Counters;
use crate::store::sql::{PostgresValues as Values, Session, Sql};
use crate::store::{
    CallSummary, Expiry, ListFilter, Purged, State, StoreError, StoredCall, audit, removed,
    split_by_requeue,
};
use crate::twilio::CallSid;

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
const CORRECT_TIMES: &str = concat!(
    include_str!("sql/accounts_with_due.sql"),
    include_str!("sql/correct_times.sql")
);

// For the ledger, which counts a removed call in its last class.
const EXPIRE: &str = "UPDATE call SET class = 'expired' WHERE id = ANY ($1) AND class = 'parked'";
/// Removes calls from the search index. They keep their hashes: their rows are removed or merged then.
pub(super) const REMOVE_ADDRESSES: &str = "DELETE FROM address WHERE (hash, call) IN \
    (SELECT unnest(addresses), id FROM call WHERE id = ANY ($1))";
const PURGE_SIDS: &str = include_str!("sql/purge_sids.sql");
const PURGE_CALLBACKS: &str = "DELETE FROM callback WHERE call = ANY ($1)";
const PURGE_ATTEMPTS: &str = "DELETE FROM attempt WHERE call = ANY ($1)";
const PURGE_CALLS: &str = "DELETE FROM call WHERE id = ANY ($1)";

/// The calls with this SID, or with a leg of this SID, one for each account.
pub async fn get_all(session: &Session, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
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

async fn read_call(session: &Session, row: &Row) -> Result<StoredCall, StoreError> {
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

pub async fn list(session: &Session, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
    let query = async |sql, values: Values<'_>| session.query(sql, values).await;
    let rows = run_list(filter, query).await?;
    rows.iter().map(read_summary).collect()
}

/// Opens a cursor on the whole list, whatever its limit, for [`fetch`].
pub async fn open_list(session: &Session, filter: ListFilter) -> Result<(), StoreError> {
    let unlimited = ListFilter {
        limit: usize::MAX,
        ..filter
    };
    let declare = async |sql, values: Values<'_>| session.declare(sql, values).await;
    run_list(unlimited, declare).await
}

/// The next rows of the cursor; none at its end.
pub async fn fetch(session: &Session) -> Result<Vec<CallSummary>, StoreError> {
    let rows = session.query("FETCH 500 FROM found", &[]).await?;
    rows.iter().map(read_summary).collect()
}

async fn run_list<T>(
    filter: ListFilter,
    run: impl AsyncFnOnce(&'static str, Values<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
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
) -> Result<Purged, StoreError> {
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
        audit::append(Sql::Postgres(session), &entry).await?;
    }
    Ok(purged)
}

/// Removes calls, which are remembered.
pub(super) async fn remove(session: &Session, ids: &[i64]) -> Result<(), StoreError> {
    // SIDs first: their legs are found in the callbacks.
    for sql in [
        REMOVE_ADDRESSES,
        PURGE_SIDS,
        PURGE_CALLBACKS,
        PURGE_ATTEMPTS,
        PURGE_CALLS,
    ] {
        session.execute(sql, &[&ids]).await?;
    }
    Ok(())
}

/// See [`Store::correct_times`](crate::store::Store).
pub async fn correct_times(
    session: &Session,
    now: Millis,
    latest: Millis,
    limit: usize,
) -> Result<usize, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let no_account: &[&str] = &[];
    let values: Values<'_> = &[&no_account, &true, &now.0, &latest.0, &limit];
    let rows = session.query(CORRECT_TIMES, values).await?;
    let corrected: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(corrected).unwrap_or_default())
}
