//! The alert rules, as promtool tests them: alerts.test.yml has cases that fire and cases that do not.

use std::process::Command;

use crate::{deploy, left_out, text};

fn promtool(arguments: &[&str]) {
    let folder = deploy().join("prometheus");
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .output();
    let Ok(output) = output else {
        left_out("the alert rules (Debian's package prometheus has promtool)");
        return;
    };
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&printed)
    );
}

#[test]
fn the_alert_rules_are_valid_and_fire_as_their_tests_say() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts.test.yml"]);
}

#[test]
fn each_alert_rule_has_a_case_that_fires_and_one_that_does_not() {
    let (rules, tests) = (
        text("prometheus/alerts.yml"),
        text("prometheus/alerts.test.yml"),
    );
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        let cases: Vec<&str> = tests
            .split("\n  - name: ")
            .filter(|case| case.contains(&format!("alertname: {alert}\n")))
            .collect();
        let silent = cases
            .iter()
            .filter(|case| case.contains("exp_alerts: []"))
            .count();
        assert!(
            silent > 0 && silent < cases.len(),
            "{alert}: {silent} of {}",
            cases.len()
        );
    }
}
