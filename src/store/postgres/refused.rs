//! Stores, limits and lists refused requests.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresStore;
use super::counters;
use super::rows::without_nul;
use super::session::{PgError, Session, Values};
use crate::clock::Millis;
use crate::store::{
    Refusals, RefusedCause, RefusedFilter, RefusedLimits, RefusedRequest, StoreError,
    StoredRefusedRequest,
};

const INSERT: &str = "INSERT INTO refused (at, cause, explanation, status, peer, method, target, \
    url, headers, body, body_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

// SKIP LOCKED: another node removes that row right now.
const PURGE_EXPIRED: &str = "DELETE FROM refused WHERE id IN \
    (SELECT id FROM refused WHERE at < $1 ORDER BY id FOR UPDATE SKIP LOCKED)";

const PURGE_EXCESS: &str = include_str!("sql/purge_excess_refused.sql");

const BY_CAUSE: &str = "SELECT cause, count(*), min(at), max(at), max(id) FROM refused \
    GROUP BY cause ORDER BY max(at) DESC, cause";

const LATEST: &str = "SELECT id, at, cause, explanation, status, peer, method, target, url, \
    headers, body, body_bytes FROM refused \
    WHERE ($1::bigint IS NULL OR id = $1) AND ($2::text IS NULL OR cause = $2) \
    ORDER BY id DESC LIMIT $3";

#[async_trait]
impl Refusals for PostgresStore {
    async fn refuse(
        &self,
        requests: Vec<RefusedRequest>,
        limits: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.run_on(
            |connections| &connections.queries,
            async move |session: &Session| {
                counters::transaction(session, async |session, _| {
                    refuse(session, &requests, limits, now).await
                })
                .await
            },
        )
        .await
    }

    async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        self.run_on(|connections| &connections.queries, by_cause)
            .await
    }

    async fn refused(
        &self,
        filter: RefusedFilter,
    ) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        self.run_on(
            |connections| &connections.queries,
            async move |session: &Session| latest(session, &filter).await,
        )
        .await
    }
}

async fn refuse(
    session: &Session,
    requests: &[RefusedRequest],
    limits: RefusedLimits,
    now: Millis,
) -> Result<(), PgError> {
    for request in requests {
        let body_bytes = i64::try_from(request.body_bytes).unwrap_or(i64::MAX);
        let values: Values<'_> = &[
            &request.at.0,
            &request.cause,
            &without_nul(&request.explanation),
            &i32::from(request.status),
            &request.peer,
            &without_nul(&request.method),
            &without_nul(&request.target),
            &without_nul(&request.url),
            &without_nul(&request.headers),
            &&request.body[..],
            &body_bytes,
        ];
        // One statement each: the buffer has few requests, and none is urgent.
        session.execute(INSERT, values).await?;
    }
    // In the same transaction, so that a flood never exceeds the limits.
    let most = i64::try_from(limits.most).unwrap_or(i64::MAX);
    let oldest = now.minus(limits.retention);
    session.execute(PURGE_EXPIRED, &[&oldest.0]).await?;
    session.execute(PURGE_EXCESS, &[&most]).await?;
    Ok(())
}

pub(super) async fn by_cause(session: &Session) -> Result<Vec<RefusedCause>, PgError> {
    let rows = session.query(BY_CAUSE, &[]).await?;
    let causes = rows.iter().map(|row| {
        Ok(RefusedCause {
            cause: row.try_get(0)?,
            count: row.try_get::<_, i64>(1)?.unsigned_abs(),
            first: Millis(row.try_get(2)?),
            last: Millis(row.try_get(3)?),
            example: row.try_get(4)?,
        })
    });
    causes.collect()
}

pub(super) async fn latest(
    session: &Session,
    filter: &RefusedFilter,
) -> Result<Vec<StoredRefusedRequest>, PgError> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let values: Values<'_> = &[&filter.id, &filter.cause, &limit];
    let rows = session.query(LATEST, values).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<StoredRefusedRequest, PgError> {
    Ok(StoredRefusedRequest {
        id: row.try_get(0)?,
        request: RefusedRequest {
            at: Millis(row.try_get(1)?),
            cause: row.try_get(2)?,
            explanation: row.try_get(3)?,
            status: u16::try_from(row.try_get::<_, i32>(4)?).unwrap_or_default(),
            peer: row.try_get(5)?,
            method: row.try_get(6)?,
            target: row.try_get(7)?,
            url: row.try_get(8)?,
            headers: row.try_get(9)?,
            body: row.try_get::<_, Vec<u8>>(10)?.into(),
            body_bytes: row.try_get::<_, i64>(11)?.unsigned_abs(),
        },
    })
}
