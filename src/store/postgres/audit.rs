//! The table `audit`.

use tokio_postgres::Row;

use super::session::{PgError, Session};
use crate::domain::audit::{AuditEntry, Head};
use crate::store::audit::{AuditColumns, ChainCheck};
use crate::store::{AuditFilter, StoreError, StoredAuditRow};

/// Advisory lock that orders the rows of all nodes; `TwAu` in ASCII.
const LOCK: i64 = 0x5477_4175;

/// Rows that one query reads.
const PART: i64 = 500;

const LAST: &str = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
const APPEND: &str = "INSERT INTO audit (number, row, hash) VALUES ($1, $2, $3)";
const BEFORE: &str =
    "SELECT number, row, hash FROM audit WHERE number < $1 ORDER BY number DESC LIMIT $2";
const AFTER: &str =
    "SELECT number, row, hash FROM audit WHERE number > $1 ORDER BY number LIMIT $2";

/// Appends a row to the log, in the open transaction. Other transactions with a row wait for its end, so
/// it comes last.
pub(super) async fn append(session: &Session, entry: &AuditEntry) -> Result<(), PgError> {
    session
        .query("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    // A statement of its own, so that it sees the row of the transaction that had the lock before.
    let last = session.query(LAST, &[]).await?;
    let head = |row: &Row| {
        let (number, hash) = (row.try_get(0)?, row.try_get(1)?);
        Ok::<_, PgError>(Head { number, hash })
    };
    let head = last.first().map(head).transpose()?.unwrap_or_default();
    let (row, head) = head.chain(entry);
    session
        .execute(APPEND, &[&head.number, &row, &head.hash])
        .await?;
    Ok(())
}

fn columns(row: &Row) -> Result<AuditColumns, PgError> {
    Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
}

/// See [`Acts::audit`](crate::store::Acts::audit).
pub(super) async fn latest(
    session: &Session,
    filter: &AuditFilter,
) -> Result<Vec<StoredAuditRow>, StoreError> {
    let mut found = Vec::new();
    let mut before = filter.before.unwrap_or(i64::MAX);
    loop {
        // In parts, because most filters are met early.
        let rows = session.query(BEFORE, &[&before, &PART]).await?;
        for row in &rows {
            if found.len() == filter.limit {
                return Ok(found);
            }
            let columns = columns(row)?;
            before = columns.0;
            found.extend(filter.read(columns)?);
        }
        if rows.is_empty() {
            return Ok(found);
        }
    }
}

/// A sentence for the first row that does not match.
pub(super) async fn problem(session: &Session) -> Result<Option<String>, PgError> {
    let mut check = ChainCheck::default();
    let mut after = i64::MIN;
    loop {
        let rows = session.query(AFTER, &[&after, &PART]).await?;
        for row in &rows {
            let columns = columns(row)?;
            after = columns.0;
            check.follow(&columns);
        }
        if rows.is_empty() {
            return Ok(check.problem());
        }
    }
}
