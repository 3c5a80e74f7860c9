//! Reads the fixtures in the files and folders of the command line.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::CliError;
use crate::debugging::fake_twilio::ReplayItem;
use crate::debugging::fake_twilio::records;
use crate::debugging::fake_twilio::scenario::{self, Scenario};
use crate::debugging::fixture::Fixture;

/// The fixtures of a folder, of a Twilio record or of a stored call; or a single one.
pub(super) struct FixtureGroup {
    /// The path as given on the command line.
    pub name: String,
    /// A name that does not depend on the location of the files.
    pub label: String,
    /// Sorted by name, or by arrival.
    pub items: Vec<ReplayItem>,
    pub grouping: Grouping,
}

/// Whether the fixtures of a group belong to one call.
pub(super) enum Grouping {
    /// Each fixture is a call; the file next to it may have the expected result.
    Separate,
    /// All fixtures are callbacks of one call.
    Together {
        /// The expected requests, if known.
        expected: Option<Vec<Value>>,
        /// A file of settings for this call.
        settings: Option<PathBuf>,
    },
}

/// Reads all files and folders, in the given order.
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
                "the folder {} contains no .http file",
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
        grouping: Grouping::Separate,
    })
}

/// The requests in a Twilio record, named by their position in the file.
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
        fixture: Fixture::read(path)?,
    })
}

/// Adds the fixtures of the folder, then those of its subfolders.
fn walk(folder: &Path, label: &str, groups: &mut Vec<FixtureGroup>) -> Result<(), CliError> {
    let unreadable = || format!("failed to read the folder {}", folder.display());
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = entry.path();
        // Not those behind symbolic links, which can lead back to this one.
        if entry.file_type().with_context(unreadable)?.is_dir() {
            folders.push(path);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "http")
        {
            files.push(path);
        }
    }
    // The order of `read_dir` depends on the file system.
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
        return Ok(Grouping::Separate);
    }
    let expected = scenario::expected(&folder.join("expected.json"));
    let settings = folder.join("bridge.toml");
    Ok(Grouping::Together {
        expected: Some(expected?),
        settings: settings.is_file().then_some(settings),
    })
}

/// The expected result: `x.json` next to `x.http`.
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
