//! What operators do needs the database: none of it waits in the spool.

use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::{SpoolingStore, WritePath};
use crate::clock::Millis;
use crate::domain::audit::{Actor, AuditEntry, Reason};
use crate::domain::subject::Subject;
use crate::store::erasure::{Compaction, SpoolErasure, Wiped};
use crate::store::operations::{Edited, OperationEdit};
use crate::store::{
    Acts, AuditFilter, Dismissal, Erasures, NewOperation, Operation, OperationBatch, Operations,
    StoreError, StoredAuditRow,
};
use crate::twilio::{AccountSid, CallSid};

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

#[async_trait]
impl Erasures for SpoolingStore {
    async fn remember_erased(
        &self,
        sids: Vec<(AccountSid, CallSid)>,
        now: Millis,
    ) -> Result<(), StoreError> {
        self.shared.database.remember_erased(sids, now).await
    }

    async fn wipe(
        &self,
        subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Wiped, StoreError> {
        self.shared.database.wipe(subject, compaction).await
    }

    /// What the database accepts is transferred, and erased there. This removes what it refuses.
    async fn erase_spooled(
        &self,
        subject: Subject,
        now: Millis,
    ) -> Result<Option<SpoolErasure>, StoreError> {
        let shared = &self.shared;
        if shared.write_path() == WritePath::ToSpool {
            return Ok(Some(SpoolErasure::Waiting));
        }
        // Their callbacks may come again, and the database has not seen them.
        let sids = shared.spool.sids_with(&subject).await?;
        shared.database.remember_erased(sids, now).await?;
        let (callbacks, wiped) = shared.spool.erase_from_spool(subject, now).await?;
        shared.waiting.fetch_sub(callbacks, Ordering::Relaxed);
        let found_in = wiped.found_in;
        Ok(Some(SpoolErasure::Cleared {
            callbacks,
            found_in,
        }))
    }
}
