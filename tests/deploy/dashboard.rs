//! The Grafana dashboard: a real Prometheus has series for each of its queries, and its layout is sound.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::firing::{Prometheus, bridge};
use crate::support::real::until;
use crate::support::twilio::sid;
use crate::{root, text};

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&text("grafana/bridge.json")).expect("JSON");
    dashboard["panels"].as_array().expect("panels").clone()
}

fn word<'v>(of: &'v Value, key: &str) -> &'v str {
    of[key].as_str().expect("a text")
}

fn queries() -> Vec<String> {
    let panels = panels();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| word(target, "expr"));
    queries
        .map(|query| query.replace("$__rate_interval", "15s"))
        .collect()
}

/// The metrics that a query or a rule names.
fn metrics(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("bridge_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn a_real_prometheus_has_series_for_each_panel_and_each_metric_of_a_panel_or_rule() {
    let bridge = bridge(&[]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let Some(prometheus) = Prometheus::start(&[bridge.admin_address()], None) else {
        return;
    };
    let (queries, rules) = (queries(), text("prometheus/alerts.yml"));
    assert!(queries.len() > 40, "{queries:?}");
    for query in &queries {
        until(query, || !prometheus.query(query).is_empty());
    }
    for metric in queries
        .iter()
        .chain([&rules])
        .flat_map(|query| metrics(query))
    {
        until(metric, || !prometheus.query(metric).is_empty());
    }
}

#[test]
fn the_dashboard_has_a_row_for_is_all_well_and_one_for_each_stage_of_a_call() {
    let panels = panels();
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<&str> = rows.map(|row| word(row, "title")).collect();
    assert_eq!(
        rows,
        [
            "Is all well?",
            "1. Twilio calls the bridge",
            "2. The bridge verifies the signature",
            "3. The bridge records the callback and answers 204",
            "4. The call waits until it is due",
            "5. The bridge sends the call to Acquire",
            "6. Acquire has the call",
            "7. What the path did not have",
            "The machine",
        ]
    );
}

#[test]
fn panels_do_not_overlap_and_each_runbook_that_they_name_exists() {
    let (mut ids, mut cells, mut named) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
        assert!(x + w <= 24, "{panel}");
        let mut own = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
        assert!(own.all(|cell| cells.insert(cell)), "{panel}");
        let description = panel["description"].as_str().unwrap_or_default();
        for runbook in description.split("Runbook: ").skip(1) {
            let runbook = runbook.split_whitespace().next().expect("a path");
            assert!(root().join(runbook).exists(), "{runbook}");
            named.insert(runbook.to_owned());
        }
    }
    let rules = text("prometheus/alerts.yml");
    let runbooks = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: "));
    let missing: Vec<&str> = runbooks
        .filter(|runbook| !named.contains(*runbook))
        .collect();
    assert!(missing.is_empty(), "no panel names {missing:?}");
}
