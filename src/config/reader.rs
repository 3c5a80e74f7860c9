//! Reads settings one by one, and collects every mistake instead of stopping at the first.
//!
//! The keys that are read are the known keys: a setting that is never read is a mistake too. A method
//! returns `None` if a key is not set, and after a mistake.

mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::json;
use toml::Value;

use super::layers::{Layers, RawSetting, SettingOrigin, variable_of};
use super::setting::{Setting, SettingKey};
use super::toml_value::{MASK, has_mask, masked, pairs, quoted, shown, words};
use super::{Config, Explained, SecretGap, duration};

/// Keyed at random in each process, so that a fingerprint reveals nothing about a secret.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The settings of all layers, of which each is read once.
pub struct SettingsReader {
    values: BTreeMap<String, RawSetting>,
    /// Keys that were read.
    known: BTreeSet<String>,
    settings: Vec<Setting>,
    /// Number of `[[operators]]` entries in the file.
    pub(super) operators: usize,
    /// Number of `[[notify]]` entries in the file.
    pub(super) notify: usize,
    /// One sentence each.
    mistakes: Vec<String>,
    gaps: Vec<SecretGap>,
    /// The form of each key, as a JSON Schema.
    forms: BTreeMap<String, serde_json::Value>,
}

impl SettingsReader {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            values: layers.values,
            known: BTreeSet::new(),
            settings: Vec::new(),
            operators: layers.operators,
            notify: layers.notify,
            mistakes: layers.mistakes,
            gaps: Vec::new(),
            forms: BTreeMap::new(),
        }
    }

    /// Adds a mistake that concerns more than one value: one sentence.
    pub(super) fn mistake(&mut self, sentence: impl Into<String>) {
        self.mistakes.push(sentence.into());
    }

    /// The keys that were read, each with its form.
    pub(super) fn into_forms(self) -> BTreeMap<String, serde_json::Value> {
        self.forms
    }

    fn form(&mut self, key: &str, form: serde_json::Value) {
        self.forms.insert(key.to_owned(), form);
    }

    /// Makes each unknown secret a mistake, for commands that need all that they read.
    pub(super) fn refuse_gaps(&mut self) {
        let gaps = std::mem::take(&mut self.gaps);
        self.mistakes.extend(gaps.iter().map(SecretGap::to_string));
    }

    pub(super) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Notes a value that has the mask of `check`; returns whether it has one.
    fn note_mask(&mut self, key: &str, value: &Value) -> bool {
        let is_masked = value.as_str().is_some_and(has_mask);
        if is_masked {
            let name = self.name(key);
            self.gaps.push(SecretGap::Masked(format!(
                "{name} has {MASK} in place of a secret, as check prints it; set the secret itself"
            )));
        }
        is_masked
    }

    pub(super) fn is_set(&mut self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The key as it was written: the name of a variable, or the key of the file.
    pub(super) fn name(&self, key: &str) -> String {
        match self.values.get(key) {
            Some(setting) if setting.origin == SettingOrigin::Environment => variable_of(key),
            _ => key.to_owned(),
        }
    }

    /// A text that `parse` accepts; its error continues the sentence after the value: "must be ...".
    pub(super) fn text<'k, T>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let key = key.into();
        self.form(key.name, json!({ "type": "string" }));
        self.read(key, |setting| match &setting.value {
            Value::String(text) => parse(text),
            _ => Err("must be a string".to_owned()),
        })
    }

    pub(super) fn choice<'k, T: Copy>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let key = key.into();
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.form(key.name, json!({ "enum": names }));
        self.read(key, |setting| {
            let chosen = |(name, _): &&(&str, T)| setting.value.as_str() == Some(name);
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

    pub(super) fn duration<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let key = key.into();
        self.form(key.name, json!({ "type": "string", "pattern": DURATION }));
        self.read(key, |setting| {
            let text = setting.value.as_str().unwrap_or_default();
            duration_within(text, &range)
        })
    }

    pub(super) fn durations<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        range: RangeInclusive<Duration>,
    ) -> Option<Vec<Duration>> {
        self.list(key, |text| duration_within(text, &range))
    }

    pub(super) fn number<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let key = key.into();
        let (least, most) = (range.start(), range.end());
        let form = json!({ "type": "integer", "minimum": least, "maximum": most });
        self.form(key.name, form);
        let is_allowed = |number: i64| {
            let number = usize::try_from(number).ok();
            number.filter(|number| range.contains(number))
        };
        // A variable is always a text. `check` shows it as a file would have it.
        if let Some(setting) = self.values.get_mut(key.name)
            && let SettingOrigin::Environment = setting.origin
            && let Some(number) = setting.value.as_str().and_then(|text| text.parse().ok())
            && is_allowed(number).is_some()
        {
            setting.value = Value::Integer(number);
        }
        self.read(key, |setting| {
            setting
                .value
                .as_integer()
                .and_then(is_allowed)
                .ok_or_else(|| {
                    format!(
                        "must be a whole number from {} to {}",
                        range.start(),
                        range.end()
                    )
                })
        })
    }

    /// One or more texts: an array, or one text with values separated by spaces or commas. Each value
    /// that `parse` refuses is a mistake of its own.
    pub(super) fn list<'k, T>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let key = key.into();
        self.form(key.name, list_form());
        let words = self.read(key, |setting| match words(&setting.value) {
            Some(words) if words.is_empty() => Err("must have at least one value".to_owned()),
            Some(words) => Ok(words),
            None => Err("must be a string or a list of strings".to_owned()),
        })?;
        let name = self.name(key.name);
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
    pub(super) fn table<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
    ) -> Option<Vec<(String, String)>> {
        let key = key.into();
        self.form(key.name, table_form());
        let Some(setting) = self.find(key.name) else {
            self.show_unset(key);
            return None;
        };
        if self.note_mask(key.name, &setting.value) {
            self.show(key, "(set)".to_owned(), &setting);
            return None;
        }
        let table = pairs(&setting.value, |pair| pair.rsplit_once('='));
        if let Some(table) = &table {
            let count = format!("({} set)", table.len());
            self.show(key, count, &setting);
        } else {
            let name = self.name(key.name);
            self.mistake(format!(
                "{name} must be a table of strings, NAME = \"TEXT\""
            ));
        }
        table
    }

    /// The configuration with all settings as operators see them, or all mistakes.
    pub(super) fn finish(mut self, config: Option<Config>) -> Result<Explained, Vec<String>> {
        // Known keys are those that were read, so every section must be read before.
        let unknown: Vec<String> = self
            .values
            .keys()
            .filter(|key| !self.known.contains(*key))
            .map(|key| self.unknown(key))
            .collect();
        self.mistakes.extend(unknown);
        let settings = std::mem::take(&mut self.settings);
        let gaps = std::mem::take(&mut self.gaps);
        if !self.mistakes.is_empty() {
            let unreadable = |gap: &&SecretGap| matches!(gap, SecretGap::Unreadable(_));
            let gaps = gaps.iter().filter(unreadable);
            self.mistakes.extend(gaps.map(SecretGap::to_string));
        }
        Ok(Explained {
            config: self.finish_part(config)?,
            settings,
            gaps,
        })
    }

    /// As [`SettingsReader::finish`] if only some keys were read, so that the others are not mistakes.
    pub(super) fn finish_part<T>(self, part: Option<T>) -> Result<T, Vec<String>> {
        match part {
            Some(part) if self.mistakes.is_empty() => Ok(part),
            _ => Err(self.mistakes),
        }
    }

    /// Never shows the value: it may be a secret under a misspelt key.
    fn unknown(&self, key: &str) -> String {
        let nearest = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .min()
            .filter(|(distance, _)| distance * 2 <= key.len());
        let name = match self.values.get(key).map(|setting| setting.origin) {
            Some(SettingOrigin::Environment) => variable_of,
            _ => str::to_owned,
        };
        let help = match nearest {
            Some((_, nearest)) => format!("the nearest is {}", name(nearest)),
            None => "docs/settings.md lists all".to_owned(),
        };
        format!("{} is not a known setting; {help}", name(key))
    }

    fn find(&mut self, key: &str) -> Option<RawSetting> {
        // Also if it is not set: reading a key makes it known.
        self.known.insert(key.to_owned());
        self.values.get(key).cloned()
    }

    fn show_unset(&mut self, key: SettingKey<'_>) {
        self.settings.push(Setting {
            key: key.name.to_owned(),
            value: None,
            origin: SettingOrigin::Default,
            file: None,
            applies: key.applies,
            fingerprint: 0,
        });
    }

    /// `text` is what operators see of `setting`.
    fn show(&mut self, key: SettingKey<'_>, text: String, setting: &RawSetting) {
        self.settings.push(Setting {
            key: key.name.to_owned(),
            value: Some(text),
            origin: setting.origin,
            file: None,
            applies: key.applies,
            fingerprint: FINGERPRINTS.hash_one(setting.value.to_string()),
        });
    }

    fn read<'k, T>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        parse: impl FnOnce(&RawSetting) -> Result<T, String>,
    ) -> Option<T> {
        let key = key.into();
        let Some(setting) = self.find(key.name) else {
            self.show_unset(key);
            return None;
        };
        match parse(&setting) {
            Ok(parsed) => {
                self.note_mask(key.name, &setting.value);
                self.show(key, masked(&setting.value), &setting);
                Some(parsed)
            }
            Err(why) => {
                let value = shown(&setting.value);
                let found = match &setting.value {
                    Value::String(_) => String::new(),
                    other => format!(" ({})", other.type_str()),
                };
                let name = self.name(key.name);
                self.mistake(format!("{name} = {value}{found} {why}"));
                None
            }
        }
    }
}

/// A duration as a regular expression.
const DURATION: &str = "^[0-9]+(ms|s|m|h|d)$";

/// An array of texts, or one text.
fn list_form() -> serde_json::Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    json!({ "anyOf": [{ "type": "string" }, texts] })
}

/// A table of texts, or one text of pairs.
fn table_form() -> serde_json::Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({ "anyOf": [{ "type": "string" }, texts] })
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
