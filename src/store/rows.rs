//! Rows that both databases have in the same columns.

use super::columns::VerdictColumns;
use super::sql::Row;
use super::{SignedRequest, StoreError, StoredCallback};
use crate::acquire::{DeliveryFault, RequestKind};
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::report_mode::ReportMode;

/// The columns that [`attempt`] reads.
macro_rules! attempt_columns {
    () => {
        "requeue_count, leg, kind, at, took_us, sent, status, verdict, again_at, reason, fault, \
         excerpt, report_mode"
    };
}
pub(super) use attempt_columns;

/// Reads a callback from the columns that start at `first`: received, url, headers, body.
pub(super) fn callback(row: Row<'_>, first: usize) -> Result<StoredCallback, StoreError> {
    Ok(StoredCallback {
        received: row.millis(first)?,
        request: request(row, first + 1)?,
    })
}

pub(super) fn request(row: Row<'_>, first: usize) -> Result<SignedRequest, StoreError> {
    Ok(SignedRequest {
        url: row.get(first)?,
        headers: row.get(first + 1)?,
        body: row.body(first + 2)?,
    })
}

/// Reads an attempt and the requeue count of its time from the columns that start at `first`.
pub(super) fn attempt(row: Row<'_>, first: usize) -> Result<(i64, Attempt), StoreError> {
    let status: Option<i32> = row.get(first + 6)?;
    let again_at = row.get(first + 8)?;
    let reason: Option<String> = row.get(first + 9)?;
    let attempt = Attempt {
        leg: row.call_sid(first + 1)?,
        kind: row.parse(first + 2, RequestKind::parse)?,
        at: row.millis(first + 3)?,
        took: row.micros(first + 4)?,
        sent: row.get(first + 5)?,
        status: status.map(http_status).transpose()?,
        verdict: row.parse(first + 7, |verdict| {
            Verdict::from_columns(&VerdictColumns {
                verdict,
                again_at,
                reason: reason.as_deref(),
            })
        })?,
        fault: row.parse_optional(first + 10, DeliveryFault::parse)?,
        excerpt: row.get(first + 11)?,
        report_mode: row.parse(first + 12, ReportMode::parse)?,
    };
    Ok((row.get(first)?, attempt))
}

fn http_status(number: i32) -> Result<u16, StoreError> {
    u16::try_from(number)
        .map_err(|_| StoreError::Database(format!("{number} is not an HTTP status")))
}
