//! Rows of the database to the types of the store, and back.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use crate::acquire::DeliveryFault;
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::store::columns::VerdictColumns;
use crate::store::ledger::Counted;
use crate::store::rows::{attempt, attempt_columns, callback};
use crate::store::sql::Row;
use crate::store::{CallSummary, State, StoreError, StoredCallback};
use crate::twilio::{AccountSid, CallSid};

/// Callbacks and attempts of a call are numbered from 1 in the low bits of their row.
const NUMBER_BITS: u32 = 20;

/// The row of a call's `number`th callback or attempt; none if a call can have no more.
pub(super) fn row_of(call: i64, number: i64) -> Result<i64, StoreError> {
    if number >> NUMBER_BITS == 0 {
        Ok((call << NUMBER_BITS) | number)
    } else {
        Err(StoreError::Database(format!(
            "call row {call} has as many callbacks or attempts as a call can have"
        )))
    }
}

/// First and last row that a callback or attempt of a call can have.
pub(super) fn rows_of(call: i64) -> [i64; 2] {
    [call << NUMBER_BITS, ((call + 1) << NUMBER_BITS) - 1]
}

/// The columns that [`CallRow::read`] reads.
macro_rules! summary {
    () => {
        "id, sid, account, state, effective_at, changed, received, callbacks, attempts, \
         requeue_count, planned_callbacks, reason, retry_now_at, failing_since, cause, class, \
         reconciled, indexed_callbacks"
    };
}
pub(super) use summary;

/// A row of `call`.
#[derive(Clone, Debug)]
pub(super) struct CallRow {
    pub id: i64,
    pub sid: CallSid,
    pub account: AccountSid,
    pub state: State,
    pub effective_at: Millis,
    pub changed: Millis,
    pub received: Millis,
    pub callbacks: i64,
    pub attempts: i64,
    pub requeue_count: i64,
    /// How many of the callbacks the last settled claim had.
    pub planned_callbacks: i64,
    pub reason: Option<String>,
    /// When `retry_now` last applied to it.
    pub retry_now_at: Option<Millis>,
    /// See [`crate::store::Settlement::failing_since`].
    pub failing_since: Option<Millis>,
    pub cause: Option<Cause>,
    pub class: Class,
    pub is_reconciled: bool,
    /// How many of the callbacks the search index has, if no claim was settled since.
    pub indexed_callbacks: i64,
}

impl CallRow {
    /// Reads a row with its columns in the order of the fields.
    pub fn read(row: &rusqlite::Row<'_>) -> Result<Self, StoreError> {
        let row = Row::Sqlite(row);
        Ok(Self {
            id: row.get(0)?,
            sid: row.call_sid(1)?,
            account: row.account(2)?,
            state: row.parse(3, State::parse)?,
            effective_at: row.millis(4)?,
            changed: row.millis(5)?,
            received: row.millis(6)?,
            callbacks: row.get(7)?,
            attempts: row.get(8)?,
            requeue_count: row.get(9)?,
            planned_callbacks: row.get(10)?,
            reason: row.get(11)?,
            retry_now_at: row.optional_millis(12)?,
            failing_since: row.optional_millis(13)?,
            cause: row.parse_optional(14, Cause::parse)?,
            class: row.parse(15, Class::parse)?,
            is_reconciled: row.get(16)?,
            indexed_callbacks: row.get(17)?,
        })
    }

    pub fn load(connection: &Connection, id: i64) -> Result<Option<Self>, StoreError> {
        let mut statement = connection.prepare_cached(concat!(
            "SELECT ",
            summary!(),
            " FROM call WHERE id = ?1"
        ))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(Self::read).transpose()
    }

    /// What the ledger counts of it.
    pub fn counted(&self) -> Counted<'_> {
        Counted {
            account: &self.account,
            received: self.received,
            is_reconciled: self.is_reconciled,
            state: self.state,
            class: self.class,
            cause: self.cause,
        }
    }

    pub fn into_summary(self) -> CallSummary {
        let pending = matches!(self.state, State::Pending | State::Claimed);
        CallSummary {
            sid: self.sid,
            account: self.account,
            state: self.state,
            due: pending.then_some(self.effective_at),
            reason: self.reason,
            cause: self.cause,
            class: self.class,
            first_received: self.received,
            changed: self.changed,
        }
    }
}

/// Among `candidates` the calls that `sid` names, one for each account: a call whose own SID it is, else one of
/// which it names a child leg. Calls with that SID of their own come first.
pub(super) fn calls_named(
    connection: &Connection,
    candidates: &[i64],
    sid: &CallSid,
) -> Result<Vec<CallRow>, StoreError> {
    let mut named = Vec::new();
    for id in candidates {
        let Some(call) = CallRow::load(connection, *id)? else {
            continue;
        };
        // An empty row: the call was merged into another.
        if call.callbacks == 0 {
            continue;
        }
        if call.sid == *sid || has_leg(connection, call.id, sid)? {
            named.push(call);
        }
    }
    named.sort_by_key(|call| (call.sid != *sid, call.id));
    let mut accounts = HashSet::new();
    named.retain(|call| accounts.insert(call.account.clone()));
    Ok(named)
}

/// Whether a callback of the call came from this child leg.
pub(super) fn has_leg(
    connection: &Connection,
    call: i64,
    leg: &CallSid,
) -> Result<bool, StoreError> {
    let [first, last] = rows_of(call);
    Ok(connection
        .prepare_cached("SELECT 1 FROM callback WHERE id BETWEEN ?1 AND ?2 AND leg = ?3")?
        .exists(params![first, last, leg.as_str()])?)
}

pub(super) fn child_legs_of(
    connection: &Connection,
    call: i64,
) -> Result<Vec<CallSid>, StoreError> {
    connection
        .prepare_cached(
            "SELECT DISTINCT leg FROM callback \
             WHERE id BETWEEN ?1 AND ?2 AND leg IS NOT NULL",
        )?
        .query_and_then(rows_of(call), |row| Row::Sqlite(row).call_sid(0))?
        .collect()
}

/// A call's callbacks in the order of arrival.
pub(super) fn callbacks_of(
    connection: &Connection,
    call: i64,
) -> Result<Vec<StoredCallback>, StoreError> {
    connection
        .prepare_cached(
            "SELECT received, url, headers, body FROM callback \
             WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        )?
        .query_and_then(rows_of(call), |row| callback(Row::Sqlite(row), 0))?
        .collect()
}

/// The callbacks of one leg of a call, in the order of arrival.
pub(super) fn callbacks_of_leg(
    connection: &Connection,
    call: i64,
    leg: &CallSid,
) -> Result<Vec<StoredCallback>, StoreError> {
    let [first, last] = rows_of(call);
    connection
        .prepare_cached(
            "SELECT received, url, headers, body FROM callback WHERE id BETWEEN ?1 AND ?2 \
             AND coalesce(leg, (SELECT sid FROM call WHERE call.id = ?3)) = ?4 ORDER BY callback.id",
        )?
        .query_and_then(params![first, last, call, leg.as_str()], |row| {
            callback(Row::Sqlite(row), 0)
        })?
        .collect()
}

/// A call's attempts, each with its requeue count, oldest first.
pub(super) fn attempts_of(
    connection: &Connection,
    call: i64,
) -> Result<Vec<(i64, Attempt)>, StoreError> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            attempt_columns!(),
            " FROM attempt WHERE id BETWEEN ?1 AND ?2 ORDER BY id"
        ))?
        .query_and_then(rows_of(call), |row| attempt(Row::Sqlite(row), 0))?
        .collect()
}

pub(super) fn insert_attempt(
    connection: &Connection,
    row: i64,
    requeue_count: i64,
    attempt: &Attempt,
) -> Result<(), StoreError> {
    let VerdictColumns {
        verdict,
        again_at,
        reason,
    } = attempt.verdict.to_columns();
    connection
        .prepare_cached(
            "INSERT INTO attempt (id, requeue_count, leg, kind, at, took_us, sent, status, verdict, \
             again_at, reason, fault, excerpt, report_mode) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            row,
            requeue_count,
            attempt.leg.as_str(),
            attempt.kind.as_str(),
            attempt.at.0,
            i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX),
            attempt.sent,
            attempt.status,
            verdict,
            again_at,
            reason,
            attempt.fault.map(DeliveryFault::as_str),
            attempt.excerpt,
            attempt.report_mode.as_str(),
        ])?;
    Ok(())
}
