//! `[directory]`: the e-mail addresses of agents, from entries and a CSV file, and the default one.

use std::path::PathBuf;

use super::reader::SettingsReader;
use crate::domain::directory::entries::DirectoryEntries;
use crate::domain::directory::{Directory, is_email};

/// `directory.file`, which the bridge reads again when it changes.
#[derive(Clone, Debug)]
pub struct DirectoryFile {
    pub path: PathBuf,
    /// The entries and the default of the configuration itself.
    pub configured: DirectoryEntries,
}

/// Reads the section: the current directory, and the file that can change it.
pub(super) fn read(reader: &mut SettingsReader) -> (Directory, Option<DirectoryFile>) {
    let mut entries = DirectoryEntries::default();
    for (address, email) in reader.table("directory.entries").unwrap_or_default() {
        if let Err(why) = entries.add(&address, &email, "directory.entries") {
            reader.mistake(format!("directory.entries.\"{address}\": {why}"));
        }
    }
    let file = reader.text("directory.file", |path| {
        std::fs::read(path)
            .map(|bytes| (path.to_owned(), bytes))
            .map_err(|why| format!("cannot be read: {why}"))
    });
    entries.default = reader.text("directory.default", |text| {
        if is_email(text) {
            Ok(text.to_owned())
        } else {
            Err("must be an e-mail address".to_owned())
        }
    });
    let Some((path, bytes)) = file else {
        return (entries.directory(), None);
    };
    let configured = entries.clone();
    for mistake in entries.add_csv(&path, &bytes).err().unwrap_or_default() {
        reader.mistake(mistake);
    }
    let file = DirectoryFile {
        path: PathBuf::from(path),
        configured,
    };
    (entries.directory(), Some(file))
}
