//! Who may read the secrets, and the calls.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Note, own_file};
use crate::config::{Config, Setting, SettingOrigin};

/// For others than owner and group.
const READ_BY_ALL: u32 = 0o004;
const WRITTEN_BY_ALL: u32 = 0o002;

pub(super) fn look_at(config: &Config, settings: &[Setting], file: Option<&Path>) -> Vec<Note> {
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
    if let (Some(file), Some(setting)) = (file, settings.iter().find(is_secret)) {
        notes.extend(of_secret(file, &setting.key));
    }
    notes.extend(own_file(config).and_then(of_database));
    if notes.is_empty() {
        notes.push(Note::well(
            "files",
            "no file with secrets or calls is open to all users",
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
        "{shown} holds a secret ({key}) and every user of this machine may read it; chmod 600 \
         {shown}, and replace the secret"
    );
    (mode(path)? & (READ_BY_ALL | WRITTEN_BY_ALL) != 0).then(|| Note::finding("files", sentence))
}

fn of_database(path: &Path) -> Option<Note> {
    let shown = path.display();
    let folder = std::path::absolute(path).ok()?;
    // A folder that others cannot enter hides what is in it.
    let is_hidden = mode(folder.parent()?)? & 0o001 == 0;
    let sentence = format!(
        "{shown} holds numbers and names of callers, and every user of this machine may read it; \
         chmod 600 {shown}"
    );
    let is_open = mode(path)? & (READ_BY_ALL | WRITTEN_BY_ALL) != 0;
    (is_open && !is_hidden).then(|| Note::finding("files", sentence))
}
