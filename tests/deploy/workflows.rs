//! The workflows of a forge, `.github/workflows`: no forge runs them here.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::{lint, root};

#[test]
fn each_workflow_fits_its_schema_and_calls_scripts_that_exist() {
    let mut scripts = 0;
    for name in ["ci.yml", "release.yml"] {
        let file = root().join(".github/workflows").join(name);
        let schema = ["--builtin-schema", "vendor.github-workflows"];
        lint::finds_nothing("check-jsonschema", &schema, &file);
        for command in lint::documents(&file).iter().flat_map(commands) {
            let program = command.split(' ').next().unwrap_or_default();
            if !program.contains('/') {
                continue;
            }
            let script = root().join(program).metadata();
            assert!(
                script.is_ok_and(|script| script.permissions().mode() & 0o111 != 0),
                "{name}: {program}"
            );
            scripts += 1;
        }
    }
    let has_linters = root().join("target/lint/bin/python").exists();
    assert!(scripts >= 3 || !has_linters, "{scripts}");
}

/// The lines of all `run` of a workflow.
fn commands(workflow: &Value) -> Vec<String> {
    let jobs = workflow["jobs"].as_object().expect("jobs");
    let steps = jobs.values().filter_map(|job| job["steps"].as_array());
    let runs = steps.flatten().filter_map(|step| step["run"].as_str());
    runs.flat_map(str::lines).map(str::to_owned).collect()
}
