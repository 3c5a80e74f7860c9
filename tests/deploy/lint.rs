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
