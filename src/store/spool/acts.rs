//! What operators do needs the database: none of it waits in the spool.

use std::num::NonZeroU32;

use async_trait::async_trait;

use super::SpoolingStore;
use crate::clock::Millis;
use crate::domain::audit::{Actor, AuditEntry, Reason};
use crate::domain::operation::OperationChange;
use crate::store::{
    Acts, AuditFilter, Cursor, Dismissal, NewOperation, Operation, OperationBatch, Operations,
    StoreError, StoredAuditRow,
};
use crate::twilio::CallSid;

#[async_trait]
impl Acts for SpoolingStore {
    async fn requeue(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Option<Reason>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        self.shared.database.requeue(sid, actor, reason, now).await
    }

    async fn dismiss(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Reason,
        now: Millis,
    ) -> Result<Dismissal, StoreError> {
        self.shared.database.dismiss(sid, actor, reason, now).await
    }

    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.shared.database.write_audit(entry).await
    }

    async fn audit(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError> {
        self.shared.database.audit(filter).await
    }
}

#[async_trait]
impl Operations for SpoolingStore {
    async fn make_operation(
        &self,
        new: NewOperation,
        now: Millis,
    ) -> Result<Operation, StoreError> {
        self.shared.database.make_operation(new, now).await
    }

    async fn operations(&self, limit: usize) -> Result<Vec<Operation>, StoreError> {
        self.shared.database.operations(limit).await
    }

    async fn change_operation(
        &self,
        id: i64,
        change: OperationChange,
        rate: Option<NonZeroU32>,
        actor: Actor,
        now: Millis,
    ) -> Result<Option<Operation>, StoreError> {
        let database = &self.shared.database;
        database
            .change_operation(id, change, rate, actor, now)
            .await
    }

    async fn count_operation(
        &self,
        id: i64,
        from: Cursor,
        calls: u64,
        to: Cursor,
    ) -> Result<(), StoreError> {
        self.shared
            .database
            .count_operation(id, from, calls, to)
            .await
    }

    async fn take_slot(&self, id: i64, now: Millis) -> Result<Option<Operation>, StoreError> {
        self.shared.database.take_slot(id, now).await
    }

    async fn carry_out(&self, batch: OperationBatch, now: Millis) -> Result<(), StoreError> {
        self.shared.database.carry_out(batch, now).await
    }
}
