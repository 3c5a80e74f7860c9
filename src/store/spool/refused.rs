//! Refused requests are the database's alone: without it, none are kept.

use async_trait::async_trait;

use super::SpoolingStore;
use crate::clock::Millis;
use crate::store::{
    Refusals, RefusedCause, RefusedFilter, RefusedLimits, RefusedRequest, StoreError,
    StoredRefusedRequest,
};

#[async_trait]
impl Refusals for SpoolingStore {
    async fn refuse(
        &self,
        requests: Vec<RefusedRequest>,
        keep: RefusedLimits,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.shared.database.refuse(requests, keep, now).await
    }

    async fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        self.shared.database.refused_by_cause().await
    }

    async fn refused(
        &self,
        filter: RefusedFilter,
    ) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        self.shared.database.refused(filter).await
    }
}
