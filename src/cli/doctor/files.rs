//! Checks that other users cannot read files with secrets or calls.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::note::Notes;
use crate::config::{Setting, SettingOrigin};

/// The bits that let users other than the owner and its group read or write.
const OPEN_TO_ALL: u32 = 0o006;

/// `database` is the file that a bridge on this machine writes, `config_file` the configuration.
pub(super) fn check(
    notes: &mut Notes,
    database: Option<&Path>,
    settings: &[Setting],
    config_file: Option<&Path>,
) {
    let before = notes.0.len();
    for setting in settings {
        if let Some(path) = &setting.file {
            of_secret(notes, path, &setting.key);
        }
    }
    let is_secret = |setting: &&Setting| {
        let value = setting.value.as_deref().unwrap_or_default();
        setting.origin == SettingOrigin::File && setting.file.is_none() && value.ends_with("set)")
    };
    if let (Some(file), Some(setting)) = (config_file, settings.iter().find(is_secret)) {
        of_secret(notes, file, &setting.key);
    }
    if let Some(path) = database.filter(|path| mode(path) & OPEN_TO_ALL != 0)
        && !is_in_hidden_folder(path)
    {
        let shown = path.display();
        notes.problem(
            "files",
            format_args!(
                "{shown} contains numbers and names of callers, and every user of this machine can read \
                 it; run chmod 600 {shown}"
            ),
        );
    }
    if notes.0.len() == before {
        let sentence = "no file with secrets or calls is readable by all users";
        notes.ok("files", sentence);
    }
}

/// 0 if there is no such file.
fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode())
}

fn of_secret(notes: &mut Notes, path: &Path, key: &str) {
    if mode(path) & OPEN_TO_ALL != 0 {
        let shown = path.display();
        notes.problem(
            "files",
            format_args!(
                "{shown} contains a secret ({key}) and every user of this machine can read it; run chmod \
                 600 {shown}, and replace the secret"
            ),
        );
    }
}

/// Other users cannot open a file in a folder that they cannot enter.
fn is_in_hidden_folder(path: &Path) -> bool {
    let folder = std::path::absolute(path).ok();
    folder.is_none_or(|file| mode(file.parent().unwrap_or(&file)) & 0o001 == 0)
}
