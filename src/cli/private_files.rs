//! Files with personal data: only their owner can read them, and none exists before. A file, link or hard
//! link that another user prepared under the name would otherwise receive the data, or keep its mode.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Creates a file; fails if there is anything under its name.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Creates a file with this text.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a file in place of one that is there, which is removed and not written.
pub fn replace(path: &Path) -> anyhow::Result<File> {
    let replaced = || {
        match path.symlink_metadata() {
            Ok(old) if old.is_file() => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::other("it is not a regular file")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        create(path)
    };
    replaced().with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a folder; fails if there is anything under its name.
pub fn create_folder(path: &Path) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        create_folders(parent)?;
    }
    let created = DirBuilder::new().mode(0o700).create(path);
    created.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow::anyhow!(
            "{} already exists; choose another folder with --out",
            path.display()
        ),
        _ => anyhow::Error::new(error).context(format!("cannot create {}", path.display())),
    })
}

/// Creates the folders that are missing.
pub fn create_folders(path: &Path) -> anyhow::Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.with_context(|| format!("cannot create {}", path.display()))
}
