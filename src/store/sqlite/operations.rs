//! The table `operation`.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::SqliteStore;
use super::write_tx::WriteTx;
use crate::clock::Millis;
use crate::domain::audit::Act;
use crate::store::operations::{Edited, OperationEdit};
use crate::store::{NewOperation, Operation, OperationBatch, Operations, StoreError};

#[async_trait]
impl Operations for SqliteStore {
    async fn make_operation(
        &self,
        new: NewOperation,
        now: Millis,
    ) -> Result<Operation, StoreError> {
        self.writer
            .write(move |tx| tx.make_operation(&new, now))
            .await
    }

    async fn operations(&self, limit: usize) -> Result<Vec<Operation>, StoreError> {
        self.reader
            .ask(move |reader| latest(&reader.connection, limit))
            .await
    }

    async fn edit_operation(
        &self,
        id: i64,
        edit: OperationEdit,
    ) -> Result<Option<(Operation, Edited)>, StoreError> {
        self.writer
            .write_soon(move |tx| {
                let Some(mut operation) = tx.operation(id)? else {
                    return Ok(None);
                };
                let edited = edit(&mut operation);
                if edited != Edited::No {
                    tx.save_operation(&operation)?;
                }
                if let Edited::WithRow(entry) = &edited {
                    tx.append_audit(entry)?;
                }
                Ok(Some((operation, edited)))
            })
            .await
    }

    async fn carry_out(&self, batch: OperationBatch, now: Millis) -> Result<(), StoreError> {
        self.writer
            .write_soon(move |tx| {
                let operation = tx.operation(batch.operation)?;
                let Some(mut operation) = operation.filter(|of| of.is_next(&batch)) else {
                    return Ok(());
                };
                let Some(changed) = tx.change_calls(&operation, &batch, now)? else {
                    return Ok(());
                };
                let entry = operation.move_on(&batch, changed, now);
                tx.save_operation(&operation)?;
                entry.map_or(Ok(()), |entry| tx.append_audit(&entry))
            })
            .await
    }
}

impl WriteTx {
    fn make_operation(&mut self, new: &NewOperation, now: Millis) -> Result<Operation, StoreError> {
        let sql = "SELECT id, row FROM operation WHERE key = ?1";
        let connection = self.connection();
        let known = connection
            .prepare_cached(sql)?
            .query_row([&new.key], columns);
        if let Some((id, row)) = known.optional()? {
            return Operation::read(id, &row);
        }
        let mut operation = Operation::new(new, now);
        let values = (&new.key, operation.state.as_str(), operation.to_row()?);
        connection
            .prepare_cached("INSERT INTO operation (key, state, row) VALUES (?1, ?2, ?3)")?
            .execute(values)?;
        operation.id = connection.last_insert_rowid();
        let mut entry = operation.entry(Act::OperationMade, new.actor.clone(), now);
        entry.reason.clone_from(&new.reason);
        self.append_audit(&entry)?;
        Ok(operation)
    }

    fn operation(&self, id: i64) -> Result<Option<Operation>, StoreError> {
        let sql = "SELECT id, row FROM operation WHERE id = ?1";
        let found = self
            .connection()
            .prepare_cached(sql)?
            .query_row([id], columns);
        let found = found.optional()?;
        found.map(|(id, row)| Operation::read(id, &row)).transpose()
    }

    fn save_operation(&mut self, operation: &Operation) -> Result<(), StoreError> {
        // The row may have had the subject until now, as that of a cancelled erasure.
        self.has_removed |= operation.erasure.is_some();
        self.connection()
            .prepare_cached("UPDATE operation SET state = ?2, row = ?3 WHERE id = ?1")?
            .execute((operation.id, operation.state.as_str(), operation.to_row()?))?;
        Ok(())
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn latest(connection: &Connection, limit: usize) -> Result<Vec<Operation>, StoreError> {
    let sql = "SELECT id, row FROM operation \
        ORDER BY state NOT IN ('running', 'paused'), id DESC LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for row in statement.query_map([limit], columns)? {
        let (id, row) = row?;
        found.push(Operation::read(id, &row)?);
    }
    Ok(found)
}
