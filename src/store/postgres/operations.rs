//! The table `operation`.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::session::{PgError, Session};
use super::{PostgresStore, acts, audit, counters};
use crate::clock::Millis;
use crate::domain::audit::Act;
use crate::store::operations::{Edited, OperationEdit};
use crate::store::{NewOperation, Operation, OperationBatch, Operations, StoreError};

const WITH_KEY: &str = "SELECT id, row FROM operation WHERE key = $1";
const LOCK: &str = "SELECT id, row FROM operation WHERE id = $1 FOR UPDATE";
const INSERT: &str = "INSERT INTO operation (key, state, row) VALUES ($1, $2, $3) RETURNING id";
const SAVE: &str = "UPDATE operation SET state = $2, row = $3 WHERE id = $1";
const LATEST: &str = "SELECT id, row FROM operation \
    ORDER BY state NOT IN ('running', 'paused'), id DESC LIMIT $1";

#[async_trait]
impl Operations for PostgresStore {
    async fn make_operation(
        &self,
        new: NewOperation,
        now: Millis,
    ) -> Result<Operation, StoreError> {
        self.query(async move |session| {
            counters::transaction(session, async |session, _| make(session, &new, now).await).await
        })
        .await
    }

    async fn operations(&self, limit: usize) -> Result<Vec<Operation>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(async move |session| {
            let rows = session.query(LATEST, &[&limit]).await?;
            rows.iter().map(read).collect()
        })
        .await
    }

    async fn edit_operation(
        &self,
        id: i64,
        edit: OperationEdit,
    ) -> Result<Option<(Operation, Edited)>, StoreError> {
        self.query(async move |session| {
            counters::transaction(session, async |session, _| {
                let Some(mut operation) = lock(session, id).await? else {
                    return Ok(None);
                };
                let edited = edit(&mut operation);
                if edited != Edited::No {
                    save(session, &operation).await?;
                }
                if let Edited::WithRow(entry) = &edited {
                    audit::append(session, entry).await?;
                }
                Ok(Some((operation, edited)))
            })
            .await
        })
        .await
    }

    async fn carry_out(&self, batch: OperationBatch, now: Millis) -> Result<(), StoreError> {
        self.query(async move |session| {
            counters::transaction(session, async |session, changes| {
                let operation = lock(session, batch.operation).await?;
                let Some(mut operation) = operation.filter(|of| of.is_next(&batch)) else {
                    return Ok(());
                };
                let changed = acts::change_calls(session, changes, &operation, &batch, now).await?;
                let Some(changed) = changed else {
                    return Ok(());
                };
                let entry = operation.move_on(&batch, changed, now);
                save(session, &operation).await?;
                match entry {
                    Some(entry) => audit::append(session, &entry).await,
                    None => Ok(()),
                }
            })
            .await
        })
        .await
    }
}

async fn make(session: &Session, new: &NewOperation, now: Millis) -> Result<Operation, PgError> {
    if let Some(row) = session.query(WITH_KEY, &[&new.key]).await?.first() {
        return read(row);
    }
    let mut operation = Operation::new(new, now);
    let (state, row) = (operation.state.as_str(), to_row(&operation)?);
    // If another node inserts the key first, this is a conflict, and the operation starts over.
    let rows = session.query(INSERT, &[&new.key, &state, &row]).await?;
    if let [row] = &rows[..] {
        operation.id = row.try_get(0)?;
    }
    let mut entry = operation.entry(Act::OperationMade, new.actor.clone(), now);
    entry.reason.clone_from(&new.reason);
    audit::append(session, &entry).await?;
    Ok(operation)
}

async fn lock(session: &Session, id: i64) -> Result<Option<Operation>, PgError> {
    let rows = session.query(LOCK, &[&id]).await?;
    rows.first().map(read).transpose()
}

async fn save(session: &Session, operation: &Operation) -> Result<(), PgError> {
    let (state, row) = (operation.state.as_str(), to_row(operation)?);
    session
        .execute(SAVE, &[&operation.id, &state, &row])
        .await?;
    Ok(())
}

fn read(row: &Row) -> Result<Operation, PgError> {
    let refused = |why: StoreError| PgError::Refused(why.to_string());
    Operation::read(row.try_get(0)?, row.try_get(1)?).map_err(refused)
}

fn to_row(operation: &Operation) -> Result<String, PgError> {
    let refused = |why: StoreError| PgError::Refused(why.to_string());
    operation.to_row().map_err(refused)
}
