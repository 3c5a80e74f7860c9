//! The audit log: appended in the transaction of each act, and read newest first.
//!
//! The chain of hashes is [`crate::domain::audit`]'s.

use async_trait::async_trait;

use super::{Purged, State, StoreError};
use crate::clock::Millis;
use crate::domain::audit::{Act, Actor, AuditEntry, AuditRow, Head, Reason};
use crate::twilio::CallSid;

/// Selects the rows that match all fields. The latest come first.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub act: Option<Act>,
    /// Only rows of this time or later.
    pub since: Option<Millis>,
    /// Only rows with a smaller number.
    pub before: Option<i64>,
    pub limit: usize,
}

/// A row and its hash in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StoredAuditRow {
    #[serde(flatten)]
    pub row: AuditRow,
    pub hash: String,
}

/// What a dismissal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    Dismissed,
    /// The call is in this state, so that there is nothing to decide.
    NotParked(State),
    Unknown,
}

impl Dismissal {
    /// Of the calls that a SID names, by the states that they had.
    pub(super) fn of(states: &[State]) -> Self {
        match states {
            [] => Self::Unknown,
            states if states.contains(&State::Parked) => Self::Dismissed,
            [state, ..] => Self::NotParked(*state),
        }
    }
}

impl Purged {
    /// For the calls that expired: Acquire never had them.
    pub(super) fn audit_entry(self, now: Millis) -> Option<AuditEntry> {
        let entry = AuditEntry {
            count: u64::try_from(self.parked).ok(),
            ..AuditEntry::new(Act::Expiry, Actor::system(), now)
        };
        (self.parked > 0).then_some(entry)
    }
}

/// Acts on one call: their rows of the audit log.
pub(super) fn entry_of(
    act: Act,
    (sid, calls): (&CallSid, usize),
    (actor, reason): (&Actor, Option<&Reason>),
    now: Millis,
) -> AuditEntry {
    AuditEntry {
        target: Some(sid.to_string()),
        count: u64::try_from(calls).ok(),
        reason: reason.cloned(),
        ..AuditEntry::new(act, actor.clone(), now)
    }
}

/// The reason of a call that was dismissed.
pub(super) fn dismissed_by(actor: &str, reason: &str) -> String {
    format!("dismissed by {actor}: {reason}")
}

/// What operators do to calls, and the audit log, which all nodes of a database share. An act and its row
/// are one transaction.
#[async_trait]
pub trait Acts {
    /// Queues all requests of a call, of each account that has one with this SID, for delivery again, due for
    /// [`REQUEUED_OVERDUE`](super::REQUEUED_OVERDUE), so that fresh calls come first; false if there is
    /// no such call. `sid` as for [`Store::get_all`](super::Store::get_all).
    async fn requeue(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Option<Reason>,
        now: Millis,
    ) -> Result<bool, StoreError>;

    /// Skips the parked calls with this SID: an operator decided not to send them.
    async fn dismiss(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Reason,
        now: Millis,
    ) -> Result<Dismissal, StoreError>;

    /// Appends a row for an act that does not change the store.
    async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    async fn audit(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError>;
}

/// Rows of a table, as its columns `number`, `row` and `hash`.
pub(super) type AuditColumns = (i64, String, String);

impl AuditFilter {
    /// Reads a row; `None` if it does not match.
    pub(super) fn read(
        &self,
        (number, row, hash): AuditColumns,
    ) -> Result<Option<StoredAuditRow>, StoreError> {
        let row: AuditRow = serde_json::from_str(&row).map_err(|_| {
            StoreError::Database(format!(
                "row {number} of the audit log was changed: it is no JSON of a row; run `check --store`"
            ))
        })?;
        let is_listed = self.actor.as_ref().is_none_or(|actor| row.actor == *actor)
            && self.act.is_none_or(|act| row.act == act)
            && self.since.is_none_or(|since| row.at >= since);
        Ok(is_listed.then_some(StoredAuditRow { row, hash }))
    }
}

/// Follows the chain from its first row, and remembers the first row that does not match.
#[derive(Default)]
pub(super) struct ChainCheck {
    head: Head,
    broken: Option<i64>,
}

impl ChainCheck {
    pub fn follow(&mut self, (number, row, hash): &AuditColumns) {
        if !self.head.follow(*number, row, hash) && self.broken.is_none() {
            self.broken = Some(*number);
        }
    }

    pub fn problem(self) -> Option<String> {
        self.broken.map(|number| {
            format!(
                "row {number} of the audit log does not match its hash: it was changed, or rows before it \
                 were changed or removed"
            )
        })
    }
}
