//! What operators do to calls.

use super::erasure;
use super::rows::text;
use crate::clock::Millis;
use crate::domain::operation::OperationKind;
use crate::store::counters::Counters;
use crate::store::erasure::Removed;
use crate::store::sql::Session;
use crate::store::{Operation, OperationBatch, REQUEUED_OVERDUE, State, StoreError};
use crate::twilio::CallSid;

// A call without callbacks was merged into another one. A call's own SID comes before a leg's.
const NAMED: &str = "SELECT DISTINCT ON (call.account) call.id FROM sid_index \
    JOIN call ON call.id = sid_index.call AND call.callbacks > 0 WHERE sid_index.sid = $1 \
    ORDER BY call.account, call.sid <> $1, call.id";
const LOCK_CALLS: &str = include_str!("sql/lock_calls.sql");
const MERGING: &str = "SELECT 1 FROM call WHERE merge_parent IS NOT NULL LIMIT 1";
const REQUEUE: &str = include_str!("sql/requeue.sql");
const DISMISS: &str = include_str!("sql/dismiss.sql");

/// Makes the calls due again with a fresh schedule; returns how many are there.
pub async fn requeue(
    session: &Session,
    changes: &mut Counters,
    sid: &CallSid,
    now: Millis,
) -> Result<usize, StoreError> {
    let ids = named(session, sid).await?;
    requeue_calls(session, changes, &ids, now).await
}

async fn requeue_calls(
    session: &Session,
    changes: &mut Counters,
    ids: &[i64],
    now: Millis,
) -> Result<usize, StoreError> {
    let due = now.minus(REQUEUED_OVERDUE);
    let rows = session.query(REQUEUE, &[&ids, &now.0, &due.0]).await?;
    for row in &rows {
        changes.move_call(text(row, 0, State::parse)?, State::Pending);
    }
    Ok(rows.len())
}

/// Skips those of the calls that are parked; returns the states that all of them had.
pub async fn dismiss(
    session: &Session,
    changes: &mut Counters,
    sid: &CallSid,
    why: &str,
    now: Millis,
) -> Result<Vec<State>, StoreError> {
    let ids = named(session, sid).await?;
    dismiss_calls(session, changes, &ids, why, now).await
}

async fn dismiss_calls(
    session: &Session,
    changes: &mut Counters,
    ids: &[i64],
    reason: &str,
    now: Millis,
) -> Result<Vec<State>, StoreError> {
    let mut states = Vec::new();
    for row in session.query(DISMISS, &[&ids, &now.0, &reason]).await? {
        let state = text(&row, 0, State::parse)?;
        if state == State::Parked {
            changes.move_call(state, State::Skipped);
        }
        states.push(state);
    }
    Ok(states)
}

/// See [`Tx::change_calls`](crate::store::Tx).
pub async fn change_calls(
    session: &Session,
    changes: &mut Counters,
    operation: &Operation,
    batch: &OperationBatch,
    now: Millis,
) -> Result<Option<Removed>, StoreError> {
    let calls = &batch.calls;
    let sids: Vec<&str> = calls.iter().map(|(sid, _)| sid.as_str()).collect();
    let accounts: Vec<&str> = calls.iter().map(|(_, account)| account.as_str()).collect();
    let mut ids: Vec<i64> = Vec::new();
    for row in session.query(LOCK_CALLS, &[&sids, &accounts]).await? {
        let (state, since) = (text(&row, 1, State::parse)?, Millis(row.try_get(2)?));
        if operation.kind == OperationKind::Erase && state == State::Claimed {
            return Ok(None);
        }
        if operation.admits_row(state, since) {
            ids.push(row.try_get(0)?);
        }
    }
    let done = match operation.kind {
        OperationKind::Requeue => requeue_calls(session, changes, &ids, now).await?,
        OperationKind::Dismiss => {
            let reason = operation.dismissal();
            let states = dismiss_calls(session, changes, &ids, &reason, now).await?;
            states.len()
        }
        // A call that waits for a merge is not complete, and merges take no time.
        OperationKind::Erase if !session.query(MERGING, &[]).await?.is_empty() => return Ok(None),
        OperationKind::Erase => {
            let rows = (&ids[..], &batch.refused[..]);
            return erasure::erase(session, changes, rows, now).await.map(Some);
        }
    };
    Ok(Some(Removed {
        calls: u64::try_from(done).unwrap_or_default(),
        ..Removed::default()
    }))
}

async fn named(session: &Session, sid: &CallSid) -> Result<Vec<i64>, StoreError> {
    let rows = session.query(NAMED, &[&sid.as_str()]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
