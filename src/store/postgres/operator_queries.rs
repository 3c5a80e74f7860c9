//! Queries of operators and background tasks: a call, the purge of old calls, and the correction of
//! times. The path of a callback does not use them.

use std::collections::HashSet;

use tokio_postgres::Row;

use super::rows::text;
use super::search::{columns, read_calls};
use crate::clock::Millis;
use crate::store::counters::Counters;
use crate::store::sql::{PostgresValues as Values, Session, Sql};
use crate::store::{Expiry, Purged, State, StoreError, StoredCall, audit, removed};
use crate::twilio::CallSid;

// A call's own SID comes before a leg's.
const FIND: &str = concat!(
    columns!(),
    " FROM sid_index JOIN call ON call.id = sid_index.call \
     WHERE sid_index.sid = $1 ORDER BY call.sid <> $1, call.id"
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
    let found = session.query(FIND, &[&sid.as_str()]).await?;
    let mut rows: Vec<&Row> = Vec::new();
    let mut accounts = HashSet::new();
    for row in &found {
        if accounts.insert(row.try_get::<_, &str>(1)?) {
            rows.push(row);
        }
    }
    read_calls(session, &rows).await
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
