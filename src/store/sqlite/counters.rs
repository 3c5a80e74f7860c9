//! Reads and writes the one row of the table `counters`. Its arithmetic is in
//! [`crate::store::counters`].

use rusqlite::Connection;

use crate::store::StoreError;
use crate::store::counters::Counters;
use crate::store::sql::{Row, Sql, at_once};

pub fn load(connection: &Connection) -> Result<Counters, StoreError> {
    let sql = "SELECT seen, purged, pending, delivered, skipped, parked FROM counters";
    connection.query_row_and_then(sql, [], |row| Counters::read(Row::Sqlite(row)))
}

pub(super) fn save(connection: &Connection, counters: &Counters) -> Result<(), StoreError> {
    let sql = "UPDATE counters SET seen = $1, purged = $2, pending = $3, delivered = $4, \
        skipped = $5, parked = $6";
    at_once(Sql::Sqlite(connection).execute(sql, &counters.values())).map(drop)
}
