//! Defaults, file and environment, laid over one another as one flat table: `section.key` to value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::{Table, Value};

/// The defaults, and the manual of all keys.
pub(super) const DEFAULTS: &str = include_str!("../config.default.toml");

/// What is set by a plain environment variable, for the one account that needs no file.
pub(super) const PLAIN_VARIABLES: [&str; 3] = [
    "TWILIO_AUTH_TOKEN",
    "TWILIO_AUTH_TOKEN_FILE",
    "ACQUIRE_ACCOUNT_ID",
];

/// What the variables of all keys begin with.
const PREFIX: &str = "BRIDGE__";

/// Which layer a value is from.
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

/// A value as it was given.
#[derive(Clone, Debug)]
pub(super) struct RawSetting {
    pub value: Value,
    pub origin: SettingOrigin,
}

/// All that was given, and the sentences about what has no place in the table.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub given: BTreeMap<String, RawSetting>,
    pub mistakes: Vec<String>,
    /// How many `[[accounts]]` entries the file has.
    pub accounts: usize,
}

impl Layers {
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let mut layers = Self::default();
        layers.lay(
            parse("config.default.toml", DEFAULTS)?,
            SettingOrigin::Default,
        );
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|why| format!("the configuration {name} cannot be read: {why}"))?;
            layers.lay(parse(&name, &text)?, SettingOrigin::File);
        }
        layers.lay_environment(environment);
        Ok(layers)
    }

    fn lay(&mut self, table: Table, origin: SettingOrigin) {
        for (section, value) in table {
            match value {
                Value::Array(entries) if section == "accounts" => {
                    self.lay_accounts(entries, origin);
                }
                Value::Table(keys) if section != "accounts" => {
                    for (key, value) in keys {
                        let given = RawSetting { value, origin };
                        self.given.insert(format!("{section}.{key}"), given);
                    }
                }
                _ if section == "accounts" => self.mistakes.push(
                    "accounts must be entries that each begin with [[accounts]]".to_owned(),
                ),
                _ => self.mistakes.push(format!(
                    "{section} stands outside of a section; every key belongs below one, such as [server]"
                )),
            }
        }
    }

    fn lay_accounts(&mut self, entries: Vec<Value>, origin: SettingOrigin) {
        for entry in entries {
            self.accounts += 1;
            let number = self.accounts;
            match entry {
                Value::Table(keys) => {
                    for (key, value) in keys {
                        let given = RawSetting { value, origin };
                        self.given
                            .insert(format!("accounts[{number}].{key}"), given);
                    }
                }
                _ => self.mistakes.push(format!(
                    "accounts[{number}] must be an entry that begins with [[accounts]]"
                )),
            }
        }
    }

    fn lay_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut set: Vec<(String, String)> = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        set.sort();
        for (name, value) in set {
            let Some(key) = key_of(&name) else { continue };
            if key.starts_with("accounts.") {
                self.mistakes.push(format!(
                    "{name} cannot be set in the environment: [[accounts]] stand in a file, whose ..._file keys keep secrets out of it"
                ));
                continue;
            }
            let given = RawSetting {
                value: Value::String(value),
                origin: SettingOrigin::Environment,
            };
            self.given.insert(key, given);
        }
    }
}

/// The key that a variable sets; `None` if it is none of ours.
fn key_of(variable: &str) -> Option<String> {
    match variable.strip_prefix(PREFIX) {
        Some(path) => Some(path.to_ascii_lowercase().replace("__", ".")),
        None => PLAIN_VARIABLES
            .contains(&variable)
            .then(|| variable.to_owned()),
    }
}

/// The variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    if PLAIN_VARIABLES.contains(&key) {
        return key.to_owned();
    }
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// The parser's own display would quote the line, which may hold a secret.
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
