//! Merges a leg's call into its parent's call, as the SQLite store does.
//!
//! A leg names only its parent, so a leg that was reported before its parent got a call of its own.
//! A merged call stays as a skipped row without callbacks and SIDs.

use tokio_postgres::Row;

use super::operator_queries::REMOVE_ADDRESSES;
use super::rows::text;
use crate::clock::Millis;
use crate::store::State;
use crate::store::StoreError;
use crate::store::counters::Counters;
use crate::store::sql::{PostgresValues as Values, Session};
use crate::twilio::{AccountSid, CallSid};

const LOCK_CALLS: &str = include_str!("sql/merge_lock_calls.sql");

const STILL_INDEXED: &str = "SELECT count(*) FROM sid_index WHERE account = $1 \
    AND (sid = $2 AND call = $3 OR sid = $4 AND call = $5)";

const MERGE_WHEN_SETTLED: &str = "UPDATE call SET merge_parent = $2 WHERE id = $1";

const MOVE_SIDS: &str = include_str!("sql/merge_move_sids.sql");

const REMOVE_REPEATS: &str = "DELETE FROM callback WHERE call = $1 AND key IN \
    (SELECT key FROM callback WHERE call = $2)";

const MOVE_CALLBACKS: &str = include_str!("sql/merge_move_callbacks.sql");
const MOVE_ATTEMPTS: &str = include_str!("sql/merge_move_attempts.sql");
const SKIP_LEG_CALL: &str = include_str!("sql/merge_skip_leg_call.sql");
/// Adds to a call what was moved to it.
pub(super) const EXTEND_CALL: &str = include_str!("sql/extend_call.sql");

/// A call that this transaction has locked.
struct LockedCall {
    id: i64,
    sid: String,
    state: State,
    is_claimed: bool,
    requeue_count: i64,
    attempts: i64,
    retry_now_at: Option<i64>,
}

impl LockedCall {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get(1)?,
            sid: row.try_get(2)?,
            state: text(row, 3, State::parse)?,
            is_claimed: row.try_get(4)?,
            requeue_count: row.try_get(5)?,
            attempts: row.try_get(6)?,
            retry_now_at: row.try_get(7)?,
        })
    }
}

/// Merges the call of `leg` into the call of its parent, if both exist: at once or, while it is
/// claimed, when it is settled. Returns whether it was merged at once.
pub(super) async fn merge_into_parent(
    session: &Session,
    changes: &mut Counters,
    account: &AccountSid,
    (leg, parent): (&CallSid, &CallSid),
    now: Millis,
) -> Result<bool, StoreError> {
    let (account, leg, parent) = (account.as_str(), leg.as_str(), parent.as_str());
    let rows = session
        .query(LOCK_CALLS, &[&account, &leg, &parent])
        .await?;
    let (mut leg_call, mut parent_call) = (None, None);
    for row in &rows {
        match row.try_get::<_, &str>(0)? {
            sid if sid == leg => leg_call = Some(LockedCall::read(row)?),
            _ => parent_call = Some(LockedCall::read(row)?),
        }
    }
    let (Some(leg_call), Some(parent_call)) = (leg_call, parent_call) else {
        return Ok(false);
    };
    // Merged already, or the leg belongs to a call that another leg started.
    if leg_call.id == parent_call.id || leg_call.sid != leg {
        return Ok(false);
    }
    // Another node may have merged one of them while this one waited for the locks.
    let values: Values<'_> = &[&account, &leg, &leg_call.id, &parent, &parent_call.id];
    let rows = session.query(STILL_INDEXED, values).await?;
    if rows.first().map(|row| row.try_get(0)).transpose()? != Some(2_i64) {
        return Err(StoreError::Conflict);
    }
    if leg_call.is_claimed {
        // Its worker may be sending a request: the attempt must be stored first.
        session
            .execute(MERGE_WHEN_SETTLED, &[&leg_call.id, &parent])
            .await?;
        return Ok(false);
    }
    merge(session, account, &leg_call, &parent_call, now).await?;
    changes.move_call(leg_call.state, State::Skipped);
    changes.move_call(parent_call.state, State::Pending);
    Ok(true)
}

async fn merge(
    session: &Session,
    account: &str,
    leg_call: &LockedCall,
    parent_call: &LockedCall,
    now: Millis,
) -> Result<(), StoreError> {
    let (from, to) = (&leg_call.id, &parent_call.id);
    // First, because it finds the SIDs by the callbacks.
    session
        .execute(MOVE_SIDS, &[from, to, &leg_call.sid, &account])
        .await?;
    session
        .execute(REMOVE_ADDRESSES, &[&[*from].as_slice()])
        .await?;
    session.execute(REMOVE_REPEATS, &[from, to]).await?;
    let callbacks = session.execute(MOVE_CALLBACKS, &[from, to]).await?;
    let (old, new) = (&leg_call.requeue_count, &parent_call.requeue_count);
    session
        .execute(MOVE_ATTEMPTS, &[from, to, old, new])
        .await?;
    let why = format!(
        "it is a part of call {}, which has its callbacks",
        parent_call.sid
    );
    session
        .execute(SKIP_LEG_CALL, &[from, &now.0, &why])
        .await?;
    let callbacks = i64::try_from(callbacks).unwrap_or(i64::MAX);
    session
        .execute(
            EXTEND_CALL,
            &[
                to,
                &callbacks,
                &leg_call.attempts,
                &now.0,
                &leg_call.retry_now_at,
            ],
        )
        .await?;
    Ok(())
}
