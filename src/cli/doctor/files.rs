//! Checks that other users cannot read files with secrets or calls.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::note::Note;
use crate::config::{Setting, SettingOrigin};

/// Permission bits of users other than the owner and its group.
const READ_BY_ALL: u32 = 0o004;
const WRITTEN_BY_ALL: u32 = 0o002;

/// `database` is the file that a bridge on this machine writes, `config_file` the configuration.
pub(super) fn check(
    database: Option<&Path>,
    settings: &[Setting],
    config_file: Option<&Path>,
) -> Vec<Note> {
    let mut notes = Vec::new();
    for setting in settings {
        if let Some(path) = &setting.file {
            notes.extend(of_secret(path, &setting.key));
        }
    }
    let is_secret = |setting: &&Setting| {
        let value = setting.value.as_deref().unwrap_or_default();
        setting.origin == SettingOrigin::File && setting.file.is_none() && value.ends_with("set)")
    };
    if let (Some(file), Some(setting)) = (config_file, settings.iter().find(is_secret)) {
        notes.extend(of_secret(file, &setting.key));
    }
    notes.extend(database.and_then(of_database));
    if notes.is_empty() {
        notes.push(Note::ok(
            "files",
            "no file with secrets or calls is readable by all users",
        ));
    }
    notes
}

fn mode(path: &Path) -> Option<u32> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(metadata.permissions().mode())
}

fn of_secret(path: &Path, key: &str) -> Option<Note> {
    let shown = path.display();
    let sentence = format!(
        "{shown} contains a secret ({key}) and every user of this machine can read it; run chmod \
         600 {shown}, and replace the secret"
    );
    (mode(path)? & (READ_BY_ALL | WRITTEN_BY_ALL) != 0).then(|| Note::problem("files", sentence))
}

fn of_database(path: &Path) -> Option<Note> {
    let shown = path.display();
    let folder = std::path::absolute(path).ok()?;
    // Other users cannot open a file in a folder that they cannot enter.
    let is_hidden = mode(folder.parent()?)? & 0o001 == 0;
    let sentence = format!(
        "{shown} contains numbers and names of callers, and every user of this machine can read \
         it; run chmod 600 {shown}"
    );
    let is_open = mode(path)? & (READ_BY_ALL | WRITTEN_BY_ALL) != 0;
    (is_open && !is_hidden).then(|| Note::problem("files", sentence))
}
