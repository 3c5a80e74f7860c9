//! Opens a database file: the checks, the settings, the migrations.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::store::{Migrated, OpenError};

/// Each brings the database from the version of its index to the next one, and says so in
/// `user_version`.
const MIGRATIONS: [&str; 3] = [
    include_str!("../migrations/sqlite/0001_calls.sql"),
    include_str!("../migrations/sqlite/0002_planned.sql"),
    include_str!("../migrations/sqlite/0003_refused.sql"),
];

/// "TwAB": tells our databases from others (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x5477_4142;

/// The writer's page cache in KiB: the index pages of some million calls.
const WRITER_CACHE_KIB: i64 = 32 * 1024;

const READER_CACHE_KIB: i64 = 4 * 1024;

/// Pages in the write-ahead log before they are copied into the database: 16 MiB. Longer means
/// fewer copies of a page that changes often, and a longer pause for the copying.
const CHECKPOINT_PAGES: i64 = 4_000;

/// The file's one path, whatever links lead to it: two paths would be two locks, and `SQLite` would
/// read a URI or `:memory:` as something else than a file.
pub(super) fn plain(path: &Path) -> Result<PathBuf, OpenError> {
    std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .map_err(|error| unusable(path, &error.to_string()))
}

/// Opens the file for its one writer, made or migrated as needed.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    brought_up(path).map(|(connection, _)| connection)
}

/// Migrates the file as needed and tells from which version.
pub(super) fn migrated(path: &Path) -> Result<Migrated, OpenError> {
    let to = MIGRATIONS.len();
    brought_up(path).map(|(_, from)| Migrated { from, to })
}

fn brought_up(path: &Path) -> Result<(Connection, usize), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| failed(path, error);
    make_private(path).map_err(|error| unusable(path, &format!("cannot make it: {error}")))?;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // SQLite opens what it may not write as read-only and says nothing.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(unusable(path, "it may only be read"));
    }
    let version = version(&connection, path)?;
    let journal = set_up(&connection).map_err(failed)?;
    if journal != "wal" {
        return Err(unusable(path, "its file system allows no write-ahead log"));
    }
    migrate(&mut connection, version).map_err(failed)?;
    Ok((connection, version))
}

/// Makes an empty file that its owner alone may read: it will tell who called whom. What SQLite
/// puts beside it is for the same people.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Opens the file for reading beside the writer, if there is one.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| failed(path, error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    if version(&connection, path)? < MIGRATIONS.len() {
        return Err(unusable(
            path,
            "`serve` has not yet brought it to this version",
        ));
    }
    connection
        .pragma_update(None, "cache_size", -READER_CACHE_KIB)
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The version of a database that is ours, or is empty and may become ours.
fn version(connection: &Connection, path: &Path) -> Result<usize, OpenError> {
    let number = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| failed(path, error))
    };
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if tables > 0 && number("PRAGMA application_id")? != i64::from(APPLICATION_ID) {
        return Err(unusable(path, "it belongs to another program"));
    }
    let found = usize::try_from(number("PRAGMA user_version")?)
        .map_err(|_| unusable(path, "its version is negative"))?;
    if found > MIGRATIONS.len() {
        return Err(OpenError::Newer {
            path: path.into(),
            found,
            known: MIGRATIONS.len(),
        });
    }
    Ok(found)
}

/// Returns the journal mode, which `SQLite` chooses in the end.
fn set_up(connection: &Connection) -> rusqlite::Result<String> {
    // Has an effect only before the first table, and only before the journal mode is set.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let journal =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Otherwise statements are planned anew whenever certain parameters change.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // After a burst the log is cut back to what a checkpoint leaves.
    connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * 4096)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(journal)
}

fn migrate(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for sql in &MIGRATIONS[version..] {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    Ok(())
}

fn failed(path: &Path, error: rusqlite::Error) -> OpenError {
    OpenError::of(path, error.into())
}

fn unusable(path: &Path, why: &str) -> OpenError {
    OpenError::Unusable {
        path: path.into(),
        why: why.to_owned(),
    }
}
