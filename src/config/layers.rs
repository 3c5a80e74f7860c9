//! Defaults, file and environment, merged into one flat table: `section.key` to value.
//!
//! Keys and values are not checked here.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use toml::{Table, Value};

/// The defaults, and the manual of all keys.
pub(super) const DEFAULTS: &str = include_str!("../config.default.toml");

/// Variables with a plain name, and their keys: with them, one account needs no file.
const PLAIN_VARIABLES: [(&str, &str); 4] = [
    ("TWILIO_AUTH_TOKEN", "twilio.auth_tokens"),
    ("TWILIO_AUTH_TOKEN_FILE", "twilio.auth_tokens_file"),
    ("ACQUIRE_ACCOUNT_ID", "acquire.account_id"),
    ("TWILIO_ACCOUNT_SID", "twilio.account_sid"),
];

/// Sections of several entries, each with a number from 1 in its keys.
pub(super) const LISTS: [&str; 3] = ["accounts", "operators", "notify"];

/// Start of the variables of all keys.
const PREFIX: &str = "BRIDGE__";

/// The layer that a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingOrigin {
    Default,
    File,
    Environment,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
        })
    }
}

/// A value as it was set.
#[derive(Clone, Debug)]
pub(super) struct RawSetting {
    pub value: Value,
    pub origin: SettingOrigin,
}

/// All values, and the mistakes found while merging.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub values: BTreeMap<String, RawSetting>,
    pub mistakes: Vec<String>,
    /// Number of `[[accounts]]` entries in the file.
    pub accounts: usize,
    /// Number of `[[operators]]` entries in the file.
    pub operators: usize,
    /// Number of `[[notify]]` entries in the file.
    pub notify: usize,
}

impl Layers {
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let mut layers = Self::default();
        layers.merge(
            parse("config.default.toml", DEFAULTS)?,
            SettingOrigin::Default,
        );
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|why| {
                format!(
                    "the configuration {name} cannot be read: {why}{}",
                    advice(&why)
                )
            })?;
            layers.merge(parse(&name, &text)?, SettingOrigin::File);
        }
        layers.merge_environment(environment);
        Ok(layers)
    }

    fn merge(&mut self, table: Table, origin: SettingOrigin) {
        for (section, value) in table {
            match value {
                Value::Array(entries) if LISTS.contains(&&*section) => {
                    self.merge_list(&section, entries, origin);
                }
                Value::Table(keys) if !LISTS.contains(&&*section) => {
                    for (key, value) in keys {
                        let setting = RawSetting { value, origin };
                        self.values.insert(format!("{section}.{key}"), setting);
                    }
                }
                _ if LISTS.contains(&&*section) => self.mistakes.push(format!(
                    "{section} must be entries that each start with [[{section}]]"
                )),
                _ => self.mistakes.push(format!(
                    "{section} is not in a section; put each key into one, such as [server]"
                )),
            }
        }
    }

    fn merge_list(&mut self, list: &str, entries: Vec<Value>, origin: SettingOrigin) {
        let count = match list {
            "accounts" => &mut self.accounts,
            "operators" => &mut self.operators,
            _ => &mut self.notify,
        };
        *count = entries.len();
        for (number, entry) in (1..).zip(entries) {
            match entry {
                Value::Table(keys) => {
                    for (key, value) in keys {
                        let setting = RawSetting { value, origin };
                        self.values
                            .insert(format!("{list}[{number}].{key}"), setting);
                    }
                }
                _ => self.mistakes.push(format!(
                    "{list}[{number}] must be an entry that starts with [[{list}]]"
                )),
            }
        }
    }

    fn merge_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut set: Vec<(String, String)> = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        set.sort();
        for (name, value) in set {
            let Some(key) = key_of(&name) else { continue };
            let section = key.split('.').next().unwrap_or_default();
            if LISTS.contains(&section) {
                self.mistakes.push(format!(
                    "{name} cannot be set in the environment: put [[{section}]] into the \
                     configuration file, and keep secrets out of it with the ..._file keys"
                ));
                continue;
            }
            let setting = RawSetting {
                value: Value::String(value),
                origin: SettingOrigin::Environment,
            };
            // A secret of the environment overrides the file that has it, and the reverse.
            let other = match key.strip_suffix("_file") {
                Some(key) => key.to_owned(),
                None => format!("{key}_file"),
            };
            let is_lower = |of: &RawSetting| of.origin != SettingOrigin::Environment;
            if self.values.get(&other).is_some_and(is_lower) {
                self.values.remove(&other);
            }
            self.values.insert(key, setting);
        }
    }
}

/// The key that a variable sets; `None` if it is not a variable of the bridge.
fn key_of(variable: &str) -> Option<String> {
    match variable.strip_prefix(PREFIX) {
        Some(path) => Some(path.to_ascii_lowercase().replace("__", ".")),
        None => PLAIN_VARIABLES
            .iter()
            .find(|(name, _)| *name == variable)
            .map(|(_, key)| (*key).to_owned()),
    }
}

/// The variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    if let Some((name, _)) = PLAIN_VARIABLES.iter().find(|(_, of)| *of == key) {
        return (*name).to_owned();
    }
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// What to do about a file that cannot be read.
fn advice(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::PermissionDenied => "; run the command as root or as the user of the bridge",
        _ => "",
    }
}

/// Does not use the parser's own message, which quotes the line: it may contain a secret.
fn parse(name: &str, text: &str) -> Result<Table, String> {
    text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before[line_start..].chars().count() + 1;
        format!("{name}:{line}:{column}: {}", error.message())
    })
}
