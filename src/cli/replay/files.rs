//! Which fixtures the paths of a command line name.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use super::CliError;
use crate::debugging::fake_twilio::ReplayItem;
use crate::debugging::fake_twilio::records;
use crate::debugging::fake_twilio::scenario::{self, Scenario};
use crate::debugging::fixture::Fixture;

/// A folder's fixtures, those of a record of Twilio or of a call of the store, or one by itself.
pub(super) struct FixtureGroup {
    /// As the command line names it.
    pub name: String,
    /// The same wherever the files stand.
    pub label: String,
    /// By name, or in the order of their arrival.
    pub items: Vec<ReplayItem>,
    pub grouping: Grouping,
}

/// What the fixtures of a group tell.
pub(super) enum Grouping {
    /// Each by itself, with what must come of it where a file beside it says so.
    Apart,
    /// One call.
    Together {
        /// The requests that must come of it, if that is known.
        expected: Option<Vec<Value>>,
        /// The settings that are not the defaults, if there are some.
        settings: Option<PathBuf>,
    },
}

/// The fixtures of all files and folders, those of a folder by name.
pub(super) fn groups(paths: &[PathBuf]) -> Result<Vec<FixtureGroup>, CliError> {
    let mut groups = Vec::new();
    for path in paths {
        if !path.is_dir() {
            groups.push(file(path)?);
            continue;
        }
        let before = groups.len();
        walk(path, &label(path), &mut groups)?;
        if groups.len() == before {
            return Err(CliError::Usage(format!(
                "the folder {} holds no .http file",
                path.display()
            )));
        }
    }
    Ok(groups)
}

/// The last part of a path.
fn label(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn file(path: &Path) -> Result<FixtureGroup, CliError> {
    let name = path.display().to_string();
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return record(path, name);
    }
    Ok(FixtureGroup {
        label: label(path),
        items: vec![item(path)?],
        name,
        grouping: Grouping::Apart,
    })
}

/// Records of Twilio, named by their place in the file.
fn record(path: &Path, name: String) -> Result<FixtureGroup, CliError> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let read = records::read(&text).with_context(|| name.clone())?;
    let items = read.into_iter().map(|(number, fixture)| ReplayItem {
        name: format!("{name}[{number}]"),
        fixture,
    });
    Ok(FixtureGroup {
        label: label(path),
        items: items.collect(),
        name,
        grouping: Grouping::Together {
            expected: None,
            settings: None,
        },
    })
}

fn item(path: &Path) -> Result<ReplayItem, CliError> {
    Ok(ReplayItem {
        name: path.display().to_string(),
        fixture: Fixture::read(path).map_err(anyhow::Error::from)?,
    })
}

/// The folder's own fixtures, then those of the folders in it.
fn walk(folder: &Path, label: &str, groups: &mut Vec<FixtureGroup>) -> Result<(), CliError> {
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
        let items: Result<Vec<ReplayItem>, CliError> =
            files.iter().map(|file| item(file)).collect();
        groups.push(FixtureGroup {
            name: folder.display().to_string(),
            label: label.to_owned(),
            items: items?,
            grouping: grouping(folder)?,
        });
    }
    folders
        .iter()
        .try_for_each(|inner| walk(inner, &format!("{label}/{}", self::label(inner)), groups))
}

fn grouping(folder: &Path) -> Result<Grouping, CliError> {
    if !Scenario::is_one(folder) {
        return Ok(Grouping::Apart);
    }
    let expected = scenario::expected(&folder.join("expected.json"));
    let settings = folder.join("bridge.toml");
    Ok(Grouping::Together {
        expected: Some(expected.map_err(anyhow::Error::from)?),
        settings: settings.is_file().then_some(settings),
    })
}

/// What `x.json` beside `x.http` says must come of it.
pub(super) fn expected_beside(item: &ReplayItem) -> Result<Option<Value>, CliError> {
    let path = Path::new(&item.name).with_extension("json");
    if !path.is_file() {
        return Ok(None);
    }
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(&path).with_context(shown)?;
    let value = serde_json::from_str(&text).with_context(shown)?;
    Ok(Some(value))
}
