//! The JSON Schema of a configuration file, made of what the reader asks for and of the manual.
//!
//! Editors and linters use it; the reader itself decides what is valid.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::layers::{DEFAULTS, LISTS, Layers};
use super::reader::SettingsReader;

/// The draft that taplo supports.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of all keys.
pub fn schema() -> Value {
    let defaults = Layers::read(None, []).unwrap_or_default();
    let mut keys = BTreeMap::new();
    // Once with entries and once without: the keys of a single account are read only then.
    for entries in [0, 1] {
        let mut reader = SettingsReader::new(Layers {
            values: defaults.values.clone(),
            accounts: entries,
            operators: entries,
            notify: entries,
            ..Layers::default()
        });
        // Only the keys are of interest, not the mistakes.
        super::read(&mut reader, entries);
        keys.extend(reader.into_forms());
    }
    let manual = descriptions();
    let mut sections: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (key, mut form) in keys {
        let Some((section, name)) = key.split_once('.') else {
            continue;
        };
        let section = section.split('[').next().unwrap_or_default();
        let of_value = name.strip_suffix("_file").unwrap_or(name);
        let described = [name, of_value].map(|name| manual.get(&format!("{section}.{name}")));
        if let Some(text) = described.into_iter().flatten().next() {
            form["description"] = text.clone().into();
        }
        if let Some(setting) = defaults.values.get(&key) {
            form["default"] = json!(setting.value);
        }
        let names = sections.entry(section.to_owned()).or_default();
        names.insert(name.to_owned(), form);
    }
    let properties = sections.into_iter().map(|(section, properties)| {
        let table =
            json!({ "type": "object", "additionalProperties": false, "properties": properties });
        let form = if LISTS.contains(&&*section) {
            json!({ "type": "array", "items": table })
        } else {
            table
        };
        (section, form)
    });
    json!({
        "$schema": DRAFT,
        "title": "Configuration of twilio-acquire-bridge",
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<Map<_, _>>(),
    })
}

/// The comment above each key of the manual; the keys of a paragraph share it.
fn descriptions() -> BTreeMap<String, String> {
    let is_key = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let (mut section, mut comment, mut is_used) = (String::new(), String::new(), false);
    let mut descriptions = BTreeMap::new();
    for line in DEFAULTS.lines() {
        let text = line.trim_start_matches('#').trim();
        if let Some(name) = text.strip_prefix('[').filter(|name| name.ends_with(']')) {
            name.trim_matches(['[', ']']).clone_into(&mut section);
            comment.clear();
        } else if let Some((key, _)) = text.split_once(" = ").filter(|(key, _)| is_key(key)) {
            descriptions.insert(format!("{section}.{key}"), comment.clone());
            is_used = true;
        } else {
            if is_used || text.is_empty() {
                comment.clear();
            }
            is_used = false;
            let gap = if comment.is_empty() { "" } else { " " };
            comment.extend([gap, text]);
        }
    }
    descriptions
}
