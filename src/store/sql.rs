//! Statements that both databases run, with the words of either where they differ.
//!
//! A future that waits for SQLite only is ready at once ([`at_once`]).

mod session;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Connection, ErrorCode};
use tokio_postgres::types as postgres;

pub use self::session::Session;
pub(super) use self::session::Values as PostgresValues;

use super::StoreError;
use crate::clock::Millis;
use crate::twilio::{AccountSid, CallSid};

/// An open connection.
#[derive(Clone, Copy)]
pub enum Sql<'c> {
    Sqlite(&'c Connection),
    Postgres(&'c Session),
}

/// A parameter of a statement.
pub trait Value: ToSql + postgres::ToSql + Sync {}

impl<T: ToSql + postgres::ToSql + Sync> Value for T {}

/// The parameters `$1`, `$2` ... of a statement. SQLite numbers them as they first appear, so they appear in
/// this order.
pub type Values<'v> = &'v [&'v dyn Value];

impl Sql<'_> {
    /// The words of this database.
    pub fn words<T>(self, sqlite: T, postgres: T) -> T {
        match self {
            Self::Sqlite(_) => sqlite,
            Self::Postgres(_) => postgres,
        }
    }

    /// Text without NUL, if the database cannot store that.
    pub fn text(self, text: &str) -> String {
        match self {
            Self::Sqlite(_) => text.to_owned(),
            Self::Postgres(_) => without_nul(text),
        }
    }

    /// Reads all rows of a query.
    pub async fn query<T>(
        self,
        sql: &'static str,
        values: Values<'_>,
        mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = prepare(connection, sql)?;
                let rows =
                    statement.query_and_then(&*parameters(values), |row| read(Row::Sqlite(row)));
                rows?.collect()
            }
            Self::Postgres(session) => {
                let values: Vec<&(dyn postgres::ToSql + Sync)> =
                    values.iter().map(|value| *value as _).collect();
                let rows = session.query(sql, &values).await?;
                rows.iter().map(|row| read(Row::Postgres(row))).collect()
            }
        }
    }

    /// The first row of a query.
    pub async fn first<T>(
        self,
        sql: &'static str,
        values: Values<'_>,
        read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let rows = self.query(sql, values, read).await?;
        Ok(rows.into_iter().next())
    }

    /// The number that a query returns.
    pub async fn count(self, sql: &'static str, values: Values<'_>) -> Result<u64, StoreError> {
        let counted = self.first(sql, values, |row| row.unsigned(0)).await?;
        Ok(counted.unwrap_or_default())
    }

    /// Runs a statement that returns no rows; how many rows it changed.
    pub async fn execute(self, sql: &'static str, values: Values<'_>) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let changed = prepare(connection, sql)?.execute(&*parameters(values))?;
                Ok(u64::try_from(changed).unwrap_or(u64::MAX))
            }
            Self::Postgres(session) => {
                let values: Vec<&(dyn postgres::ToSql + Sync)> =
                    values.iter().map(|value| *value as _).collect();
                session.execute(sql, &values).await
            }
        }
    }
}

fn prepare<'c>(
    connection: &'c Connection,
    sql: &str,
) -> rusqlite::Result<rusqlite::CachedStatement<'c>> {
    let statement = connection.prepare_cached(sql)?;
    debug_assert!(
        (1..=statement.parameter_count()).all(|n| {
            let name = statement.parameter_name(n).unwrap_or_default();
            name[1..] == n.to_string()
        }),
        "the parameters do not appear in their order: {sql}"
    );
    Ok(statement)
}

fn parameters(values: Values<'_>) -> Vec<&dyn ToSql> {
    values.iter().map(|value| *value as _).collect()
}

/// A row of a query.
#[derive(Clone, Copy)]
pub enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl<'r> Row<'r> {
    pub fn get<T>(self, column: usize) -> Result<T, StoreError>
    where
        T: FromSql + for<'a> postgres::FromSql<'a>,
    {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// A count, which is never negative: no database has unsigned integers.
    pub fn unsigned(self, column: usize) -> Result<u64, StoreError> {
        Ok(self.get::<i64>(column)?.unsigned_abs())
    }

    pub fn millis(self, column: usize) -> Result<Millis, StoreError> {
        Ok(Millis(self.get(column)?))
    }

    pub fn optional_millis(self, column: usize) -> Result<Option<Millis>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Millis))
    }

    pub fn micros(self, column: usize) -> Result<Duration, StoreError> {
        self.unsigned(column).map(Duration::from_micros)
    }

    pub fn body(self, column: usize) -> Result<Bytes, StoreError> {
        self.get::<Vec<u8>>(column).map(Bytes::from)
    }

    pub fn account(self, column: usize) -> Result<AccountSid, StoreError> {
        self.parse(column, |text| AccountSid::parse(text).ok())
    }

    pub fn call_sid(self, column: usize) -> Result<CallSid, StoreError> {
        self.parse(column, |text| CallSid::parse(text).ok())
    }

    /// Parses a text. Only a newer version could have written a value that this one does not know.
    pub fn parse<T>(
        self,
        column: usize,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        let text = self.optional_str(column)?.unwrap_or_default();
        parse(text).ok_or_else(|| {
            let name = match self {
                Self::Sqlite(row) => row.as_ref().column_name(column).unwrap_or("?"),
                Self::Postgres(row) => row
                    .columns()
                    .get(column)
                    .map_or("?", |column| column.name()),
            };
            StoreError::Database(format!("column {name} has the unknown value \"{text}\""))
        })
    }

    pub fn parse_optional<T>(
        self,
        column: usize,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        match self.optional_str(column)? {
            Some(_) => self.parse(column, parse).map(Some),
            None => Ok(None),
        }
    }

    fn optional_str(self, column: usize) -> Result<Option<&'r str>, StoreError> {
        match self {
            Self::Sqlite(row) => {
                let text = row.get_ref(column)?.as_str_or_null();
                Ok(text.map_err(rusqlite::Error::from)?)
            }
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

/// Replaces NUL, the one character that `text` of PostgreSQL cannot contain.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The result of work that waits for SQLite only.
pub(super) fn at_once<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    work.now_or_never().unwrap_or(Err(StoreError::Closed))
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        match (&error, error.sqlite_error_code()) {
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
            // A row that every database of ours has.
            | (rusqlite::Error::QueryReturnedNoRows, _) => Self::Damaged(why),
            (_, Some(ErrorCode::DatabaseBusy)) => Self::Locked,
            (
                _,
                Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly),
            ) => Self::Disk(why),
            _ => Self::Database(why),
        }
    }
}
