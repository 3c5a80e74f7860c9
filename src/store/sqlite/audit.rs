//! The table `audit`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::SqliteStore;
use super::write_tx::WriteTx;
use crate::clock::Millis;
use crate::domain::audit::{Actor, AuditEntry, Head, Reason};
use crate::store::audit::{AuditColumns, ChainCheck};
use crate::store::{Acts, AuditFilter, Dismissal, ReadStore, StoreError, StoredAuditRow};
use crate::twilio::CallSid;

#[async_trait]
impl Acts for SqliteStore {
    async fn requeue(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Option<Reason>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let sid = sid.clone();
        self.writer
            .write(move |tx| tx.requeue(&sid, (&actor, reason.as_ref()), now))
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
        self.writer
            .write(move |tx| tx.dismiss(&sid, &actor, &reason, now))
            .await
    }

    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.writer.write(move |tx| tx.append_audit(&entry)).await
    }

    async fn audit(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError> {
        self.reader.ask(move |reader| reader.audit(&filter)).await
    }
}

impl WriteTx {
    /// Appends a row to the log, in the open transaction.
    pub(super) fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        let last = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
        let head = |row: &Row<'_>| {
            let (number, hash) = (row.get(0)?, row.get(1)?);
            Ok(Head { number, hash })
        };
        let connection = self.connection();
        let head = connection.prepare_cached(last)?.query_row([], head);
        let (row, head) = head.optional()?.unwrap_or_default().chain(entry);
        connection
            .prepare_cached("INSERT INTO audit (number, row, hash) VALUES (?1, ?2, ?3)")?
            .execute((head.number, row, head.hash))?;
        Ok(())
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<AuditColumns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

/// See [`Acts::audit`].
pub(super) fn latest(
    connection: &Connection,
    filter: &AuditFilter,
) -> Result<Vec<StoredAuditRow>, StoreError> {
    let sql = "SELECT number, row, hash FROM audit WHERE number < ?1 ORDER BY number DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([filter.before.unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while found.len() < filter.limit
        && let Some(row) = rows.next()?
    {
        found.extend(filter.read(columns(row)?)?);
    }
    Ok(found)
}

/// A sentence for the first row that does not match.
pub(super) fn problem(connection: &Connection) -> Result<Option<String>, StoreError> {
    let mut statement =
        connection.prepare("SELECT number, row, hash FROM audit ORDER BY number")?;
    let mut check = ChainCheck::default();
    for row in statement.query_map([], columns)? {
        check.follow(&row?);
    }
    Ok(check.problem())
}
