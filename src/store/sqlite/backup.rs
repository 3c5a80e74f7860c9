//! Copies a store that may be in use.
//!
//! It does not restore: a backup is a store file of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

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
    let partial = beside(path);
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

/// Creates an empty file that only its owner may read; fails if there is anything under its name.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map(drop)
}

/// A name for the copy while it is not complete.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn name_when_synced(partial: &Path, path: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, path)?;
    let path = std::path::absolute(path)?;
    let folder = path.parent().unwrap_or(&path);
    File::open(folder)?.sync_all()
}
