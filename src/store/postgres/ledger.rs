//! Reads the view `ledger`, and folds its changes. A trigger of the table `call` writes them.

use std::ops::Range;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresStore;
use super::operator_queries::count;
use super::rows::text;
use super::session::{PgError, Session};
use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::store::ledger::{
    CauseCount, Ledger, LedgerRow, NOW, PARKED_SPAN, ParkedCause, QUARTER_MS, ROWS, parked_causes,
    quarters, unit_of,
};
use crate::store::{State, StoreError};
use crate::twilio::{AccountSid, CallSid};

const FOLD: &str = include_str!("sql/fold_ledger.sql");

/// Changes that one statement folds, so that it ends within its timeout.
const FOLD_BATCH: u16 = 2_000;

/// Adds changes to their rows; whether there may be more.
pub(super) async fn fold(session: &Session) -> Result<bool, PgError> {
    let folded = count(session, FOLD, &[&i64::from(FOLD_BATCH)]).await?;
    Ok(folded == u64::from(FOLD_BATCH))
}

async fn read<T>(
    session: &Session,
    [from, to]: [i64; 2],
    of: impl Fn(&Row) -> Result<T, PgError>,
) -> Result<Vec<T>, PgError> {
    let rows = session.query(ROWS, &[&from, &to]).await?;
    rows.iter().map(of).collect()
}

fn account(row: &Row) -> Result<AccountSid, PgError> {
    text(row, 1, |text| AccountSid::parse(text).ok())
}

/// See [`Ledger::ledger`].
pub(super) async fn rows_of(
    session: &Session,
    time: &Range<Millis>,
) -> Result<Vec<LedgerRow>, PgError> {
    let row_of = |row: &Row| {
        let cause: &str = row.try_get(3)?;
        Ok(LedgerRow {
            quarter: Millis(row.try_get::<_, i64>(0)?.saturating_mul(QUARTER_MS)),
            account: account(row)?,
            unit: text(row, 2, |class| unit_of(class, cause))?,
            calls: row.try_get(4)?,
        })
    };
    read(session, quarters(time), row_of).await
}

/// See [`Ledger::causes`].
pub(super) async fn causes(session: &Session) -> Result<Vec<CauseCount>, PgError> {
    let count_of = |row: &Row| {
        Ok(CauseCount {
            account: account(row)?,
            state: text(row, 2, State::parse)?,
            cause: text(row, 3, Cause::parse)?,
            calls: row.try_get::<_, i64>(4)?.unsigned_abs(),
        })
    };
    read(session, [NOW, NOW + 1], count_of).await
}

/// See [`Ledger::parked`].
async fn parked(session: &Session) -> Result<Vec<ParkedCause>, PgError> {
    let mut found = Vec::new();
    for (cause, calls) in parked_causes(&causes(session).await?) {
        let rows = session.query(PARKED_SPAN, &[&cause.to_string()]).await?;
        // A call of the count may have been requeued since.
        if let Some(row) = rows.first() {
            found.push(ParkedCause {
                cause,
                calls,
                since: Millis(row.try_get(2)?),
                latest: Millis(row.try_get(1)?),
                example: text(row, 0, |text| CallSid::parse(text).ok())?,
            });
        }
    }
    Ok(found)
}

#[async_trait]
impl Ledger for PostgresStore {
    async fn ledger(&self, time: Range<Millis>) -> Result<Vec<LedgerRow>, StoreError> {
        self.query(async move |session| rows_of(session, &time).await)
            .await
    }

    async fn causes(&self) -> Result<Vec<CauseCount>, StoreError> {
        self.query(causes).await
    }

    async fn parked(&self) -> Result<Vec<ParkedCause>, StoreError> {
        self.query(parked).await
    }
}
