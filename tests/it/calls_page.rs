//! Checks that docs/calls.md has each folder of `fixtures/scenarios` once: with the sentences of its
//! `bridge.toml`, and with the requests of its `expected.json`.
//!
//! `UPDATE_PAGES=1 cargo test --test it calls_page` rewrites the rows.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::scenarios::scenario_folders;

/// The header of a table with one row for each folder.
const HEADER: &str = "| folder | what happens | Acquire receives | why |";

fn page_path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/calls.md"))
}

/// The row of each folder.
fn rows() -> BTreeMap<String, String> {
    let folders = scenario_folders().into_iter();
    folders
        .map(|folder| {
            let name = folder.file_name().expect("a name").to_string_lossy();
            let (what, why) = sentences(&folder);
            let received = received(&folder);
            let row = format!("| `{name}` | {what} | {received} | {why} |");
            (name.into_owned(), row)
        })
        .collect()
}

/// What happens, and why Acquire receives what it does: the comment at the start of `bridge.toml`.
fn sentences(folder: &Path) -> (String, String) {
    let settings = std::fs::read_to_string(folder.join("bridge.toml")).expect("bridge.toml");
    let lines = settings.lines().map_while(|line| line.strip_prefix("# "));
    let text = lines.collect::<Vec<_>>().join(" ");
    let (what, why) = text
        .split_once(" Why: ")
        .unwrap_or_else(|| panic!("{}: bridge.toml does not say why", folder.display()));
    assert!(what.ends_with('.') && why.ends_with('.'), "{text}");
    (what.to_owned(), why.to_owned())
}

/// The requests of `expected.json` in words; those of one kind that follow each other are counted.
fn received(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("expected.json")).expect("expected.json");
    let requests: Vec<BTreeMap<String, Value>> = serde_json::from_str(&text).expect("requests");
    let requests: Vec<(&String, &Value)> = requests.iter().flatten().collect();
    let runs = requests.chunk_by(|(one, _), (other, _)| one == other);
    let runs = runs.map(|run| {
        let (kind, count) = (run[0].0, run.len());
        let plural = if count == 1 { "" } else { "s" };
        let each = run.iter().map(|(_, body)| content(body));
        let each = each.collect::<Vec<_>>().join("; ");
        format!("{count} {kind}{plural}: {each}")
    });
    runs.collect::<Vec<_>>().join(". ")
}

/// The fields of a request; an event has no status and no duration.
fn content(body: &Value) -> String {
    let text = |name: &str| body[name].as_str();
    let mut parts = vec![format!(
        "`{}` to `{}`",
        text("From").unwrap_or_default(),
        text("To").unwrap_or_default()
    )];
    parts.extend(text("Direction").map(str::to_owned));
    let email = text("email").map(|email| format!("`{email}`"));
    if let Some(status) = text("CallStatus") {
        parts.push(status.to_owned());
        parts.push(email.unwrap_or_else(|| "no e-mail".to_owned()));
        let seconds = text("Duration").map(|seconds| format!("{seconds} s"));
        parts.push(seconds.unwrap_or_else(|| "no Duration".to_owned()));
    } else {
        parts.extend(email);
    }
    parts.extend(text("RecordingUrl").map(|_| "RecordingUrl".to_owned()));
    parts.join(", ")
}

/// The page with the rows of the folders that it names, and these names.
fn with_rows(page: &str, rows: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let (mut text, mut names, mut is_table) = (String::new(), Vec::new(), false);
    for line in page.lines() {
        is_table = line == HEADER || (is_table && line.starts_with('|'));
        let name = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split('`').next());
        let name = name.filter(|_| is_table);
        let row = name.map(|name| {
            names.push(name.to_owned());
            let row = rows.get(name);
            row.unwrap_or_else(|| panic!("{name} is no folder of fixtures/scenarios"))
        });
        text.push_str(row.map_or(line, String::as_str));
        text.push('\n');
    }
    (text, names)
}

#[test]
fn the_page_of_calls_has_each_scenario_once_and_as_its_folder_says() {
    let rows = rows();
    let page = std::fs::read_to_string(page_path()).expect("docs/calls.md");
    let (expected, mut names) = with_rows(&page, &rows);
    names.sort_unstable();
    assert_eq!(names, rows.keys().cloned().collect::<Vec<_>>());
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let is_update = std::env::var("UPDATE_PAGES").is_ok();
    if is_update {
        std::fs::write(page_path(), &expected).expect("docs/calls.md");
        return;
    }
    for (line, expected) in page.lines().zip(expected.lines()) {
        assert_eq!(line, expected, "run again with UPDATE_PAGES=1");
    }
}
