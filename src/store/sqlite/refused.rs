//! Refused requests: the operations, and their rows.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use crate::clock::Millis;
use crate::store::{
    ReadStore, Refusals, RefusedCause, RefusedFilter, RefusedLimits, RefusedRequest, StoreError,
    StoredRefusedRequest,
};

const BY_CAUSE: &str = "SELECT cause, count(*), min(at), max(at), max(id) FROM refused \
    GROUP BY cause ORDER BY max(at) DESC, cause";

const LATEST: &str = "SELECT id, at, cause, explanation, status, peer, method, target, url, headers, \
    body, body_bytes FROM refused \
    WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR cause = ?2) ORDER BY id DESC LIMIT ?3";

#[async_trait]
impl Refusals for SqliteStore {
    async fn refuse(
        &self,
        requests: Vec<RefusedRequest>,
        limits: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.writer
            .write_soon(move |tx| tx.refuse(&requests, limits, now))
            .await
    }

    async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        self.reader.ask(ReadStore::refused_by_cause).await
    }

    async fn refused(
        &self,
        filter: RefusedFilter,
    ) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        self.reader.ask(move |reader| reader.refused(&filter)).await
    }
}

pub(super) fn by_cause(connection: &Connection) -> Result<Vec<RefusedCause>, StoreError> {
    let mut statement = connection.prepare_cached(BY_CAUSE)?;
    let causes = statement.query_map([], |row| {
        Ok(RefusedCause {
            cause: row.get(0)?,
            count: row.get::<_, i64>(1)?.unsigned_abs(),
            first: Millis(row.get(2)?),
            last: Millis(row.get(3)?),
            example: row.get(4)?,
        })
    })?;
    Ok(causes.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn latest(
    connection: &Connection,
    filter: &RefusedFilter,
) -> Result<Vec<StoredRefusedRequest>, StoreError> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(LATEST)?;
    let requests = statement.query_map(params![filter.id, filter.cause, limit], read)?;
    Ok(requests.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredRefusedRequest> {
    Ok(StoredRefusedRequest {
        id: row.get(0)?,
        request: RefusedRequest {
            at: Millis(row.get(1)?),
            cause: row.get(2)?,
            explanation: row.get(3)?,
            status: row.get(4)?,
            peer: row.get(5)?,
            method: row.get(6)?,
            target: row.get(7)?,
            url: row.get(8)?,
            headers: row.get(9)?,
            body: row.get::<_, Vec<u8>>(10)?.into(),
            body_bytes: row.get::<_, i64>(11)?.unsigned_abs(),
        },
    })
}
