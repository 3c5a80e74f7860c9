//! The lock on a database file, and a note next to it that the file exists.
//!
//! It reads no database; it knows only which files exist and their sizes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::store::OpenError;

/// The contents of the lock file while a bridge has the database open, and after it closed it.
const OPEN: &str = "open\n";
const CLOSED: &str = "closed\n";

/// The right to write a database file, held by the kernel for this process until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// Whether this process is the one that has the database open.
    is_open: bool,
}

impl Lock {
    /// Locks `<path>.lock`, a file that is never removed.
    ///
    /// # Errors
    /// Another bridge has the lock, or the database file is missing or empty but was in use before.
    /// `SQLite` would treat it as new, and remove the log that belongs to the old one.
    pub fn take(path: &Path) -> Result<Self, OpenError> {
        let unusable = |what: &str, error: &io::Error| OpenError::Unusable {
            path: path.into(),
            why: format!("cannot {what}: {error}"),
        };
        let name = beside(path, ".lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&name)
            .map_err(|error| unusable("make its lock file", &error))?;
        // The kernel releases this lock if the process dies, so a crash needs no cleanup.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.into() }),
            Err(TryLockError::Error(error)) => return Err(unusable("lock it", &error)),
        }
        let mut left = String::new();
        file.read_to_string(&mut left)
            .map_err(|error| unusable("read its lock file", &error))?;
        check_files(path, &left)?;
        Ok(Self {
            file,
            is_open: false,
        })
    }

    /// Notes that the database exists and is in use.
    pub fn opened(&mut self) {
        self.is_open = true;
        self.write_state(OPEN);
    }

    fn write_state(&mut self, word: &str) {
        let written = self
            .file
            // Written before it is cut, so that the file is never empty: an empty one means that
            // there was no store.
            .rewind()
            .and_then(|()| self.file.write_all(word.as_bytes()))
            .and_then(|()| self.file.set_len(word.len() as u64));
        if let Err(why) = written {
            // Only the check of the files at the next start depends on it.
            warn!("failed to write the lock file of the store: {why}");
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_open {
            self.write_state(CLOSED);
        }
    }
}

/// Compares the existing files with the text that the last owner `left` in the lock file.
fn check_files(path: &Path, left: &str) -> Result<(), OpenError> {
    let (log, lock) = (beside(path, "-wal"), beside(path, ".lock"));
    let remains = match (size(&log), left) {
        // A new database file would make SQLite delete this log, and the calls in it.
        (1.., _) => Some(&log),
        (0, OPEN | CLOSED) => Some(&lock),
        _ => None,
    };
    match (size(path), remains) {
        (0, Some(remains)) => Err(OpenError::FileMissing {
            path: path.into(),
            remains: remains.clone(),
        }),
        (0, None) => {
            info!("creating a new, empty store: {}", path.display());
            Ok(())
        }
        _ if left == OPEN && !log.exists() => {
            warn!(
                "{} is missing though the last bridge was killed: the calls that it recorded last are lost \
                 unless SQLite has already moved them into {}; Twilio's call log has them",
                log.display(),
                path.display()
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

/// In bytes; 0 for a missing file.
fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |file| file.len())
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
