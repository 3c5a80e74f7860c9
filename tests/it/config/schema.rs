//! The JSON Schema that `check --schema` prints, and the one of the package.

use std::collections::BTreeSet;

use serde_json::Value;
use twilio_acquire_bridge::config;

use super::manual::documented_keys;

const PACKAGED: &str = "deploy/bridge.schema.json";

/// The tables of the schema by their names; an item of a list stands for all.
fn tables(schema: &Value) -> Vec<(&str, &Value)> {
    let sections = schema["properties"].as_object().expect("sections");
    sections
        .iter()
        .map(|(name, form)| (name.as_str(), form.get("items").unwrap_or(form)))
        .collect()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the variable asks the test to write the file"
)]
fn the_package_has_the_schema_that_check_prints() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .args(["check", "--schema"])
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .output()
        .expect("the program runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    if std::env::var("UPDATE_PAGES").is_ok() {
        std::fs::write(PACKAGED, &printed).expect("a file");
    }
    let packaged = std::fs::read_to_string(PACKAGED).expect("the schema");
    assert_eq!(
        packaged, printed,
        "UPDATE_PAGES=1 cargo test --test it schema writes {PACKAGED}"
    );
}

#[test]
fn the_schema_has_every_key_of_the_manual_with_its_comment_and_no_other() {
    let schema = config::schema();
    let mut found = BTreeSet::new();
    assert_eq!(schema["additionalProperties"], false);
    for (section, table) in tables(&schema) {
        assert_eq!(table["additionalProperties"], false, "{section}");
        for (key, form) in table["properties"].as_object().expect("keys") {
            let text = form["description"].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{section}.{key}: {form}");
            let is_file = key.ends_with("_file") && !form["description"].is_null();
            found.insert((format!("{section}.{key}"), is_file));
        }
    }
    let documented = documented_keys();
    for (key, is_file) in &found {
        assert!(*is_file || documented.contains(key), "{key}");
    }
    for key in &documented {
        assert!(found.iter().any(|(of, _)| of == key), "{key}");
    }
}

#[test]
fn the_schema_has_types_ranges_and_choices() {
    let schema = config::schema();
    let form = |section: &str, key: &str| {
        let table = tables(&schema)
            .into_iter()
            .find(|(name, _)| *name == section);
        table.expect("a section").1["properties"][key].clone()
    };
    let concurrency = form("delivery", "concurrency");
    assert_eq!(concurrency["type"], "integer");
    assert_eq!(
        (&concurrency["minimum"], &concurrency["maximum"]),
        (&1.into(), &1024.into())
    );
    assert_eq!(concurrency["default"], 32);
    assert_eq!(
        form("notify", "kind")["enum"],
        serde_json::json!(["json", "slack"])
    );
    assert_eq!(
        form("delivery", "timeout")["pattern"],
        "^[0-9]+(ms|s|m|h|d)$"
    );
    assert_eq!(
        form("accounts", "twilio_auth_tokens_file")["type"],
        "string"
    );
    assert!(form("delivery", "schedule")["anyOf"].is_array());
}
