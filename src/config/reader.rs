//! Reads settings one by one, and collects every mistake instead of stopping at the first.
//!
//! A key is known because it was asked for: what nobody asked for is a mistake too. A method returns
//! `None` where a key is not set or where a mistake was noted.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use toml::Value;

use super::layers::{Layers, RawSetting, SettingOrigin, variable_of};
use super::toml_value::{is_secret, pairs, quoted, shown, words};
use super::{ConfigError, Setting, duration};

/// Keyed anew in each process, so that a trace tells nothing of a secret.
static TRACES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

pub(super) struct SettingsReader {
    given: BTreeMap<String, RawSetting>,
    asked: BTreeSet<String>,
    settings: Vec<Setting>,
    mistakes: Vec<String>,
}

impl SettingsReader {
    pub fn new(layers: Layers) -> Self {
        Self {
            given: layers.given,
            asked: BTreeSet::new(),
            settings: Vec::new(),
            mistakes: layers.mistakes,
        }
    }

    /// Notes a mistake that concerns more than one value: one sentence.
    pub fn mistake(&mut self, sentence: impl Into<String>) {
        self.mistakes.push(sentence.into());
    }

    pub fn is_set(&mut self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A key as whoever set it wrote it: a variable's name, or the key of the file.
    pub fn name(&self, key: &str) -> String {
        match self.given.get(key) {
            Some(given) if given.origin == SettingOrigin::Environment => variable_of(key),
            _ => key.to_owned(),
        }
    }

    /// A text that `parse` takes; its error reads after the value, as in "must be ...".
    pub fn text<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(key, |given| match &given.value {
            Value::String(text) => parse(text),
            _ => Err("must be a text".to_owned()),
        })
    }

    /// As [`SettingsReader::text`], or the text in the file that `KEY_file` names, which goes before the
    /// default and is not quoted: it may be another secret's.
    pub fn text_or_file<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let file_key = file_key(key);
        let Some(file) = self.find(&file_key) else {
            return self.text(key, parse);
        };
        let name = self.name(&file_key);
        if self
            .find(key)
            .is_some_and(|given| given.origin != SettingOrigin::Default)
        {
            let plain = self.name(key);
            self.mistake(format!(
                "{plain} and {name} are both set; leave one of them out"
            ));
            return None;
        }
        let value = Value::String(self.contents(&name, &file.value)?);
        match parse(value.as_str().unwrap_or_default()) {
            Ok(parsed) => {
                self.show(key, Some(shown(&value)), file.origin, fingerprint(&value));
                if let Some(shown) = self.settings.last_mut() {
                    shown.file = file.value.as_str().map(PathBuf::from);
                }
                Some(parsed)
            }
            Err(why) => {
                self.mistake(format!("what {name} names (a secret, not shown) {why}"));
                None
            }
        }
    }

    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |given| {
            let chosen = |(name, _): &&(&str, T)| given.value.as_str() == Some(name);
            choices
                .iter()
                .find(chosen)
                .map(|(_, choice)| *choice)
                .ok_or_else(|| {
                    let names: Vec<_> = choices.iter().map(|(name, _)| quoted(name)).collect();
                    format!("must be {}", names.join(" or "))
                })
        })
    }

    pub fn duration(&mut self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.read(key, |given| {
            let text = given.value.as_str().unwrap_or_default();
            duration_within(text, &range)
        })
    }

    pub fn durations(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Vec<Duration>> {
        self.list(key, |text| duration_within(text, &range))
    }

    pub fn number(&mut self, key: &str, range: RangeInclusive<usize>) -> Option<usize> {
        self.read(key, |given| {
            let number = match &given.value {
                Value::Integer(number) => usize::try_from(*number).ok(),
                Value::String(text) if given.origin == SettingOrigin::Environment => {
                    text.parse().ok()
                }
                _ => None,
            };
            number
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    format!(
                        "must be a whole number from {} to {}",
                        range.start(),
                        range.end()
                    )
                })
        })
    }

    /// One or more texts: an array, or one text with its values parted by spaces or commas. Each
    /// value that `parse` refuses is a mistake of its own.
    pub fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let words = self.read(key, |given| match words(&given.value) {
            Some(words) if words.is_empty() => Err("must have at least one value".to_owned()),
            Some(words) => Ok(words),
            None => Err("must be a text or a list of texts".to_owned()),
        })?;
        let name = self.name(key);
        let mut list = Vec::with_capacity(words.len());
        for word in words {
            match parse(&word) {
                Ok(value) => list.push(value),
                Err(why) => {
                    let word = shown(&Value::String(word));
                    self.mistakes.push(format!("{name} = {word} {why}"));
                }
            }
        }
        Some(list)
    }

    /// Names with texts: a table, or one text of `NAME=TEXT` pairs.
    pub fn table(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        let Some(given) = self.find(key) else {
            self.show(key, None, SettingOrigin::Default, 0);
            return None;
        };
        let table = pairs(&given.value, |pair| pair.rsplit_once('='));
        if let Some(table) = &table {
            let count = format!("({} set)", table.len());
            self.show(key, Some(count), given.origin, fingerprint(&given.value));
        } else {
            let name = self.name(key);
            self.mistake(format!("{name} must be a table of texts, NAME = \"TEXT\""));
        }
        table
    }

    /// Every secret of a list, or of the file that `KEY_file` names; empty after a mistake.
    pub fn secrets(&mut self, key: &str) -> Option<Vec<String>> {
        self.confidential(key, "a text or a list of texts", |value| {
            words(value).filter(|words| words.iter().all(|word| is_secret(word)))
        })
    }

    /// One secret, or the one in the file that `KEY_file` names.
    pub fn secret(&mut self, key: &str) -> Option<String> {
        self.confidential(key, "a text", |value| {
            let text = value.as_str().filter(|text| is_secret(text))?;
            Some(vec![text.to_owned()])
        })?
        .pop()
    }

    /// Secrets by their ids: a table, or `ID=SECRET` pairs in the file that `KEY_file` names.
    pub fn secret_table(&mut self, key: &str) -> Option<Vec<(String, String)>> {
        self.confidential(key, "a table of texts or ID=SECRET pairs", |value| {
            pairs(value, |pair| pair.split_once('=')).filter(|pairs| {
                pairs
                    .iter()
                    .all(|(id, secret)| is_secret(id) && is_secret(secret))
            })
        })
    }

    /// The configuration if nothing was wrong, with all settings as they are shown.
    pub fn finish<T>(mut self, config: Option<T>) -> Result<(T, Vec<Setting>), ConfigError> {
        let unknown: Vec<String> = self
            .given
            .keys()
            .filter(|key| !self.asked.contains(*key))
            .map(|key| self.unknown(key))
            .collect();
        self.mistakes.extend(unknown);
        let settings = std::mem::take(&mut self.settings);
        Ok((self.finish_part(config)?, settings))
    }

    /// As [`SettingsReader::finish`] where not every key was asked for, so that none is known as unknown.
    pub fn finish_part<T>(self, part: Option<T>) -> Result<T, ConfigError> {
        match part {
            Some(part) if self.mistakes.is_empty() => Ok(part),
            _ => Err(ConfigError(self.mistakes)),
        }
    }

    /// Never shows the value: it may be a secret under a misspelt key.
    fn unknown(&self, key: &str) -> String {
        let nearest = self
            .asked
            .iter()
            .min_by_key(|known| strsim::damerau_levenshtein(key, known))
            .map_or("", String::as_str);
        match self.given.get(key).map(|given| given.origin) {
            Some(SettingOrigin::Environment) => format!(
                "{} is not known; the nearest that is known is {}",
                variable_of(key),
                variable_of(nearest)
            ),
            _ => format!("{key} is not known; the nearest known key is {nearest}"),
        }
    }

    fn find(&mut self, key: &str) -> Option<RawSetting> {
        self.asked.insert(key.to_owned());
        self.given.get(key).cloned()
    }

    fn show(&mut self, key: &str, value: Option<String>, origin: SettingOrigin, trace: u64) {
        self.settings.push(Setting {
            key: key.to_owned(),
            value,
            origin,
            file: None,
            trace,
        });
    }

    fn read<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&RawSetting) -> Result<T, String>,
    ) -> Option<T> {
        let Some(given) = self.find(key) else {
            self.show(key, None, SettingOrigin::Default, 0);
            return None;
        };
        let value = shown(&given.value);
        match parse(&given) {
            Ok(parsed) => {
                self.show(key, Some(value), given.origin, fingerprint(&given.value));
                Some(parsed)
            }
            Err(why) => {
                let found = match &given.value {
                    Value::String(_) => String::new(),
                    other => format!(" ({})", other.type_str()),
                };
                let name = self.name(key);
                self.mistake(format!("{name} = {value}{found} {why}"));
                None
            }
        }
    }

    fn confidential<T>(
        &mut self,
        key: &str,
        form: &str,
        parse: impl FnOnce(&Value) -> Option<Vec<T>>,
    ) -> Option<Vec<T>> {
        let file_key = file_key(key);
        let plain = self.find(key);
        let in_file = self.find(&file_key);
        let (name, value, origin, path) = match (plain, in_file) {
            (None, None) => {
                self.show(key, None, SettingOrigin::Default, 0);
                return None;
            }
            (Some(_), Some(_)) => {
                let (name, file_name) = (self.name(key), self.name(&file_key));
                self.mistake(format!(
                    "{name} and {file_name} are both set; leave one of them out"
                ));
                return Some(Vec::new());
            }
            (Some(given), None) => (self.name(key), given.value, given.origin, None),
            (None, Some(file)) => {
                let name = self.name(&file_key);
                let Some(text) = self.contents(&name, &file.value) else {
                    return Some(Vec::new());
                };
                (
                    format!("what {name} names"),
                    Value::String(text),
                    file.origin,
                    file.value.as_str().map(PathBuf::from),
                )
            }
        };
        match parse(&value) {
            Some(secrets) if !secrets.is_empty() => {
                let count = match secrets.len() {
                    1 => "(set)".to_owned(),
                    count => format!("({count} set)"),
                };
                self.show(key, Some(count), origin, fingerprint(&value));
                if let Some(shown) = self.settings.last_mut() {
                    shown.file = path;
                }
                Some(secrets)
            }
            _ => {
                self.mistake(format!(
                    "{name} (a secret, not shown) must be {form}, not empty, in printable ASCII without spaces"
                ));
                Some(Vec::new())
            }
        }
    }

    fn contents(&mut self, name: &str, path: &Value) -> Option<String> {
        let Some(path) = path.as_str() else {
            self.mistake(format!("{name} must be the path of a file"));
            return None;
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(why) => {
                self.mistake(format!("{name} = {} cannot be read: {why}", quoted(path)));
                None
            }
        }
    }
}

fn fingerprint(value: &Value) -> u64 {
    TRACES.hash_one(value.to_string())
}

fn file_key(key: &str) -> String {
    let plain_variable = key.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    format!("{key}{}", if plain_variable { "_FILE" } else { "_file" })
}

fn duration_within(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| {
            format!(
                "must be a duration from {} to {}, such as 200ms, 10s, 5m, 2h or 30d",
                duration::show(*range.start()),
                duration::show(*range.end())
            )
        })
}
