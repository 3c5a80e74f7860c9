//! Bulk operations: their rows, and the transactions that carry them out.
//!
//! A row is JSON, so that what happens to it is decided once, for either database. Its position moves in
//! the transaction that changes the calls: after a crash each call is changed once.

pub mod erasure;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::erasure::{Erasure, NewErasure, Removed};
use super::sql::{Row, Values};
use super::{CallSummary, ListPosition, State, Store, StoreError, Tx, Urgency, audit, read, write};
use crate::clock::Millis;
use crate::domain::audit::{Act, Actor, AuditEntry, Reason};
use crate::domain::call_filter::{CallFilter, FilterSource};
use crate::domain::cause::Cause;
use crate::domain::operation::{OperationChange, OperationKind, OperationState};
use crate::twilio::{AccountSid, CallSid};

/// Calls changed per second, unless the operator asks for another rate: 50.
pub const DEFAULT_RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// The most calls that one transaction changes: few enough that no callback waits noticeably.
const MAX_BATCH: u32 = 100;

/// Batches per second, while they are not at their limit.
const BATCHES: u32 = 5;

/// How far a search through the calls has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cursor {
    #[default]
    Start,
    /// Behind the call with this `effective_at` (0 in a list that is newest first) and row.
    Behind(i64, i64),
    End,
}

impl Cursor {
    /// Where a page of a search ends.
    pub fn after(end: Option<ListPosition>) -> Self {
        end.map_or(Self::End, |ListPosition { at, id }| Self::Behind(at, id))
    }

    /// Where the next page starts.
    pub fn position(self) -> Option<ListPosition> {
        match self {
            Self::Behind(at, id) => Some(ListPosition { at, id }),
            Self::Start | Self::End => None,
        }
    }
}

/// An operation to make.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// The one-time id of the form or command: the same key makes no second operation.
    pub key: String,
    pub kind: OperationKind,
    /// [Resolved](CallFilter::resolved).
    pub filter: CallFilter,
    /// Calls that changed later are left alone.
    pub before: Millis,
    pub rate: NonZeroU32,
    pub actor: Actor,
    pub reason: Option<Reason>,
    /// Of an erasure, instead of the filter.
    pub erasure: Option<NewErasure>,
}

impl NewOperation {
    /// An operation without a reason, at the usual rate, on calls that have not changed since.
    pub fn new(kind: OperationKind, filter: CallFilter, actor: Actor, now: Millis) -> Self {
        Self {
            key: format!("{:032x}", fastrand::u128(..)),
            kind,
            filter,
            before: now,
            rate: DEFAULT_RATE,
            actor,
            reason: None,
            erasure: None,
        }
    }
}

/// The row of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// 0 until it is stored.
    #[serde(default)]
    pub id: i64,
    pub kind: OperationKind,
    pub state: OperationState,
    /// As the query of a URL, with an address as its hash.
    pub filter: String,
    /// In words.
    pub words: String,
    pub state_filter: Option<String>,
    pub before: Millis,
    /// Calls per second, over all nodes.
    pub rate: NonZeroU32,
    pub actor: String,
    pub reason: Option<String>,
    /// Matching calls that were counted so far.
    pub total: u64,
    pub counted: Cursor,
    /// Calls that were changed.
    pub done: u64,
    /// Calls that were removed, or changed by others, before their turn.
    pub failed: u64,
    pub position: Cursor,
    /// The Acquire account for whose outage it waits.
    pub held_for: Option<String>,
    pub made: Millis,
    /// When the last batch, or an operator, changed it.
    pub changed: Millis,
    /// The time of the next batch: the clock of the rate.
    pub next_at: Millis,
    #[serde(default)]
    pub erasure: Option<Erasure>,
}

/// A call that an operation changes.
pub type OperationCall = (CallSid, AccountSid);

/// The next calls of an operation.
#[derive(Clone, Debug)]
pub struct OperationBatch {
    pub operation: i64,
    /// Where the operation was when the calls were searched for: if it has moved on, another node was first.
    pub from: Cursor,
    pub to: Cursor,
    pub calls: Vec<OperationCall>,
    /// The refused requests that an erasure removes.
    pub refused: Vec<i64>,
    /// The account for whose outage the calls behind these wait.
    pub held_for: Option<String>,
}

impl Operation {
    /// An operation that is not stored.
    pub fn new(new: &NewOperation, now: Millis) -> Self {
        let erasure = new.erasure.as_ref();
        Self {
            id: 0,
            kind: new.kind,
            state: OperationState::Running,
            filter: new.filter.query(),
            words: erasure.map_or_else(|| new.filter.to_string(), |new| new.words.clone()),
            state_filter: new.filter.state.map(|state| state.to_string()),
            before: new.before,
            rate: new.rate,
            actor: new.actor.name.clone(),
            reason: new.reason.as_ref().map(|why| why.as_str().to_owned()),
            total: 0,
            // An erasure reads all calls anyway: its total is what it has found.
            counted: erasure.map_or(Cursor::Start, |_| Cursor::End),
            done: 0,
            failed: 0,
            position: Cursor::Start,
            held_for: None,
            made: now,
            changed: now,
            next_at: Millis::default(),
            erasure: erasure.map(Erasure::new),
        }
    }

    /// Calls that it has yet to change; more, if it is still counting.
    pub fn left(&self) -> u64 {
        self.total.saturating_sub(self.done + self.failed)
    }

    /// How many calls the next batch has.
    pub fn batch_size(&self) -> usize {
        let size = (self.rate.get() / BATCHES).clamp(1, MAX_BATCH);
        usize::try_from(size).unwrap_or(1)
    }

    /// Whether it changes a call in this state. A pending call will be sent anyway, so it is requeued only
    /// if the filter names that state.
    pub fn admits(&self, call: &CallSummary) -> bool {
        self.admits_row(call.state, call.changed) && call.cause != Some(Cause::PartOfAnother)
    }

    pub(super) fn admits_row(&self, state: State, changed: Millis) -> bool {
        let is_wanted = match self.kind {
            OperationKind::Dismiss => state == State::Parked,
            OperationKind::Requeue if state == State::Pending => {
                self.state_filter.as_deref() == Some(state.as_str())
            }
            OperationKind::Requeue => state != State::Claimed,
            OperationKind::Erase => return true,
        };
        is_wanted && changed <= self.before
    }

    /// Takes the next batch of its rate, if that is due. Any node may carry it out.
    fn take_slot(&mut self, now: Millis) -> Edited {
        if self.state != OperationState::Running || now < self.next_at {
            return Edited::No;
        }
        let calls = u32::try_from(self.batch_size()).unwrap_or(1);
        self.next_at = now.plus(Duration::from_secs(1) * calls / self.rate.get());
        Edited::Yes
    }

    /// Adds a page to the count, unless another node was first.
    fn count(&mut self, from: Cursor, calls: u64, to: Cursor) -> Edited {
        if self.counted != from {
            return Edited::No;
        }
        self.total += calls;
        self.counted = to;
        Edited::Yes
    }

    /// Whether a batch is still the next one.
    fn is_next(&self, batch: &OperationBatch) -> bool {
        self.state == OperationState::Running && self.position == batch.from
    }

    /// Moves on behind a batch of which `changed.calls` were changed. Returns the row of the audit log, if
    /// that was the last one.
    fn move_on(
        &mut self,
        batch: &OperationBatch,
        changed: Removed,
        now: Millis,
    ) -> Option<AuditEntry> {
        self.done += changed.calls;
        self.held_for.clone_from(&batch.held_for);
        self.changed = now;
        if let Some(erasure) = &mut self.erasure {
            self.position = erasure.move_on(batch.to, changed);
            self.total = self.done;
            return None;
        }
        let calls = u64::try_from(batch.calls.len()).unwrap_or_default();
        self.failed += calls.saturating_sub(changed.calls);
        self.position = batch.to;
        if batch.to != Cursor::End {
            return None;
        }
        self.state = OperationState::Done;
        Some(self.finished(Act::OperationFinished, Actor::system(), now))
    }

    /// Applies what an operator does to it. Returns the row of the audit log; `None` if it cannot be changed so.
    fn change(
        &mut self,
        change: OperationChange,
        rate: Option<NonZeroU32>,
        actor: Actor,
        now: Millis,
    ) -> Option<AuditEntry> {
        self.state = change.applied_to(self.state)?;
        self.rate = rate.unwrap_or(self.rate);
        (self.changed, self.next_at, self.held_for) = (now, Millis::default(), None);
        Some(match change {
            OperationChange::Pause => self.entry(Act::OperationPaused, actor, now),
            OperationChange::Resume => self.entry(Act::OperationResumed, actor, now),
            OperationChange::Cancel => {
                self.forget_subject();
                self.finished(Act::OperationCancelled, actor, now)
            }
        })
    }

    /// A row of the audit log about it.
    pub(super) fn entry(&self, act: Act, actor: Actor, now: Millis) -> AuditEntry {
        AuditEntry {
            target: Some(format!("{} {}", self.kind.as_str(), self.id)),
            filter: Some(self.words.clone()),
            ..AuditEntry::new(act, actor, now)
        }
    }

    fn finished(&self, act: Act, actor: Actor, now: Millis) -> AuditEntry {
        let (done, failed) = (self.kind.done(), self.failed);
        let missed = format!(", {failed} had changed or were removed");
        AuditEntry {
            count: Some(self.done),
            result: Some(format!(
                "{} {done}{}",
                self.done,
                if failed > 0 { &missed } else { "" }
            )),
            ..self.entry(act, actor, now)
        }
    }

    /// The reason of a call that it dismisses.
    pub(super) fn dismissal(&self) -> String {
        dismissed_by(&self.actor, self.reason.as_deref().unwrap_or_default())
    }

    /// The filter.
    ///
    /// # Errors
    /// A sentence, if no version writes such a filter.
    pub fn filter(&self) -> Result<CallFilter, String> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(&self.filter).map_err(|why| why.to_string())?;
        let mut filter = CallFilter::default();
        for (key, value) in pairs {
            let set = filter.set(&key, &value, self.made, FilterSource::Url);
            set.map_err(|why| why.to_string())?;
        }
        Ok(filter)
    }

    fn to_row(&self) -> Result<String, StoreError> {
        let failed = |why: serde_json::Error| StoreError::Database(why.to_string());
        serde_json::to_string(self).map_err(failed)
    }

    fn read(row: Row<'_>) -> Result<Self, StoreError> {
        let (id, row): (i64, String) = (row.get(0)?, row.get(1)?);
        let read = serde_json::from_str(&row).map(|read| Self { id, ..read });
        read.map_err(|why| StoreError::Database(format!("operation {id} cannot be read: {why}")))
    }
}

/// The reason of a call that was dismissed.
pub(super) fn dismissed_by(actor: &str, reason: &str) -> String {
    format!("dismissed by {actor}: {reason}")
}

/// A change of an operation. It runs again if its transaction does.
pub type OperationEdit = Box<dyn Fn(&mut Operation) -> Edited + Send + Sync>;

/// Whether an operation was edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    No,
    Yes,
    /// With this row of the audit log.
    WithRow(Box<AuditEntry>),
}

const WITH_KEY: &str = "SELECT id, row FROM operation WHERE key = $1";
const WITH_ID: &str = "SELECT id, row FROM operation WHERE id = $1";
const LOCK: &str = "SELECT id, row FROM operation WHERE id = $1 FOR UPDATE";
const INSERT: &str = "INSERT INTO operation (key, state, row) VALUES ($1, $2, $3) RETURNING id";
const SAVE: &str = "UPDATE operation SET state = $1, row = $2 WHERE id = $3";
const LATEST: &str = "SELECT id, row FROM operation \
    ORDER BY state NOT IN ('running', 'paused'), id DESC LIMIT $1";

/// Bulk operations, which all nodes of a database share.
impl dyn Store + '_ {
    /// Makes an operation with its audit row, or finds the one that was made with this key.
    pub async fn make_operation(
        &self,
        new: NewOperation,
        now: Millis,
    ) -> Result<Operation, StoreError> {
        write(self, Urgency::Now, async move |tx| {
            let sql = tx.sql();
            if let Some(known) = sql.first(WITH_KEY, &[&new.key], Operation::read).await? {
                return Ok(known);
            }
            let mut operation = Operation::new(&new, now);
            let (state, row) = (operation.state.as_str(), operation.to_row()?);
            // If another node inserts the key first, this is a conflict, and the operation starts over.
            let values: Values<'_> = &[&new.key, &state, &row];
            let id = sql.first(INSERT, values, |row| row.get(0)).await?;
            operation.id = id.unwrap_or_default();
            let mut entry = operation.entry(Act::OperationMade, new.actor.clone(), now);
            entry.reason.clone_from(&new.reason);
            audit::append(sql, &entry).await?;
            Ok(operation)
        })
        .await
    }

    /// The latest operations, those that are not finished first.
    pub async fn operations(&self, limit: usize) -> Result<Vec<Operation>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        read(self, async move |reads| {
            reads.sql().query(LATEST, &[&limit], Operation::read).await
        })
        .await
    }

    /// Edits an operation, and appends the audit row of that, in one transaction. `None`: there is none.
    pub async fn edit_operation(
        &self,
        id: i64,
        edit: OperationEdit,
    ) -> Result<Option<(Operation, Edited)>, StoreError> {
        write(self, Urgency::Soon, async move |mut tx| {
            let Some(mut operation) = tx.operation(id).await? else {
                return Ok(None);
            };
            let edited = edit(&mut operation);
            match &edited {
                Edited::No => {}
                Edited::Yes => tx.save(&operation, None).await?,
                Edited::WithRow(entry) => tx.save(&operation, Some(entry)).await?,
            }
            Ok(Some((operation, edited)))
        })
        .await
    }

    /// Pauses, resumes or cancels an operation, with its audit row. `None`: there is none; an operation that
    /// cannot be changed so is unchanged.
    pub async fn change_operation(
        &self,
        id: i64,
        change: OperationChange,
        rate: Option<NonZeroU32>,
        actor: Actor,
        now: Millis,
    ) -> Result<Option<Operation>, StoreError> {
        let edit = move |operation: &mut Operation| {
            let entry = operation.change(change, rate, actor.clone(), now);
            entry.map_or(Edited::No, |entry| Edited::WithRow(Box::new(entry)))
        };
        let edited = self.edit_operation(id, Box::new(edit)).await?;
        Ok(edited.map(|(operation, _)| operation))
    }

    /// Adds to the total of an operation the calls of a page.
    pub async fn count_operation(
        &self,
        id: i64,
        from: Cursor,
        calls: u64,
        to: Cursor,
    ) -> Result<(), StoreError> {
        let edit = move |operation: &mut Operation| operation.count(from, calls, to);
        self.edit_operation(id, Box::new(edit)).await.map(drop)
    }

    /// The operation, if its next batch is due at `now`, which is real time: the caller then carries it out.
    pub async fn take_slot(&self, id: i64, now: Millis) -> Result<Option<Operation>, StoreError> {
        let edit = move |operation: &mut Operation| operation.take_slot(now);
        let edited = self.edit_operation(id, Box::new(edit)).await?;
        let taken = edited.filter(|(_, edited)| *edited == Edited::Yes);
        Ok(taken.map(|(operation, _)| operation))
    }

    /// Changes the calls of a batch, and moves the operation on, in one transaction. Does nothing if the
    /// operation has moved on, or is not running, or would erase a call while a request of it is in flight.
    pub async fn carry_out(&self, batch: OperationBatch, now: Millis) -> Result<(), StoreError> {
        write(self, Urgency::Soon, async move |mut tx| {
            let operation = tx.operation(batch.operation).await?;
            let Some(mut operation) = operation.filter(|of| of.is_next(&batch)) else {
                return Ok(());
            };
            let Some(changed) = tx.change_calls(&operation, &batch, now).await? else {
                return Ok(());
            };
            let entry = operation.move_on(&batch, changed, now);
            tx.save(&operation, entry.as_ref()).await
        })
        .await
    }
}

impl Tx<'_> {
    async fn operation(&self, id: i64) -> Result<Option<Operation>, StoreError> {
        let sql = self.sql();
        let lock = sql.words(WITH_ID, LOCK);
        sql.first(lock, &[&id], Operation::read).await
    }

    /// Saves an operation, with a row of the audit log about that.
    async fn save(
        &mut self,
        operation: &Operation,
        entry: Option<&AuditEntry>,
    ) -> Result<(), StoreError> {
        let (state, row) = (operation.state.as_str(), operation.to_row()?);
        let sql = self.sql();
        sql.execute(SAVE, &[&state, &row, &operation.id]).await?;
        if let Some(entry) = entry {
            audit::append(sql, entry).await?;
        }
        // The row may have had the subject until now, as that of a cancelled erasure.
        if operation.erasure.is_some() {
            self.has_removed();
        }
        Ok(())
    }
}
