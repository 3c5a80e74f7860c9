//! Reads and writes the table `ledger`. What it counts is in [`crate::store::ledger`].

use std::ops::Range;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::rows;
use crate::clock::Millis;
use crate::store::ledger::{
    CauseCount, Ledger, LedgerChanges, LedgerRow, NOW, PARKED_SPAN, ParkedCause, QUARTER_MS, ROWS,
    parked_causes, quarters, unit_of,
};
use crate::store::{State, StoreError};
use crate::twilio::CallSid;

pub(super) fn save(connection: &Connection, changes: &LedgerChanges) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO ledger (quarter, account, class, cause, calls) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (quarter, account, class, cause) DO UPDATE SET calls = calls + excluded.calls",
    )?;
    for ((quarter, account, class, cause), calls) in changes.rows() {
        add.execute(params![quarter, account.as_str(), class, cause, calls])?;
    }
    Ok(())
}

fn read<T>(
    connection: &Connection,
    quarters: [i64; 2],
    of: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare_cached(ROWS)?;
    statement.query_and_then(quarters, of)?.collect()
}

/// See [`Ledger::ledger`].
pub(super) fn rows_of(
    connection: &Connection,
    time: &Range<Millis>,
) -> Result<Vec<LedgerRow>, StoreError> {
    read(connection, quarters(time), |row| {
        let cause: String = row.get(3)?;
        Ok(LedgerRow {
            quarter: Millis(row.get::<_, i64>(0)?.saturating_mul(QUARTER_MS)),
            account: rows::account(row, 1)?,
            unit: rows::text(row, 2, |class| unit_of(class, &cause))?,
            calls: row.get(4)?,
        })
    })
}

/// See [`Ledger::causes`].
pub(super) fn causes(connection: &Connection) -> Result<Vec<CauseCount>, StoreError> {
    read(connection, [NOW, NOW + 1], |row| {
        Ok(CauseCount {
            account: rows::account(row, 1)?,
            state: rows::text(row, 2, State::parse)?,
            cause: rows::text(row, 3, crate::domain::cause::Cause::parse)?,
            calls: row.get::<_, i64>(4)?.unsigned_abs(),
        })
    })
}

/// See [`Ledger::parked`].
pub(super) fn parked(connection: &Connection) -> Result<Vec<ParkedCause>, StoreError> {
    let _snapshot = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    for (cause, calls) in parked_causes(&causes(connection)?) {
        let mut statement = connection.prepare_cached(PARKED_SPAN)?;
        let mut rows = statement.query([cause.to_string()])?;
        if let Some(row) = rows.next()? {
            found.push(ParkedCause {
                cause,
                calls,
                since: Millis(row.get(2)?),
                latest: Millis(row.get(1)?),
                example: rows::text(row, 0, |text| CallSid::parse(text).ok())?,
            });
        }
    }
    Ok(found)
}

#[async_trait]
impl Ledger for SqliteStore {
    async fn ledger(&self, time: Range<Millis>) -> Result<Vec<LedgerRow>, StoreError> {
        self.reader
            .ask(move |reader| rows_of(&reader.connection, &time))
            .await
    }

    async fn causes(&self) -> Result<Vec<CauseCount>, StoreError> {
        self.reader.ask(|reader| causes(&reader.connection)).await
    }

    async fn parked(&self) -> Result<Vec<ParkedCause>, StoreError> {
        self.reader.ask(|reader| parked(&reader.connection)).await
    }
}
