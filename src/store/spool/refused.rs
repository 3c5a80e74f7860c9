//! Refused requests are the database's alone: without it, none are kept.

use async_trait::async_trait;

use super::Spooled;
use crate::clock::Millis;
use crate::store::{
    Keep, Refusals, Refused, RefusedCause, RefusedFilter, StoreError, StoredRefused,
};

#[async_trait]
impl Refusals for Spooled {
    async fn refuse(
        &self,
        requests: Vec<Refused>,
        keep: Keep,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.shared.database.refuse(requests, keep, now).await
    }

    async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        self.shared.database.refused_by_cause().await
    }

    async fn refused(&self, filter: RefusedFilter) -> Result<Vec<StoredRefused>, StoreError> {
        self.shared.database.refused(filter).await
    }
}
