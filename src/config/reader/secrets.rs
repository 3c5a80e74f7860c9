//! Secrets, and texts that may contain one: read from their key, or from the file of `KEY_file`.
//!
//! A secret is never shown: operators see only whether it is set.

use std::path::PathBuf;

use serde_json::json;
use toml::Value;

use super::{SettingsReader, list_form, table_form};
use crate::config::SecretGap;
use crate::config::layers::{RawSetting, SettingOrigin};
use crate::config::setting::SettingKey;
use crate::config::toml_value::{is_secret, masked, pairs, quoted, words};

impl SettingsReader {
    /// As [`SettingsReader::text`], or the text in the file that `KEY_file` names. That overrides the
    /// default. A mistake does not quote it, because it may be another secret.
    pub(in crate::config) fn text_or_file<'k, T>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let key = key.into();
        let file_key = file_key(key.name);
        self.form(&file_key, json!({ "type": "string" }));
        self.form(key.name, json!({ "type": "string" }));
        let Some(file) = self.find(&file_key) else {
            return self.text(key, parse);
        };
        let is_set = |setting: RawSetting| setting.origin != SettingOrigin::Default;
        if self.find(key.name).is_some_and(is_set) {
            self.both_set(key.name, &file_key);
            return None;
        }
        let name = self.name(&file_key);
        let Some(text) = self.content(&name, &file.value) else {
            // The rest of the configuration cannot be used without it.
            self.refuse_gaps();
            return None;
        };
        match parse(&text) {
            Ok(parsed) => {
                let setting = file.with(text);
                self.show(key, masked(&setting.value), &setting);
                self.shown_from(&file.value);
                Some(parsed)
            }
            Err(why) => {
                self.mistake(format!("the content of {name} (a secret, not shown) {why}"));
                None
            }
        }
    }

    /// The secrets of a list, or of the file that `KEY_file` names; an empty list after a mistake.
    pub(in crate::config) fn secrets<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
    ) -> Option<Vec<String>> {
        let key = key.into();
        self.form(key.name, list_form());
        self.confidential(key, "a string or a list of strings", |value| {
            words(value).filter(|words| words.iter().all(|word| is_secret(word)))
        })
    }

    /// One secret, or the one in the file that `KEY_file` names.
    pub(in crate::config) fn secret<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
    ) -> Option<String> {
        let key = key.into();
        self.form(key.name, json!({ "type": "string" }));
        self.confidential(key, "a string", |value| {
            let text = value.as_str().filter(|text| is_secret(text))?;
            Some(vec![text.to_owned()])
        })?
        .pop()
    }

    /// Secrets by their ids: a table, or `ID=SECRET` pairs in the file that `KEY_file` names.
    pub(in crate::config) fn secret_table<'k>(
        &mut self,
        key: impl Into<SettingKey<'k>>,
    ) -> Option<Vec<(String, String)>> {
        let key = key.into();
        self.form(key.name, table_form());
        self.confidential(key, "a table of strings or ID=SECRET pairs", |value| {
            pairs(value, |pair| pair.split_once('=')).filter(|pairs| {
                pairs
                    .iter()
                    .all(|(id, secret)| is_secret(id) && is_secret(secret))
            })
        })
    }

    /// Adds to the last shown setting that it was read from a file.
    fn shown_from(&mut self, path: &Value) {
        if let Some(shown) = self.settings.last_mut() {
            shown.file = path.as_str().map(PathBuf::from);
        }
    }

    fn both_set(&mut self, key: &str, file_key: &str) {
        let (name, file_name) = (self.name(key), self.name(file_key));
        self.mistake(format!(
            "{name} and {file_name} are both set; remove one of them"
        ));
    }

    fn confidential<T>(
        &mut self,
        key: SettingKey<'_>,
        form: &str,
        parse: impl FnOnce(&Value) -> Option<Vec<T>>,
    ) -> Option<Vec<T>> {
        let file_key = file_key(key.name);
        self.form(&file_key, json!({ "type": "string" }));
        let (name, setting, path) = match (self.find(key.name), self.find(&file_key)) {
            (None, None) => {
                self.show_unset(key);
                return None;
            }
            (Some(_), Some(_)) => {
                self.both_set(key.name, &file_key);
                // Not None, which the caller would also report as missing.
                return Some(Vec::new());
            }
            (Some(setting), None) => {
                if self.note_mask(key.name, &setting.value) {
                    self.show(key, "(set)".to_owned(), &setting);
                    return Some(Vec::new());
                }
                (self.name(key.name), setting, None)
            }
            (None, Some(file)) => {
                let name = self.name(&file_key);
                let Some(text) = self.content(&name, &file.value) else {
                    self.show(key, "(set)".to_owned(), &file);
                    self.shown_from(&file.value);
                    return Some(Vec::new());
                };
                let setting = file.with(text);
                (format!("the content of {name}"), setting, Some(file.value))
            }
        };
        let Some(secrets) = parse(&setting.value).filter(|secrets| !secrets.is_empty()) else {
            self.mistake(format!(
                "{name} (a secret, not shown) must be {form}, not empty, in printable ASCII \
                 without spaces"
            ));
            return Some(Vec::new());
        };
        let count = match secrets.len() {
            1 => "(set)".to_owned(),
            count => format!("({count} set)"),
        };
        self.show(key, count, &setting);
        if let Some(path) = path {
            self.shown_from(&path);
        }
        Some(secrets)
    }

    /// The content of a file without the final line end, which editors add.
    fn content(&mut self, name: &str, path: &Value) -> Option<String> {
        let Some(path) = path.as_str() else {
            self.mistake(format!("{name} must be the path of a file"));
            return None;
        };
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(why) => {
                let sentence = format!("{name} = {} cannot be read: {why}", quoted(path));
                self.gaps.push(SecretGap::Unreadable(sentence));
                None
            }
        }
    }
}

impl RawSetting {
    /// The setting that is in the file which this one names.
    fn with(&self, text: String) -> Self {
        Self {
            value: Value::String(text),
            origin: self.origin,
        }
    }
}

/// The key of the file that has the value of a key.
fn file_key(key: &str) -> String {
    format!("{key}_file")
}
