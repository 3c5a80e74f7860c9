//! The search index. A settlement writes it in its own statement (`sql/settle.sql`).

use async_trait::async_trait;

use super::session::{PgError, Session};
use super::{PostgresStore, search};
use crate::clock::Millis;
use crate::domain::call_addresses::AddressHasher;
use crate::store::addresses::{Addresses, IndexJob, Unindexed};
use crate::store::{CallPage, CallQuery, ListPosition, StoreError};

const KEY: &str = "SELECT key FROM address_key";

const INDEX: &str = include_str!("sql/index_addresses.sql");

/// Removes calls from the index. The calls keep their hashes: their rows are removed or merged then.
pub(super) const REMOVE: &str = "DELETE FROM address WHERE (hash, call) IN \
    (SELECT unnest(addresses), id FROM call WHERE id = ANY ($1))";

pub(super) async fn hasher(session: &Session) -> Result<AddressHasher, PgError> {
    let rows = session.query(KEY, &[]).await?;
    let key: &str = rows.first().map_or(Ok(""), |row| row.try_get(0))?;
    if key.is_empty() {
        return Err(PgError::Refused(
            "the table address_key has no row".to_owned(),
        ));
    }
    Ok(AddressHasher::new(key.as_bytes()))
}

#[async_trait]
impl Addresses for PostgresStore {
    async fn address_hasher(&self) -> Result<AddressHasher, StoreError> {
        let read = || self.query(hasher);
        self.hasher.get_or_try_init(read).await.cloned()
    }

    async fn search(&self, query: CallQuery) -> Result<CallPage, StoreError> {
        self.query(async move |session| search::page(session, &query).await)
            .await
    }

    async fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError> {
        self.query(async move |session| search::unindexed(session, before, from).await)
            .await
    }

    async fn index(&self, jobs: Vec<IndexJob>) -> Result<(), StoreError> {
        let hasher = self.address_hasher().await?;
        let jobs = jobs
            .into_iter()
            .map(|job| (job.call, job.callbacks, hasher.hashes(&job.terms)));
        let jobs: Vec<(i64, i64, Vec<i64>)> = jobs.collect();
        self.query(async move |session| {
            for (call, callbacks, hashes) in &jobs {
                session.execute(INDEX, &[call, callbacks, hashes]).await?;
            }
            Ok(())
        })
        .await
    }
}
