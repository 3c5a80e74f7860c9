//! What operators' tools read: docs/metrics.md and the alert rules name the series that a bridge has, and
//! each rule has a runbook.
//!
//! `UPDATE_PAGES=1 cargo test --test bridge watching` rewrites the table of docs/metrics.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support::harness::Bridge;
use crate::support::pages::{Page, commands, root};

const HEADER: &str = "| metric | labels | type | meaning |\n| --- | --- | --- | --- |\n";

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).expect("a file of the project")
}

/// The metrics of a bridge that compares with Twilio's records and sends canaries, in a format.
fn scraped(accept: &str) -> String {
    let bridge = Bridge::with(&[
        ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001"),
        (
            "BRIDGE__TWILIO__API_KEY_SID",
            "SK00000000000000000000000000000001",
        ),
        ("BRIDGE__TWILIO__API_KEY_SECRET", "made-up"),
        ("BRIDGE__TWILIO__API_URL", "http://127.0.0.1:9"),
        ("BRIDGE__TWILIO__MONITOR_URL", "http://127.0.0.1:9"),
        ("BRIDGE__RECONCILE__EVERY", "15m"),
        ("BRIDGE__CANARY__EVERY", "5m"),
    ]);
    let answer = bridge.admin("GET", "/metrics", &[("Accept", accept)]);
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").expect("a type");
    assert!(kind.starts_with(accept), "{kind}");
    answer.body
}

/// The names of the labels of each metric, by the name of its samples without the ends of a histogram.
fn labels(scrape: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let names = labels.trim_end_matches('}').split("\",");
        let names = names.filter_map(|pair| pair.split_once('=').map(|(name, _)| name));
        let of = found.entry(name.to_owned()).or_default();
        of.extend(
            names
                .filter(|name| !["le", "version"].contains(name))
                .map(str::to_owned),
        );
    }
    found
}

fn table() -> String {
    let scrape = scraped("text/plain");
    let labels = labels(&scrape);
    let mut rows = BTreeMap::new();
    let mut help = "";
    for line in scrape.lines() {
        if let Some(text) = line.strip_prefix("# HELP ") {
            help = text.split_once(' ').expect("a help text").1;
        } else if let Some(text) = line.strip_prefix("# TYPE ") {
            let (name, kind) = text.split_once(' ').expect("a type");
            let count = format!("{name}_count");
            let of = labels.get(name).or_else(|| labels.get(&count));
            // Series with open labels appear with their first event.
            let of = of.map_or_else(
                || "with the first event".to_owned(),
                |of| {
                    of.iter()
                        .map(|label| format!("`{label}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                },
            );
            let help = help.trim_end_matches('.');
            rows.insert(name, format!("| `{name}` | {of} | {kind} | {help} |\n"));
        }
    }
    HEADER.to_owned() + &rows.into_values().collect::<String>()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the variable is for this test")]
fn the_page_of_metrics_has_each_one_that_a_bridge_exposes() {
    let page = text("docs/metrics.md");
    let (intro, rest) = page.split_once(HEADER).expect("a table");
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    let mut expected = intro.to_owned();
    let _ = write!(expected, "{}{}", table(), &rest[end..]);
    if std::env::var("UPDATE_PAGES").is_ok() {
        std::fs::write(root().join("docs/metrics.md"), &expected).expect("the page");
        return;
    }
    for (line, expected) in page.lines().zip(expected.lines()) {
        assert_eq!(line, expected, "run again with UPDATE_PAGES=1");
    }
    assert_eq!(page.len(), expected.len(), "run again with UPDATE_PAGES=1");
}

#[test]
fn the_metrics_come_in_the_format_that_the_client_accepts() {
    let open = scraped("application/openmetrics-text");
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("# TYPE bridge_calls_expired counter"));
    assert!(open.contains("\nprocess_open_fds "));
    let older = scraped("text/plain");
    assert!(!older.contains("# EOF") && !older.contains("# UNIT"));
    assert!(older.contains("# TYPE bridge_calls_expired_total counter"));
    let samples = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.split(' ').next().map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(samples(&open), samples(&older));
}

/// The words of a text that name metrics of the bridge or of its process.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named = words.filter(|word| word.starts_with("bridge_") || word.starts_with("process_"));
    named.map(str::to_owned).collect()
}

#[test]
fn each_series_that_a_rule_names_exists_from_the_start() {
    let scrape = scraped("text/plain");
    let known = labels(&scrape);
    let rules = text("deploy/prometheus/alerts.yml");
    let rules: Vec<&str> = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let rules = rules.join("\n");
    let named = named(&rules);
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        // The series of a signing key appears with its first use.
        let is_open = name == "bridge_signing_key_used_total";
        assert!(is_open || known.contains_key(&name), "no series {name}");
    }
}

#[test]
fn each_rule_has_a_runbook_with_commands() {
    let rules = text("deploy/prometheus/alerts.yml");
    let alerts: BTreeSet<PathBuf> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(|alert| root().join("docs/runbooks").join(format!("{alert}.md")))
        .collect();
    let pages = std::fs::read_dir(root().join("docs/runbooks")).expect("the runbooks");
    let pages: BTreeSet<PathBuf> = pages.map(|page| page.expect("a page").path()).collect();
    assert_eq!(alerts, pages);
    let index = text("docs/runbooks.md");
    for page in pages {
        let name = page.file_stem().expect("a name").to_string_lossy();
        assert!(
            index.contains(&format!("| [{name}](runbooks/{name}.md) | ")),
            "{name}"
        );
        let text = text(&page);
        for part in [
            "**Meaning.** ",
            "**Impact.** ",
            "## Diagnosis\n",
            "## Repair\n",
            "## Escalate\n",
        ] {
            assert!(text.contains(part), "{}: no {part:?}", page.display());
        }
        let commands = commands(&Page { path: page, text });
        assert!(!commands.is_empty());
    }
}
