//! Turns rows of the database into the types of the store.

use std::time::Duration;

use tokio_postgres::Row;

use super::session::{PgError, Session};
use crate::acquire::{DeliveryFault, RequestKind};
use crate::clock::Millis;
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::domain::report_mode::ReportMode;
use crate::store::columns::VerdictColumns;
use crate::store::{CallSummary, SignedRequest, State, StoredCallback};
use crate::twilio::{AccountSid, CallSid};

const CALLBACKS: &str = "SELECT call, received, url, headers, body FROM callback \
    WHERE call = ANY ($1) ORDER BY call, number";

const ATTEMPTS: &str = "SELECT call, requeue_count, leg, kind, at, took_us, sent, status, verdict, \
    again_at, reason, fault, excerpt, report_mode FROM attempt WHERE call = ANY ($1) ORDER BY call, number";

/// The columns that [`read_summary`] reads.
macro_rules! summary {
    () => {
        "call.sid, call.account, CASE WHEN claim IS NULL THEN state ELSE 'claimed' END, \
         effective_at, reason, received, changed, call.cause, \
         call.class"
    };
}
pub(super) use summary;

pub(super) fn read_summary(row: &Row) -> Result<CallSummary, PgError> {
    let state = text(row, 2, State::parse)?;
    let at = Millis(row.try_get(3)?);
    Ok(CallSummary {
        sid: text(row, 0, |text| CallSid::parse(text).ok())?,
        account: text(row, 1, |text| AccountSid::parse(text).ok())?,
        state,
        // In a finished call `effective_at` is no due time.
        due: matches!(state, State::Pending | State::Claimed).then_some(at),
        reason: row.try_get(4)?,
        first_received: Millis(row.try_get(5)?),
        changed: Millis(row.try_get(6)?),
        cause: optional_text(row, 7, Cause::parse)?,
        class: text(row, 8, Class::parse)?,
    })
}

/// The callbacks of these calls with the id of their call, in the order of arrival in each call.
pub(super) async fn callbacks_of(
    session: &Session,
    calls: &[i64],
) -> Result<Vec<(i64, StoredCallback)>, PgError> {
    let rows = session.query(CALLBACKS, &[&calls]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, callback(row, 1)?)))
        .collect()
}

/// Reads a callback from the columns that start at `first`.
pub(super) fn callback(row: &Row, first: usize) -> Result<StoredCallback, PgError> {
    Ok(StoredCallback {
        received: Millis(row.try_get(first)?),
        request: SignedRequest {
            url: row.try_get(first + 1)?,
            headers: row.try_get(first + 2)?,
            body: row.try_get::<_, Vec<u8>>(first + 3)?.into(),
        },
    })
}

/// The attempts of these calls with the id of their call and its `requeue_count` of that time, the
/// oldest first in each call.
pub(super) async fn attempts_of(
    session: &Session,
    calls: &[i64],
) -> Result<Vec<(i64, i64, Attempt)>, PgError> {
    let rows = session.query(ATTEMPTS, &[&calls]).await?;
    rows.iter()
        .map(|row| {
            let attempt = Attempt {
                leg: text(row, 2, |text| CallSid::parse(text).ok())?,
                kind: text(row, 3, RequestKind::parse)?,
                report_mode: text(row, 13, ReportMode::parse)?,
                at: Millis(row.try_get(4)?),
                // Never negative: PostgreSQL has no unsigned integers.
                took: Duration::from_micros(row.try_get::<_, i64>(5)?.unsigned_abs()),
                sent: row.try_get(6)?,
                status: row.try_get::<_, Option<i32>>(7)?.map(status).transpose()?,
                verdict: verdict(row)?,
                fault: optional_text(row, 11, DeliveryFault::parse)?,
                excerpt: row.try_get(12)?,
            };
            Ok((row.try_get(0)?, row.try_get(1)?, attempt))
        })
        .collect()
}

fn status(number: i32) -> Result<u16, PgError> {
    u16::try_from(number).map_err(|_| PgError::Refused(format!("{number} is not an HTTP status")))
}

fn verdict(row: &Row) -> Result<Verdict, PgError> {
    let (again_at, reason) = (row.try_get(9)?, row.try_get(10)?);
    text(row, 8, |verdict| {
        Verdict::from_columns(&VerdictColumns {
            verdict,
            again_at,
            reason,
        })
    })
}

/// Parses a text column. Only a newer version could have written a value that this one does not
/// know.
pub(super) fn text<T>(
    row: &Row,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, PgError> {
    let text: &str = row.try_get(column)?;
    parse(text).ok_or_else(|| {
        let name = row
            .columns()
            .get(column)
            .map_or("?", |column| column.name());
        PgError::Refused(format!("column {name} has the unknown value \"{text}\""))
    })
}

pub(super) fn optional_text<T>(
    row: &Row,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, PgError> {
    match row.try_get::<_, Option<&str>>(column)? {
        Some(_) => text(row, column, parse).map(Some),
        None => Ok(None),
    }
}

/// Replaces NUL, the one character that `text` of PostgreSQL cannot contain.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
