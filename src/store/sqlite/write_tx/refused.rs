//! Keeps refused requests within their bounds.

use rusqlite::params;

use super::WriteTx;
use crate::clock::Millis;
use crate::store::{RefusedLimits, RefusedRequest, StoreError};

const INSERT: &str = "INSERT INTO refused (at, cause, explanation, status, peer, method, target, url, \
    headers, body, body_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

// The index is named, because it contains `at`: otherwise every row with its body would be read.
const PURGE_EXPIRED: &str = "DELETE FROM refused WHERE id IN \
    (SELECT id FROM refused INDEXED BY refused_by_cause WHERE at < ?1)";

/// Counted from the latest of each cause, the last are those of which there are most.
const PURGE_EXCESS: &str = "DELETE FROM refused WHERE id IN ( \
    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY cause ORDER BY id DESC) AS rank \
        FROM refused) \
    ORDER BY rank DESC, id LIMIT max(0, (SELECT count(*) FROM refused) - ?1))";

impl WriteTx {
    pub fn refuse(
        &mut self,
        requests: &[RefusedRequest],
        limits: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(INSERT)?;
        for request in requests {
            insert.execute(params![
                request.at.0,
                request.cause,
                request.explanation,
                request.status,
                request.peer,
                request.method,
                request.target,
                request.url,
                request.headers,
                &request.body[..],
                i64::try_from(request.body_bytes).unwrap_or(i64::MAX),
            ])?;
        }
        let most = i64::try_from(limits.most).unwrap_or(i64::MAX);
        let oldest = now.minus(limits.retention);
        let mut removed = self
            .connection
            .prepare_cached(PURGE_EXPIRED)?
            .execute([oldest.0])?;
        removed += self
            .connection
            .prepare_cached(PURGE_EXCESS)?
            .execute([most])?;
        self.has_removed |= removed > 0;
        Ok(())
    }
}
