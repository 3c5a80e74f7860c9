//! Copies a store that may be in use.
//!
//! It does not restore: a backup is a store file of its own.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rusqlite::Connection;
use tracing::warn;

use super::lock::beside;
use super::open::create_private;
use crate::clock::Millis;
use crate::store::StoreError;

/// Writes a copy of one moment to `path`, which must not exist. The writer continues meanwhile.
pub fn back_up(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| {
        StoreError::Database(format!("cannot write {}: {error}", path.display()))
    };
    if path.try_exists().map_err(failed)? {
        return Err(failed(io::Error::other(
            "it exists already; choose another path",
        )));
    }
    let partial = partial_copy(path);
    // It may be left over from a backup that was killed, or another user may have prepared it.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => create_private(&partial).map_err(failed)?,
    }
    let copied = connection
        .execute("VACUUM INTO ?1", [partial.to_string_lossy()])
        .map_err(StoreError::from)
        .and_then(|_| name_when_synced(&partial, path).map_err(failed));
    if copied.is_err() {
        // If this fails too, the name still says that the copy is not complete.
        let _ = std::fs::remove_file(&partial);
    } else if let Some(store) = connection.path()
        && let Err(why) = note(&beside(Path::new(store), LAST_BACKUP), path)
    {
        warn!("the time of the backup cannot be noted for the metrics: {why}");
    }
    copied
}

/// Where the copy for `path` is, until it is complete.
pub fn partial_copy(path: &Path) -> PathBuf {
    beside(path, ".partial")
}

/// The end of the name of a file that names the last backup. A backup is made by another process than the
/// bridge, which shows the file's time in its metrics.
const LAST_BACKUP: &str = ".last-backup";

fn note(file: &Path, path: &Path) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => create_private(file)?,
    }
    std::fs::write(file, format!("{}\n", path.display()))
}

/// When the database at `path` was last backed up.
pub(super) fn last_of(path: &Path) -> Option<Millis> {
    let changed = std::fs::metadata(beside(path, LAST_BACKUP))
        .ok()?
        .modified()
        .ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    Some(Millis(0).plus(since))
}

fn name_when_synced(partial: &Path, path: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, path)?;
    let path = std::path::absolute(path)?;
    let folder = path.parent().unwrap_or(&path);
    File::open(folder)?.sync_all()
}
