//! What operators do needs the database: none of it waits in the spool.

use async_trait::async_trait;

use super::SpoolingStore;
use crate::clock::Millis;
use crate::domain::audit::{Actor, AuditEntry, Reason};
use crate::store::operations::{Edited, OperationEdit};
use crate::store::{
    Acts, AuditFilter, Dismissal, NewOperation, Operation, OperationBatch, Operations, StoreError,
    StoredAuditRow,
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

    async fn edit_operation(
        &self,
        id: i64,
        edit: OperationEdit,
    ) -> Result<Option<(Operation, Edited)>, StoreError> {
        self.shared.database.edit_operation(id, edit).await
    }

    async fn carry_out(&self, batch: OperationBatch, now: Millis) -> Result<(), StoreError> {
        self.shared.database.carry_out(batch, now).await
    }
}
