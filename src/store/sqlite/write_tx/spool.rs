//! The operations of a spool: it lists its calls, and removes those that the database has.

use rusqlite::params;

use super::WriteTx;
use crate::clock::Millis;
use crate::domain::subject::Subject;
use crate::store::erasure::is_in_request;
use crate::store::rows::request;
use crate::store::sql::Row;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{NewCallback, StoreError};
use crate::twilio::{CallSid, CallbackKey};

/// A call with its callbacks and when each was received, in the order of arrival.
pub struct Waiting {
    pub row: i64,
    pub sid: CallSid,
    pub callbacks: Vec<(NewCallback, Millis)>,
}

/// A call of which another store has so many callbacks.
#[derive(Clone, Copy)]
pub struct Transferred {
    pub row: i64,
    pub callbacks: usize,
}

impl WriteTx {
    /// Up to `limit` calls behind the one in that row, in the order of their rows.
    pub fn waiting(&self, after: i64, limit: usize) -> Result<Vec<Waiting>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows: Vec<i64> = self
            .connection
            .prepare_cached("SELECT id FROM call WHERE id > ?1 ORDER BY id LIMIT ?2")?
            .query_and_then([after, limit], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let calls = rows.into_iter().filter_map(|id| {
            let call = CallRow::load(&self.connection, id).transpose()?;
            Some(call.and_then(|call| self.waiting_of(call)))
        });
        calls.collect()
    }

    fn waiting_of(&self, call: CallRow) -> Result<Waiting, StoreError> {
        let [first, last] = rows::rows_of(call.id);
        // Those that waited for a database that hung are kept a little after later ones.
        let mut statement = self.connection.prepare_cached(
            "SELECT leg, key, received, url, headers, body FROM callback \
             WHERE id BETWEEN ?1 AND ?2 ORDER BY received, id",
        )?;
        let callbacks = statement.query_and_then(params![first, last], |row| {
            let row = Row::Sqlite(row);
            let leg = row.parse_optional(0, |text| CallSid::parse(text).ok())?;
            let callback = NewCallback {
                account: call.account.clone(),
                call: call.sid.clone(),
                leg: leg.unwrap_or_else(|| call.sid.clone()),
                key: CallbackKey::stored(row.get(1)?),
                request: request(row, 3)?,
            };
            Ok((callback, row.millis(2)?))
        });
        Ok(Waiting {
            row: call.id,
            callbacks: callbacks?.collect::<Result<_, StoreError>>()?,
            sid: call.sid,
        })
    }

    /// Removes these calls, but for those that have got more callbacks since; returns how many
    /// callbacks were removed.
    pub fn remove_transferred(&mut self, calls: &[Transferred]) -> Result<u64, StoreError> {
        let mut removed = 0;
        for transferred in calls {
            let Some(call) = CallRow::load(&self.connection, transferred.row)? else {
                continue;
            };
            if usize::try_from(call.callbacks) == Ok(transferred.callbacks) {
                self.remove(&call, None)?;
                removed += call.callbacks.unsigned_abs();
            }
        }
        Ok(removed)
    }

    /// The calls that have the subject.
    pub fn waiting_with(&self, subject: &Subject) -> Result<Vec<Waiting>, StoreError> {
        let mut waiting = self.waiting(0, usize::MAX)?;
        waiting.retain(|call| {
            let mut callbacks = call.callbacks.iter().map(|(callback, _)| callback);
            callbacks.any(|callback| is_in_request(subject, &callback.request))
        });
        Ok(waiting)
    }

    /// Erases the calls that have the subject; returns the number of their callbacks.
    pub fn erase_waiting(&mut self, subject: &Subject, now: Millis) -> Result<u64, StoreError> {
        let mut removed = 0;
        for waiting in self.waiting_with(subject)? {
            if let Some(call) = CallRow::load(&self.connection, waiting.row)? {
                removed += call.callbacks.unsigned_abs();
                self.erase(&call, now)?;
            }
        }
        Ok(removed)
    }
}
