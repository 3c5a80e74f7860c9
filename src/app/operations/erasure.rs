//! Carries out erasures: each node clears its spool, then one node after the other takes the next batch.
//!
//! What is removed, and in which order, belongs to the store (`store/erasure.rs`).

use std::time::Duration;

use super::{Carrier, IDLE, Pace, Step};
use crate::app::notify::journal::forget_removed_calls;
use crate::clock::{self, Clock, Millis};
use crate::debugging::missing_call::SEARCHED;
use crate::domain::subject::Subject;
use crate::store::erasure::{
    Compaction, ErasurePhase, SpoolErasure, calls_with, is_in_call, is_in_refused,
};
use crate::store::operations::Edited;
use crate::store::{Cursor, Detail, Operation, OperationBatch, Store, StoreError};
use crate::twilio::CallSid;

/// How long an erasure waits for the nodes that run.
const SPOOL_WAIT: Duration = Duration::from_secs(60);

/// A node that was not seen for so long does not run.
const NODE_GONE: Duration = Duration::from_secs(180);

/// A node that was not seen for so long was removed, and its spool with it.
const NODE_FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Refused requests wait for a second in memory before they are stored.
const REFUSED_WAIT: Duration = Duration::from_millis(1_500);

/// After this time another node overwrites the files, if the one that started has not finished.
const WIPE_LEASE: Duration = Duration::from_secs(600);

/// The note of a node in the database, and that of its name in its spool.
const NODES: &str = "node/";
const NODE_NAME: &str = "node-name";

/// Notes that this node runs, and returns its name; None without a spool.
pub async fn register(store: &dyn Store, now: Millis) -> Result<Option<String>, StoreError> {
    let Some(own) = store.spool() else {
        return Ok(None);
    };
    let known = own.notes(NODE_NAME.to_owned()).await?.into_iter().next();
    let name = if let Some((_, name)) = known {
        name
    } else {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let host = host.unwrap_or_default();
        let name = format!("{}-{:08x}", host.trim(), fastrand::u32(..));
        let note = (NODE_NAME.to_owned(), Some(name.clone()));
        own.write_notes(vec![note]).await?;
        name
    };
    let note = (format!("{NODES}{name}"), Some(now.0.to_string()));
    store.write_notes(vec![note]).await?;
    Ok(Some(name))
}

impl Carrier {
    /// Clears the spool of this node, if the erasure waits for it.
    pub(super) async fn clear_spool(&self, operation: &Operation) -> Result<(), StoreError> {
        let (Some(node), Some(erasure)) = (self.node.clone(), &operation.erasure) else {
            return Ok(());
        };
        let Some(subject) = erasure.subject.clone() else {
            return Ok(());
        };
        if erasure.phase != ErasurePhase::Spools || erasure.nodes.contains(&node) {
            return Ok(());
        }
        let cleared = self.store.erase_spooled(subject, self.clock.now()).await?;
        if let Some(SpoolErasure::Cleared {
            callbacks,
            found_in,
        }) = cleared
        {
            let edit = move |operation: &mut Operation| {
                operation.spool_cleared(&node, callbacks, &found_in);
                Edited::Yes
            };
            self.store
                .edit_operation(operation.id, Box::new(edit))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn advance_erasure(&self, operation: &Operation) -> Result<Step, StoreError> {
        let Some(erasure) = &operation.erasure else {
            return Ok(Step::Wait(IDLE));
        };
        let Some(subject) = erasure.subject.clone() else {
            return self.wipe(operation, None, erasure.compaction).await;
        };
        match erasure.phase {
            ErasurePhase::Spools => self.wait_for_spools(operation, &erasure.nodes).await,
            ErasurePhase::Calls | ErasurePhase::Refused => {
                let operation = match self.take_slot(operation).await? {
                    Ok(operation) => operation,
                    Err(wait) => return Ok(wait),
                };
                let batch = match erasure.phase {
                    ErasurePhase::Calls => self.calls_to_erase(&operation, &subject).await?,
                    _ => self.refused_to_erase(&operation, &subject).await?,
                };
                self.store.carry_out(batch, self.clock.now()).await?;
                Ok(Step::Changed)
            }
            ErasurePhase::Files => {
                self.wipe(operation, Some(subject), erasure.compaction)
                    .await
            }
        }
    }

    async fn wait_for_spools(
        &self,
        operation: &Operation,
        cleared: &[String],
    ) -> Result<Step, StoreError> {
        let now = self.clock.now();
        let (mut missing, mut is_awaited) = (Vec::new(), false);
        for (key, text) in self.store.notes(NODES.to_owned()).await? {
            let seen = Millis(text.parse().unwrap_or_default());
            let name = key[NODES.len()..].to_owned();
            if !cleared.contains(&name) && now.since(seen) < NODE_FORGOTTEN {
                is_awaited |= now.since(seen) < NODE_GONE;
                missing.push(name);
            }
        }
        if is_awaited && now.since(operation.made) < SPOOL_WAIT {
            return Ok(Step::Wait(IDLE));
        }
        let edit = move |operation: &mut Operation| {
            operation.spools_done(&missing);
            Edited::Yes
        };
        self.store
            .edit_operation(operation.id, Box::new(edit))
            .await?;
        Ok(Step::Changed)
    }

    async fn calls_to_erase(
        &self,
        operation: &Operation,
        subject: &Subject,
    ) -> Result<OperationBatch, StoreError> {
        let from = operation.position;
        let (calls, to) = if let Subject::Call(sids) = subject {
            let mut calls = Vec::new();
            for sid in sids.iter().filter_map(|sid| CallSid::parse(sid).ok()) {
                let named = self.store.get_all(&sid).await?;
                calls.extend(named.into_iter().filter(|call| is_in_call(subject, call)));
            }
            (calls, Cursor::End)
        } else {
            let mut query = calls_with(subject, Detail::Summary, operation.batch_size());
            query.from = from.position();
            let page = self.store.search(query).await?;
            (page.calls, Cursor::after(page.start))
        };
        let mut calls: Vec<_> = calls
            .into_iter()
            .map(|call| (call.summary.sid, call.summary.account))
            .collect();
        calls.sort();
        calls.dedup();
        Ok(OperationBatch {
            operation: operation.id,
            from,
            to,
            calls,
            refused: Vec::new(),
            held_for: None,
        })
    }

    async fn refused_to_erase(
        &self,
        operation: &Operation,
        subject: &Subject,
    ) -> Result<OperationBatch, StoreError> {
        if self.pace == Pace::Rate {
            clock::pause(REFUSED_WAIT).await;
        }
        let refused = self.store.refused(SEARCHED).await?.into_iter();
        let refused = refused.filter(|stored| is_in_refused(subject, &stored.request));
        let ids = refused.map(|stored| stored.id).collect();
        Ok(OperationBatch::of_refused(operation, ids))
    }

    /// Overwrites the files, and ends the operation.
    async fn wipe(
        &self,
        operation: &Operation,
        subject: Option<Subject>,
        compaction: Compaction,
    ) -> Result<Step, StoreError> {
        let now = Clock::system().now();
        let taken_at = operation.next_at;
        if now < taken_at && subject.is_none() {
            return Ok(Step::Wait(IDLE));
        }
        // First the row, because it has the value itself.
        let take = move |operation: &mut Operation| {
            if operation.next_at != taken_at {
                return Edited::No;
            }
            operation.forget_subject();
            operation.next_at = now.plus(WIPE_LEASE);
            Edited::Yes
        };
        let taken = self.store.edit_operation(operation.id, Box::new(take));
        if !matches!(taken.await?, Some((_, Edited::Yes))) {
            return Ok(Step::Wait(IDLE));
        }
        forget_removed_calls(&*self.store).await?;
        let wiped = self.store.wipe(subject, compaction).await?;
        let now = self.clock.now();
        let end = move |operation: &mut Operation| {
            Edited::WithRow(Box::new(operation.erased(wiped.clone(), now)))
        };
        self.store
            .edit_operation(operation.id, Box::new(end))
            .await?;
        Ok(Step::Changed)
    }
}
