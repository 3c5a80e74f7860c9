//! Which fixtures the paths of a command line name.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Failure;
use crate::fixture::Fixture;
use crate::replay::Item;

/// A folder's fixtures, or one fixture by itself.
pub(super) struct Group {
    /// None for a fixture by itself.
    pub folder: Option<PathBuf>,
    /// By name.
    pub files: Vec<PathBuf>,
}

impl Group {
    pub fn items(&self) -> Result<Vec<Item>, Failure> {
        let items = self.files.iter().map(|file| {
            Ok(Item {
                name: file.display().to_string(),
                fixture: Fixture::read(file).map_err(anyhow::Error::from)?,
            })
        });
        items.collect()
    }
}

/// The fixtures of all files and folders, those of a folder by name.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for group in groups(paths)? {
        items.extend(group.items()?);
    }
    Ok(items)
}

pub(super) fn groups(paths: &[PathBuf]) -> Result<Vec<Group>, Failure> {
    let mut groups = Vec::new();
    for path in paths {
        if !path.is_dir() {
            groups.push(Group {
                folder: None,
                files: vec![path.clone()],
            });
            continue;
        }
        let before = groups.len();
        walk(path, &mut groups)?;
        if groups.len() == before {
            return Err(Failure::Usage(format!(
                "the folder {} holds no .http file",
                path.display()
            )));
        }
    }
    Ok(groups)
}

/// The folder's own fixtures, then those of the folders in it.
fn walk(folder: &Path, groups: &mut Vec<Group>) -> Result<(), Failure> {
    let unreadable = || format!("failed to read the folder {}", folder.display());
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            folders.push(path);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "http")
        {
            files.push(path);
        }
    }
    files.sort();
    folders.sort();
    if !files.is_empty() {
        groups.push(Group {
            folder: Some(folder.to_owned()),
            files,
        });
    }
    folders.iter().try_for_each(|folder| walk(folder, groups))
}
