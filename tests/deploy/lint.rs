//! Tools that check what a container engine or a cluster reads. `tests/run` installs them beside the
//! build; see `tests/deploy/requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{left_out, root};

/// Where a tool is; `None`, with a note on stderr, where it is not installed.
fn tool(name: &str) -> Option<PathBuf> {
    let tool = root().join("target/lint/bin").join(name);
    if tool.exists() {
        return Some(tool);
    }
    left_out(&format!("{name} (tests/run installs it into target/lint)"));
    None
}

/// Panics with what the tool finds.
pub fn finds_nothing(name: &str, arguments: &[&str], file: &Path) {
    let Some(tool) = tool(name) else {
        return;
    };
    let output = Command::new(tool)
        .args(arguments)
        .arg(file)
        .output()
        .expect("the tool runs");
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{}: {printed}", file.display());
}

const TO_JSON: &str = "import json, sys, yaml
print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";

/// The documents of a YAML file; none, with a note on stderr, where no tool reads YAML.
pub fn documents(file: &Path) -> Vec<Value> {
    let Some(python) = tool("python") else {
        return Vec::new();
    };
    let output = Command::new(python)
        .args(["-c", TO_JSON])
        .arg(file)
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The configuration of the manual, with all keys set.
fn with_all_keys(manual: &str) -> String {
    let is_key = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let lines = manual.lines().map(|line| {
        let text = line.trim_start_matches("# ");
        let is_setting = text.split_once(" = ").is_some_and(|(key, _)| is_key(key));
        if is_setting || text.starts_with("[[") && text.ends_with("]]") {
            text
        } else {
            line
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn taplo_accepts_the_schema_and_each_configuration_and_finds_mistakes() {
    let Some(taplo) = tool("taplo") else {
        return;
    };
    let schema = format!(
        "file://{}",
        root().join("deploy/bridge.schema.json").display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let checked = |text: &str| {
        let file = folder.path().join("bridge.toml");
        std::fs::write(&file, text).expect("a file");
        let output = Command::new(&taplo)
            .args(["check", "--no-auto-config"])
            .arg(&file)
            .output()
            .expect("taplo runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let named = |text: &str| format!("#:schema {schema}\n{text}");
    let sample = std::fs::read_to_string(root().join("deploy/bridge.toml")).expect("the sample");
    let (directive, sample) = sample.split_once('\n').expect("a first line");
    let installed = "#:schema file:///usr/share/twilio-acquire-bridge/bridge.schema.json";
    assert_eq!(directive, installed);
    let manual = std::fs::read_to_string(root().join("src/config.default.toml"));
    let manual = with_all_keys(&manual.expect("the manual"));
    for good in [sample, &manual] {
        let (is_good, printed) = checked(&named(good));
        assert!(is_good, "{printed}");
    }
    for wrong in [
        "[server]\nlisten = 8080",
        "[server]\nlisten_on = \"0.0.0.0:8080\"",
        "[delivery]\nconcurrency = 0",
        "[delivery]\ntimeout = \"soon\"",
        "[log]\nformat = \"xml\"",
        "[[accounts]]\nsid = \"AC1\"",
        "[elsewhere]\nkey = 1",
    ] {
        let (is_good, printed) = checked(&named(wrong));
        assert!(!is_good, "{wrong}: {printed}");
    }
}
