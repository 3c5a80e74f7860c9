//! Reads and writes the one row of the table `counters`. Its arithmetic is in
//! [`crate::store::counters`].

use rusqlite::{Connection, params};

use crate::store::counters::Counters;

pub(super) fn load(connection: &Connection) -> rusqlite::Result<Counters> {
    connection.query_row(
        "SELECT seen, purged, pending, delivered, skipped, parked FROM counters",
        [],
        |row| {
            Ok(Counters {
                seen: row.get(0)?,
                purged: row.get(1)?,
                pending: row.get(2)?,
                delivered: row.get(3)?,
                skipped: row.get(4)?,
                parked: row.get(5)?,
            })
        },
    )
}

pub(super) fn save(connection: &Connection, counters: &Counters) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE counters SET seen = ?1, purged = ?2, pending = ?3, delivered = ?4, \
             skipped = ?5, parked = ?6",
        )?
        .execute(params![
            counters.seen,
            counters.purged,
            counters.pending,
            counters.delivered,
            counters.skipped,
            counters.parked
        ])?;
    Ok(())
}

/// Writes without changing a number, so that the commit reaches the disk.
pub(super) fn ping(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE counters SET pings = pings + 1")?
        .execute([])?;
    Ok(())
}
