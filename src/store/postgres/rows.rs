//! Turns rows of the database into the types of the store.

use tokio_postgres::Row as PgRow;

use crate::domain::attempt::Attempt;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::store::rows::{attempt, attempt_columns, callback};
use crate::store::sql::{Row, Session};
use crate::store::{CallSummary, State, StoreError, StoredCallback};

const CALLBACKS: &str = "SELECT call, received, url, headers, body FROM callback \
    WHERE call = ANY ($1) ORDER BY call, number";

const ATTEMPTS: &str = concat!(
    "SELECT call, ",
    attempt_columns!(),
    " FROM attempt WHERE call = ANY ($1) ORDER BY call, number"
);

/// The columns that [`read_summary`] reads.
macro_rules! summary {
    () => {
        "call.sid, call.account, CASE WHEN claim IS NULL THEN state ELSE 'claimed' END, \
         effective_at, reason, received, changed, call.cause, \
         call.class"
    };
}
pub(super) use summary;

pub(super) fn read_summary(row: &PgRow) -> Result<CallSummary, StoreError> {
    let row = Row::Postgres(row);
    let state = row.parse(2, State::parse)?;
    let at = row.millis(3)?;
    Ok(CallSummary {
        sid: row.call_sid(0)?,
        account: row.account(1)?,
        state,
        // In a finished call `effective_at` is no due time.
        due: matches!(state, State::Pending | State::Claimed).then_some(at),
        reason: row.get(4)?,
        first_received: row.millis(5)?,
        changed: row.millis(6)?,
        cause: row.parse_optional(7, Cause::parse)?,
        class: row.parse(8, Class::parse)?,
    })
}

/// The callbacks of these calls with the id of their call, in the order of arrival in each call.
pub(super) async fn callbacks_of(
    session: &Session,
    calls: &[i64],
) -> Result<Vec<(i64, StoredCallback)>, StoreError> {
    let rows = session.query(CALLBACKS, &[&calls]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, callback(Row::Postgres(row), 1)?)))
        .collect()
}

/// The attempts of these calls with the id of their call and its `requeue_count` of that time, the
/// oldest first in each call.
pub(super) async fn attempts_of(
    session: &Session,
    calls: &[i64],
) -> Result<Vec<(i64, i64, Attempt)>, StoreError> {
    let rows = session.query(ATTEMPTS, &[&calls]).await?;
    rows.iter()
        .map(|row| {
            let (requeue_count, attempt) = attempt(Row::Postgres(row), 1)?;
            Ok((row.try_get(0)?, requeue_count, attempt))
        })
        .collect()
}

/// Parses a text column.
pub(super) fn text<T>(
    row: &PgRow,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    Row::Postgres(row).parse(column, parse)
}
