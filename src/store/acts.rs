//! What operators do to calls. An act and its row of the audit log are one transaction.

use super::erasure::Removed;
use super::operations::dismissed_by;
use super::{
    Operation, OperationBatch, State, Store, StoreError, Tx, Urgency, audit, postgres, write,
};
use crate::clock::Millis;
use crate::domain::audit::{Act, Actor, AuditEntry, Reason};
use crate::twilio::CallSid;

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
    fn of(states: &[State]) -> Self {
        match states {
            [] => Self::Unknown,
            states if states.contains(&State::Parked) => Self::Dismissed,
            [state, ..] => Self::NotParked(*state),
        }
    }
}

/// Acts on the calls with a SID, of each account that has one. `sid` as for [`Store::get_all`].
impl dyn Store + '_ {
    /// Queues all requests of the calls for delivery again, due for
    /// [`REQUEUED_OVERDUE`](super::REQUEUED_OVERDUE), so that fresh calls come first; false if there is
    /// no such call.
    pub async fn requeue(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Option<Reason>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let sid = sid.clone();
        write(self, Urgency::Now, async move |mut tx| {
            let calls = match &mut tx {
                Tx::Sqlite(tx) => tx.requeue(&sid, now)?,
                Tx::Postgres(session, changes) => {
                    postgres::acts::requeue(session, changes, &sid, now).await?
                }
            };
            if calls > 0 {
                let by = (&actor, reason.as_ref());
                let entry = entry_of(Act::Requeue, (&sid, calls), by, now);
                audit::append(tx.sql(), &entry).await?;
            }
            Ok(calls > 0)
        })
        .await
    }

    /// Skips the parked calls: an operator decided not to send them.
    pub async fn dismiss(
        &self,
        sid: &CallSid,
        actor: Actor,
        reason: Reason,
        now: Millis,
    ) -> Result<Dismissal, StoreError> {
        let sid = sid.clone();
        write(self, Urgency::Now, async move |mut tx| {
            let why = dismissed_by(&actor.name, reason.as_str());
            let states = match &mut tx {
                Tx::Sqlite(tx) => tx.dismiss(&sid, why, now)?,
                Tx::Postgres(session, changes) => {
                    postgres::acts::dismiss(session, changes, &sid, &why, now).await?
                }
            };
            let dismissal = Dismissal::of(&states);
            if dismissal == Dismissal::Dismissed {
                let parked = states.iter().filter(|state| **state == State::Parked);
                let by = (&actor, Some(&reason));
                let entry = entry_of(Act::Dismiss, (&sid, parked.count()), by, now);
                audit::append(tx.sql(), &entry).await?;
            }
            Ok(dismissal)
        })
        .await
    }
}

impl Tx<'_> {
    /// Changes those of the calls that the operation admits, and removes refused requests. None, and no
    /// change, if a call is to be erased while a request of it is in flight.
    pub(super) async fn change_calls(
        &mut self,
        operation: &Operation,
        batch: &OperationBatch,
        now: Millis,
    ) -> Result<Option<Removed>, StoreError> {
        match self {
            Self::Sqlite(tx) => tx.change_calls(operation, batch, now),
            Self::Postgres(session, changes) => {
                postgres::acts::change_calls(session, changes, operation, batch, now).await
            }
        }
    }
}

/// Acts on one call: their rows of the audit log.
fn entry_of(
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
