//! Copies a store that may be in use.
//!
//! It does not restore: a backup is a store file of its own.

use std::fs::File;
use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::lock::beside;
use super::open::create_private;
use crate::store::StoreError;

/// Writes a copy of one moment to `path`, which must not exist. The writer continues meanwhile.
pub(super) fn back_up(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| {
        StoreError::Database(format!("cannot write {}: {error}", path.display()))
    };
    if path.try_exists().map_err(failed)? {
        return Err(failed(io::Error::other(
            "it exists already; choose another path",
        )));
    }
    let partial = beside(path, ".partial");
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
    }
    copied
}

fn name_when_synced(partial: &Path, path: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, path)?;
    let path = std::path::absolute(path)?;
    let folder = path.parent().unwrap_or(&path);
    File::open(folder)?.sync_all()
}
