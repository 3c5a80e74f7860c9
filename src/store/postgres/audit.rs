//! The table `audit`.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::session::{PgError, Session};
use super::{PostgresStore, acts, counters};
use crate::clock::Millis;
use crate::domain::audit::{Actor, AuditEntry, Head, Reason};
use crate::store::audit::{AuditColumns, ChainCheck};
use crate::store::{Acts, AuditFilter, Dismissal, StoreError, StoredAuditRow};
use crate::twilio::CallSid;

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

#[async_trait]
impl Acts for PostgresStore {
    async fn requeue(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Option<Reason>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let sid = sid.clone();
        self.query(async move |session| {
            counters::transaction(session, async |session, changes| {
                acts::requeue(session, changes, &sid, (&actor, reason.as_ref()), now).await
            })
            .await
        })
        .await
    }

    async fn dismiss(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Reason,
        now: Millis,
    ) -> Result<Dismissal, StoreError> {
        let sid = sid.clone();
        self.query(async move |session| {
            counters::transaction(session, async |session, changes| {
                acts::dismiss(session, changes, &sid, (&actor, &reason), now).await
            })
            .await
        })
        .await
    }

    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.query(async move |session| {
            counters::transaction(session, async |session, _| append(session, &entry).await).await
        })
        .await
    }

    async fn audit(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError> {
        self.query(async move |session| Ok(latest(session, &filter).await))
            .await?
    }
}

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

/// See [`Acts::audit`].
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
