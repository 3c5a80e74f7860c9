//! What other programs do to the database file: they hold its write lock, or keep its log from being
//! emptied.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::{info, warn};

use super::lock::beside;
use super::{backup, open};
use crate::store::{StoreError, StoreFiles, StoreWarning, disk};

/// Bytes of the write-ahead log above which a reader must keep it from being emptied: a quarter more
/// than the size at which each commit copies it into the database.
const PINNED_LOG: u64 = open::CHECKPOINT_PAGES.unsigned_abs() * 4_096 * 5 / 4;

/// How long [`look_from_outside`] waits for the write lock. A bridge under load releases it many times.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The health of one file, as its writer notices it.
#[derive(Clone, Debug)]
pub(super) struct FileHealth(Arc<Noticed>);

#[derive(Debug)]
struct Noticed {
    path: PathBuf,
    is_locked: AtomicBool,
    is_log_kept: AtomicBool,
    is_log_long: AtomicBool,
}

impl FileHealth {
    pub fn of(connection: &Connection) -> Self {
        Self(Arc::new(Noticed {
            path: connection.path().unwrap_or_default().into(),
            is_locked: AtomicBool::default(),
            is_log_kept: AtomicBool::default(),
            is_log_long: AtomicBool::default(),
        }))
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub fn warning(&self) -> Option<StoreWarning> {
        let is_log_pinned = self.0.is_log_kept.load(Ordering::Relaxed)
            || self.0.is_log_long.load(Ordering::Relaxed);
        if self.0.is_locked.load(Ordering::Relaxed) {
            Some(StoreWarning::WriteLocked)
        } else {
            is_log_pinned.then_some(StoreWarning::LogPinned)
        }
    }

    pub fn write_lock_is_held(&self, is_held: bool) {
        self.note(&self.0.is_locked, is_held, StoreWarning::WriteLocked);
    }

    /// Whether a reader kept the log from being emptied after a removal.
    pub fn log_was_kept(&self, is_kept: bool) {
        self.note(&self.0.is_log_kept, is_kept, StoreWarning::LogPinned);
    }

    pub fn check_log_size(&self) {
        let is_long = log_bytes(&self.0.path) > PINNED_LOG;
        self.note(&self.0.is_log_long, is_long, StoreWarning::LogPinned);
    }

    pub fn files(&self) -> StoreFiles {
        let folder = self.0.path.parent().unwrap_or(Path::new("."));
        StoreFiles {
            log_bytes: log_bytes(&self.0.path),
            free_bytes: disk::free_space(folder).unwrap_or_default(),
            backed_up_at: backup::last_of(&self.0.path),
        }
    }

    /// Logs a change once.
    fn note(&self, noticed: &AtomicBool, is_so: bool, warning: StoreWarning) {
        if noticed.swap(is_so, Ordering::Relaxed) == is_so {
            return;
        }
        let path = self.0.path.display();
        if is_so {
            warn!("{path}: {warning}");
        } else {
            info!("{path}: no longer true: {warning}");
        }
    }
}

/// The warnings about a file, whether or not a bridge has it open. Takes the write lock for a moment;
/// writes nothing.
///
/// # Errors
/// The file cannot be opened for writing.
pub fn look_from_outside(path: &Path) -> Result<Vec<StoreWarning>, rusqlite::Error> {
    let mut found = Vec::new();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Without a bridge this is the last connection, and the log is not its to copy and remove.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(PROBE_TIMEOUT)?;
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            found.push(StoreWarning::WriteLocked);
        }
        tried => tried?,
    }
    if log_bytes(path) > PINNED_LOG {
        found.push(StoreWarning::LogPinned);
    }
    Ok(found)
}

/// The size of the write-ahead log; 0 without one.
fn log_bytes(path: &Path) -> u64 {
    beside(path, "-wal").metadata().map_or(0, |log| log.len())
}

/// The most damages that SQLite reports.
const MAX_DAMAGES: i64 = 20;

/// A sentence for each damage that SQLite finds in its file. Reads every page.
pub fn verify_integrity(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = format!("PRAGMA integrity_check({MAX_DAMAGES})");
    let mut statement = connection.prepare(&sql)?;
    let lines = statement.query_map([], |row| row.get(0))?;
    let mut lines: Vec<String> = lines.collect::<rusqlite::Result<_>>()?;
    lines.retain(|line| line != "ok");
    Ok(lines)
}
