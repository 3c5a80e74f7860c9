//! Refused requests, kept for diagnosis. They are not verified: any client of the listener can write
//! them.

use std::time::Duration;

use bytes::Bytes;

use super::sql::{Sql, Values};
use super::{Store, StoreError, Urgency, read, write};
use crate::clock::Millis;

/// A refused request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    pub at: Millis,
    /// The cause, as metrics and logs name it.
    pub cause: String,
    /// The cause in sentences, with the next step.
    pub explanation: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The address of the client.
    pub peer: String,
    pub method: String,
    /// Path and query as they arrived.
    pub target: String,
    /// The URL that was verified: a public URL with the target.
    pub url: String,
    /// The headers for diagnosis, one `name: value` per line.
    pub headers: String,
    /// The kept start of the body.
    pub body: Bytes,
    /// The number of bytes that were read; more than in `body` if that was cut.
    pub body_bytes: u64,
}

/// A refused request with its number, which is never used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefusedRequest {
    pub id: i64,
    pub request: RefusedRequest,
}

/// The limits of refused requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedLimits {
    /// The most requests. Above it, the oldest request of the most frequent cause is removed, so that no
    /// cause displaces a rarer one.
    pub most: usize,
    /// How long a request is kept.
    pub retention: Duration,
}

/// The kept requests of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedCause {
    pub cause: String,
    pub count: u64,
    pub first: Millis,
    pub last: Millis,
    /// The number of the latest request.
    pub example: i64,
}

/// Selects the refused requests that match all fields. The latest come first.
#[derive(Clone, Debug)]
pub struct RefusedFilter {
    pub id: Option<i64>,
    pub cause: Option<String>,
    pub limit: usize,
}

const INSERT: &str = "INSERT INTO refused (at, cause, explanation, status, peer, method, target, url, \
    headers, body, body_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

// The index is named, because it contains `at`: otherwise every row with its body would be read.
const SQLITE_PURGE_EXPIRED: &str = "DELETE FROM refused WHERE id IN \
    (SELECT id FROM refused INDEXED BY refused_by_cause WHERE at < $1)";

// SKIP LOCKED: another node removes that row right now.
const POSTGRES_PURGE_EXPIRED: &str = "DELETE FROM refused WHERE id IN \
    (SELECT id FROM refused WHERE at < $1 ORDER BY id FOR UPDATE SKIP LOCKED)";

/// Counted from the latest of each cause, the last are those of which there are most.
const SQLITE_PURGE_EXCESS: &str = "DELETE FROM refused WHERE id IN ( \
    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY cause ORDER BY id DESC) AS rank \
        FROM refused) \
    ORDER BY rank DESC, id LIMIT max(0, (SELECT count(*) FROM refused) - $1))";
const POSTGRES_PURGE_EXCESS: &str = include_str!("postgres/sql/purge_excess_refused.sql");

const BY_CAUSE: &str = "SELECT cause, count(*), min(at), max(at), max(id) FROM refused \
    GROUP BY cause ORDER BY max(at) DESC, cause";

const LATEST: &str = "SELECT id, at, cause, explanation, status, peer, method, target, url, headers, \
    body, body_bytes FROM refused \
    WHERE coalesce($1, id) = id AND coalesce($2, cause) = cause ORDER BY id DESC LIMIT $3";

/// Refused requests are kept within limits, with the lowest priority.
impl dyn Store + '_ {
    /// Stores `requests`, and removes those beyond the limits.
    pub async fn refuse(
        &self,
        requests: Vec<RefusedRequest>,
        limits: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError> {
        write(self, Urgency::Soon, async move |mut tx| {
            let sql = tx.sql();
            for request in &requests {
                insert(sql, request).await?;
            }
            // In the same transaction, so that a flood never exceeds the limits.
            let expired = sql.words(SQLITE_PURGE_EXPIRED, POSTGRES_PURGE_EXPIRED);
            let excess = sql.words(SQLITE_PURGE_EXCESS, POSTGRES_PURGE_EXCESS);
            let most = i64::try_from(limits.most).unwrap_or(i64::MAX);
            let removed = sql
                .execute(expired, &[&now.minus(limits.retention).0])
                .await?
                + sql.execute(excess, &[&most]).await?;
            if removed > 0 {
                tx.has_removed();
            }
            Ok(())
        })
        .await
    }

    /// The kept requests by cause, the latest cause first.
    pub async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        read(self, async |reads| by_cause(reads.sql()).await).await
    }

    pub async fn refused(
        &self,
        filter: RefusedFilter,
    ) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        read(self, async move |reads| latest(reads.sql(), &filter).await).await
    }
}

async fn insert(sql: Sql<'_>, request: &RefusedRequest) -> Result<(), StoreError> {
    let values: Values<'_> = &[
        &request.at.0,
        &request.cause,
        &sql.text(&request.explanation),
        &i32::from(request.status),
        &request.peer,
        &sql.text(&request.method),
        &sql.text(&request.target),
        &sql.text(&request.url),
        &sql.text(&request.headers),
        &&request.body[..],
        &i64::try_from(request.body_bytes).unwrap_or(i64::MAX),
    ];
    sql.execute(INSERT, values).await.map(drop)
}

pub(super) async fn by_cause(sql: Sql<'_>) -> Result<Vec<RefusedCause>, StoreError> {
    sql.query(BY_CAUSE, &[], |row| {
        Ok(RefusedCause {
            cause: row.get(0)?,
            count: row.unsigned(1)?,
            first: row.millis(2)?,
            last: row.millis(3)?,
            example: row.get(4)?,
        })
    })
    .await
}

pub(super) async fn latest(
    sql: Sql<'_>,
    filter: &RefusedFilter,
) -> Result<Vec<StoredRefusedRequest>, StoreError> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    sql.query(LATEST, &[&filter.id, &filter.cause, &limit], |row| {
        Ok(StoredRefusedRequest {
            id: row.get(0)?,
            request: RefusedRequest {
                at: row.millis(1)?,
                cause: row.get(2)?,
                explanation: row.get(3)?,
                status: u16::try_from(row.get::<i32>(4)?).unwrap_or_default(),
                peer: row.get(5)?,
                method: row.get(6)?,
                target: row.get(7)?,
                url: row.get(8)?,
                headers: row.get(9)?,
                body: row.body(10)?,
                body_bytes: row.unsigned(11)?,
            },
        })
    })
    .await
}
