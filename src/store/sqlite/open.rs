//! Opens a database file: the checks, the settings, the migrations.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::store::error::DEVELOPMENT_VERSION;
use crate::store::{Migrated, OpenError};

/// Each brings a database from the version of its index to the next one, which it writes to
/// `user_version`.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/sqlite/0001_initial.sql")];

/// "TwAB": distinguishes our databases from those of other programs (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x5477_4142;

/// The writer's page cache in KiB: the index pages of some million calls.
const WRITER_CACHE_KIB: i64 = 32 * 1024;

const READER_CACHE_KIB: i64 = 4 * 1024;

/// Pages in the write-ahead log before they are copied into the database: 16 MiB. Longer means
/// fewer copies of a page that changes often, and a longer pause for the copying.
pub(super) const CHECKPOINT_PAGES: i64 = 4_000;

/// How long the writer waits for a lock of another program before it notes that, and waits again.
const LOCK_POLL: Duration = Duration::from_millis(250);

/// The canonical path of the file: two paths would be two locks, and `SQLite` would read a URI or
/// `:memory:` as something other than a file. An error if it is no file, or not for this user.
pub(super) fn plain(path: &Path) -> Result<PathBuf, OpenError> {
    let path = std::fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .map_err(|error| unusable(path, &error.to_string()))?;
    if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        let why = "it is a folder or a device; let store.url name a file, which `serve` creates";
        return Err(unusable(&path, why));
    }
    // Without opening it: closing it again would drop the locks of this process.
    if access(&path, Access::READ_OK) == Err(Errno::ACCESS) {
        let why = "permission denied; run the command as root or as the user of the bridge";
        return Err(unusable(&path, why));
    }
    Ok(path)
}

/// Opens the file for its one writer; creates or migrates it as needed.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    open_and_migrate(path, &MIGRATIONS).map(|(connection, _)| connection)
}

/// Creates or migrates the file as needed; returns its versions before and after.
pub(super) fn migrated(path: &Path) -> Result<Migrated, OpenError> {
    open_and_migrate(path, &MIGRATIONS).map(|(_, migrated)| migrated)
}

fn open_and_migrate(path: &Path, migrations: &[&str]) -> Result<(Connection, Migrated), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| failed(path, error);
    match create_private(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(unusable(path, &format!("cannot create it: {error}")));
        }
        _ => {}
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    // SQLite opens a file that it may not write read-only, without an error.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(unusable(path, "it may only be read"));
    }
    // Before `set_up`, which would change a file of another program.
    let version = version(&connection, path, migrations.len())?;
    let journal = set_up(&connection).map_err(failed)?;
    if journal != "wal" {
        return Err(unusable(path, "its file system allows no write-ahead log"));
    }
    migrate(&mut connection, &migrations[version..]).map_err(failed)?;
    let migrated = Migrated {
        from: version,
        to: migrations.len(),
    };
    Ok((connection, migrated))
}

/// Creates an empty file that only its owner may read, because it will have personal data; fails if
/// there is anything under its name. SQLite gives the files beside it the same mode.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map(drop)
}

/// Opens the file read-only, whether or not a writer has it open.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| failed(path, error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    match version(&connection, path, MIGRATIONS.len())? {
        0 => {
            let why = "it is empty; `serve` or `migrate` makes a store of it";
            return Err(unusable(path, why));
        }
        older if older < MIGRATIONS.len() => {
            let why = "an older version of this program wrote it; `serve` or `migrate` migrates it";
            return Err(unusable(path, why));
        }
        _ => {}
    }
    connection
        .pragma_update(None, "cache_size", -READER_CACHE_KIB)
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// The version of a database that is ours; 0 if it is empty and may become ours. An error if it is
/// newer than version `known`.
fn version(connection: &Connection, path: &Path, known: usize) -> Result<usize, OpenError> {
    let number = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .map_err(|error| failed(path, error))
    };
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if tables > 0 && number("PRAGMA application_id")? != i64::from(APPLICATION_ID) {
        return Err(unusable(path, "it belongs to another program"));
    }
    // A table that no release has. The versions of development were numbered 1 to 3, too.
    if number("SELECT count(*) FROM sqlite_schema WHERE name = 'tally'")? > 0 {
        return Err(unusable(path, DEVELOPMENT_VERSION));
    }
    let found = usize::try_from(number("PRAGMA user_version")?)
        .map_err(|_| unusable(path, "its version is negative"))?;
    if found > known {
        return Err(OpenError::Newer {
            path: path.into(),
            found,
            known,
        });
    }
    Ok(found)
}

/// Returns the journal mode: `SQLite` may choose another than it was asked for.
fn set_up(connection: &Connection) -> rusqlite::Result<String> {
    // Has an effect only before the first table, and only before the journal mode is set.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let journal =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // Removed data is overwritten, in the file and in the copies of its pages in the log.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.busy_timeout(LOCK_POLL)?;
    // Otherwise SQLite plans some statements again for each new parameter.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Truncate the log after a burst.
    connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * 4096)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(journal)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    for sql in migrations {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Made up: what a release after this one could bring.
    const NEXT: &str = "ALTER TABLE call ADD COLUMN note TEXT NOT NULL DEFAULT 'none';
        PRAGMA user_version = 2";

    #[test]
    fn a_file_of_this_version_is_migrated_to_the_next_and_then_refused_as_newer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("bridge.db");
        let (connection, migrated) = open_and_migrate(&path, &MIGRATIONS).expect("a new file");
        assert_eq!((migrated.from, migrated.to), (0, 1));
        let call = "INSERT INTO call (id, sid, account, state, effective_at, changed, received, callbacks, \
             attempts, requeue_count, planned_callbacks) \
             VALUES (1, 'CA1', 'AC1', 'pending', 5, 5, 5, 1, 0, 0, 0)";
        connection.execute(call, []).expect("a call");
        drop(connection);

        let next = [MIGRATIONS[0], NEXT];
        for from in [1, 2] {
            let (connection, migrated) = open_and_migrate(&path, &next).expect("it is migrated");
            assert_eq!((migrated.from, migrated.to), (from, 2));
            let note = connection.query_row("SELECT sid || note FROM call", [], |row| {
                row.get::<_, String>(0)
            });
            assert_eq!(note.expect("the call is there"), "CA1none");
        }
        let refused = open_and_migrate(&path, &MIGRATIONS).expect_err("it is newer");
        assert!(
            matches!(
                refused,
                OpenError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{refused}"
        );
    }

    #[test]
    fn a_file_of_a_development_version_is_refused_as_such() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("bridge.db");
        let (connection, _) = open_and_migrate(&path, &MIGRATIONS).expect("a new file");
        let tables = "DROP TABLE counters; CREATE TABLE tally (id INTEGER)";
        connection.execute_batch(tables).expect("as it was");
        drop(connection);
        for version in 1..=3 {
            let connection = Connection::open(&path).expect("a database");
            let set = connection.pragma_update(None, "user_version", version);
            set.expect("set");
            drop(connection);
            for refused in [writer(&path), reader(&path)] {
                let why = refused.expect_err("no release can read it").to_string();
                assert!(why.contains("a development version"), "{why}");
            }
        }
    }
}
