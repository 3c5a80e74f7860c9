//! What people ask for: a call, lists, a requeue, and what is removed after its time.

use super::claim::accounts_with_due;
use super::counters::Counters;
use super::rows::{self, read_summary, word};
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::due_of_requeued;
use crate::store::{CallSummary, Expiry, ListFilter, State, StoredCall};
use crate::twilio::CallSid;

const FIND: &str = concat!(
    "SELECT ",
    rows::summary!(),
    ", call.id, call.requeue_count FROM sid_index JOIN call ON call.id = sid_index.call \
     WHERE sid_index.sid = $1 \
     ORDER BY call.sid <> $1, call.id LIMIT 1"
);

const NEWEST: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call ORDER BY id DESC LIMIT $1"
);

const SOONEST_DUE: &str = concat!(
    accounts_with_due!(),
    " SELECT ",
    rows::summary!(),
    " FROM whose CROSS JOIN LATERAL (SELECT * FROM call WHERE call.account = whose.account \
        AND state = 'pending' AND claim IS NULL ORDER BY effective_at, id LIMIT $3) AS call \
     ORDER BY effective_at, id LIMIT $3"
);

const NEWEST_CLAIMED: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE claim IS NOT NULL ORDER BY id DESC LIMIT $1"
);

const LATEST_AT_REST: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE state = $2 AND state <> 'pending' ORDER BY effective_at DESC, id DESC LIMIT $1"
);

/// A claimed call stays so, and its settlement sees the later round.
const REQUEUE: &str = "WITH found AS MATERIALIZED ( \
        SELECT call.id, call.state FROM sid_index JOIN call ON call.id = sid_index.call \
            AND call.callbacks > 0 \
        WHERE sid_index.sid = $1 ORDER BY call.sid <> $1, call.id LIMIT 1 FOR UPDATE OF call) \
    UPDATE call SET requeue_count = requeue_count + 1, state = 'pending', reason = NULL, \
        changed = CASE WHEN claim IS NULL THEN $2 ELSE changed END, \
        effective_at = CASE WHEN claim IS NOT NULL THEN effective_at \
            WHEN call.state = 'pending' THEN least(effective_at, $3) ELSE $3 END \
    FROM found WHERE call.id = found.id RETURNING found.state";

const EXPIRED: &str = "SELECT id, state FROM call WHERE id IN ( \
        SELECT id FROM ( \
            SELECT * FROM (SELECT id, effective_at FROM call WHERE state = 'delivered' \
                AND state <> 'pending' AND effective_at < $1 ORDER BY effective_at, id LIMIT $3) AS delivered \
            UNION ALL SELECT * FROM (SELECT id, effective_at FROM call WHERE state = 'skipped' \
                AND state <> 'pending' AND effective_at < $1 ORDER BY effective_at, id LIMIT $3) AS skipped \
            UNION ALL SELECT * FROM (SELECT id, effective_at FROM call WHERE state = 'parked' \
                AND state <> 'pending' AND effective_at < $2 ORDER BY effective_at, id LIMIT $3) AS parked) AS expired \
        ORDER BY effective_at, id LIMIT $3) \
    AND state <> 'pending' AND effective_at < CASE state WHEN 'parked' THEN $2 ELSE $1 END \
    ORDER BY id FOR UPDATE SKIP LOCKED";

const REMOVE_NAMES: &str = "DELETE FROM sid_index USING ( \
        SELECT callback.leg AS sid, call.account, call.id FROM callback \
            JOIN call ON call.id = callback.call WHERE call.id = ANY ($1) \
        UNION SELECT sid, account, id FROM call WHERE id = ANY ($1)) AS gone \
    WHERE sid_index.sid = gone.sid AND sid_index.account = gone.account AND sid_index.call = gone.id";

const REMOVE_CALLBACKS: &str = "DELETE FROM callback WHERE call = ANY ($1)";
const REMOVE_ATTEMPTS: &str = "DELETE FROM attempt WHERE call = ANY ($1)";
const REMOVE_CALLS: &str = "DELETE FROM call WHERE id = ANY ($1)";

/// The call that `sid` names, or of which it names a leg.
pub(super) async fn get(session: &Session, sid: &CallSid) -> Result<Option<StoredCall>, PgError> {
    let rows = session.query(FIND, &[&sid.as_str()]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (id, round): (i64, i64) = (row.try_get(7)?, row.try_get(8)?);
    let callbacks = rows::callbacks_of(session, &[id]).await?;
    let attempts = rows::attempts_of(session, &[id]).await?;
    Ok(Some(StoredCall {
        summary: read_summary(row)?,
        callbacks: callbacks
            .into_iter()
            .map(|(_, callback)| callback)
            .collect(),
        attempts_before_requeue: attempts.iter().filter(|(_, made, _)| *made < round).count(),
        attempts: attempts
            .into_iter()
            .map(|(_, _, attempt)| attempt)
            .collect(),
    }))
}

pub(super) async fn list(
    session: &Session,
    filter: ListFilter,
) -> Result<Vec<CallSummary>, PgError> {
    let query = async |sql, values: Values<'_>| session.query(sql, values).await;
    let rows = listed(filter, query).await?;
    rows.iter().map(read_summary).collect()
}

/// Has the server keep the whole list, whatever the limit, for [`some_found`].
pub(super) async fn find(session: &Session, filter: ListFilter) -> Result<(), PgError> {
    let whole = ListFilter {
        limit: usize::MAX,
        ..filter
    };
    let declare = async |sql, values: Values<'_>| session.declare(sql, values).await;
    listed(whole, declare).await
}

/// The next of what was found; none at its end.
pub(super) async fn some_found(session: &Session) -> Result<Vec<CallSummary>, PgError> {
    let rows = session.query("FETCH 500 FROM found", &[]).await?;
    rows.iter().map(read_summary).collect()
}

async fn listed<T>(
    filter: ListFilter,
    ask: impl AsyncFnOnce(&'static str, Values<'_>) -> Result<T, PgError>,
) -> Result<T, PgError> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    match filter.state {
        None => ask(NEWEST, &[&limit]).await,
        Some(State::Pending) => {
            let everybody: [&str; 0] = [];
            ask(SOONEST_DUE, &[&&everybody[..], &true, &limit]).await
        }
        Some(State::Claimed) => ask(NEWEST_CLAIMED, &[&limit]).await,
        Some(state) => ask(LATEST_AT_REST, &[&limit, &state.as_str()]).await,
    }
}

pub(super) async fn requeue(
    session: &Session,
    tally: &mut Counters,
    sid: &CallSid,
    now: Millis,
) -> Result<bool, PgError> {
    let values: Values<'_> = &[&sid.as_str(), &now.0, &due_of_requeued(now).0];
    let rows = session.query(REQUEUE, values).await?;
    for row in &rows {
        tally.moves(word(row, 0, State::parse)?, State::Pending);
    }
    Ok(!rows.is_empty())
}

pub(super) async fn purge(
    session: &Session,
    tally: &mut Counters,
    expiry: Expiry,
    limit: usize,
) -> Result<usize, PgError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (rested, parked) = (expiry.delivered_and_skipped.0, expiry.parked.0);
    let rows = session.query(EXPIRED, &[&rested, &parked, &limit]).await?;
    let mut ids: Vec<i64> = Vec::with_capacity(rows.len());
    for row in &rows {
        ids.push(row.try_get(0)?);
        tally.add(word(row, 1, State::parse)?, -1);
        tally.purged += 1;
    }
    if ids.is_empty() {
        return Ok(0);
    }
    for sql in [
        REMOVE_NAMES,
        REMOVE_CALLBACKS,
        REMOVE_ATTEMPTS,
        REMOVE_CALLS,
    ] {
        session.execute(sql, &[&ids]).await?;
    }
    Ok(ids.len())
}
