//! `[directory]`: the entries, the file beside them, and the e-mail for all others.

use std::path::PathBuf;

use super::DirectoryFile;
use super::reader::SettingsReader;
use crate::domain::directory::{Directory, DirectoryEntries, is_email};

/// The directory as it stands now, and the file that may change it.
pub(super) fn read(reader: &mut SettingsReader) -> (Directory, Option<DirectoryFile>) {
    let mut listing = DirectoryEntries::default();
    for (address, email) in reader.table("directory.entries").unwrap_or_default() {
        if let Err(why) = listing.add(&address, &email, "directory.entries") {
            reader.mistake(format!("directory.entries.\"{address}\": {why}"));
        }
    }
    let file = reader.text("directory.file", |path| {
        std::fs::read(path)
            .map(|bytes| (path.to_owned(), bytes))
            .map_err(|why| format!("cannot be read: {why}"))
    });
    listing.default = reader.text("directory.default", |text| {
        if is_email(text) {
            Ok(text.to_owned())
        } else {
            Err("must be an e-mail address".to_owned())
        }
    });
    let Some((path, bytes)) = file else {
        return (listing.directory(), None);
    };
    let beside = listing.clone();
    for mistake in listing.add_csv(&path, &bytes).err().unwrap_or_default() {
        reader.mistake(mistake);
    }
    let file = DirectoryFile {
        path: PathBuf::from(path),
        beside,
    };
    (listing.directory(), Some(file))
}
