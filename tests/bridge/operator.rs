//! Commands for operators: calls are exported from the store and replayed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use twilio_acquire_bridge::debugging::fixture::Fixture;

use crate::support::harness::{Bridge, until};
use crate::support::twilio::{sid, status_form};

mod showing;

const HOUR: Duration = Duration::from_secs(3600);

fn fixtures_of(folder: &Path) -> Vec<Fixture> {
    let read = |path: &PathBuf| Fixture::read(path).unwrap_or_else(|why| panic!("{why}"));
    files(folder, "http").iter().map(read).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|other| other == extension))
        .collect();
    files.sort();
    files
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut folders: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

impl Bridge {
    /// Sends the callbacks of a scenario with the waits between them, and waits for what comes of it.
    fn plays(&self, folder: &Path) {
        for fixture in fixtures_of(folder) {
            let wait = fixture.description.strip_prefix("after ");
            let seconds = wait.and_then(|text| text.split_once("s:")?.0.parse().ok());
            // Within one millisecond it is chance which callbacks are planned together.
            self.waits(Duration::from_secs(seconds.unwrap_or(1)));
            let headers: Vec<(&str, &str)> = fixture
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let answer = self.twilio.signs_and_sends(
                &fixture.url,
                &fixture.target(),
                &headers,
                &fixture.body,
            );
            assert_eq!(answer.status, 204, "{}", answer.body);
        }
        self.settles();
        for _ in 0..6 {
            self.waits(HOUR);
        }
    }

    fn exports(&self, more: &[&str]) -> PathBuf {
        let out = self.folder.path().join(format!("out{}", more.len()));
        let place = out.display().to_string();
        let mut arguments = vec!["export", "--since", "2020-01-01", "--out", &place];
        arguments.extend(more);
        let run = self.runs(&arguments);
        assert_eq!(run.code, Some(0), "{run:?}");
        out
    }
}

/// All texts below a folder, the names of files and folders too.
fn everything(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        all.push_str(&path.file_name().expect("a name").to_string_lossy());
        all.push('\n');
        if path.is_dir() {
            all.push_str(&everything(&path));
        } else {
            all.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
    all
}

/// One of each way in which callbacks come together.
const SCENARIOS: [&str; 8] = [
    "transfer",
    "chain",
    "life-one-call",
    "recording-after-end",
    "recording-late-resent",
    "recording-one-call",
    "softphone-redials",
    "parent-silent",
];

#[test]
fn an_exported_call_has_every_byte_and_replays_to_the_requests_that_were_sent() {
    for scenario in SCENARIOS {
        let folder = Path::new("fixtures/scenarios").join(scenario);
        let mut bridge = Bridge::start();
        bridge.restarts_with_file(&folder.join("bridge.toml"));
        bridge.plays(&folder);

        let out = bridge.exports(&[]);
        let calls = folders(&out);
        let bodies = |all: Vec<Fixture>| -> Vec<(String, Vec<u8>)> {
            let mut bodies: Vec<_> = all.into_iter().map(|one| (one.url, one.body)).collect();
            bodies.sort();
            bodies
        };
        let exported = calls.iter().flat_map(|call| fixtures_of(call)).collect();
        assert_eq!(bodies(exported), bodies(fixtures_of(&folder)), "{scenario}");
        if let [call] = &calls[..] {
            let expected = json(&call.join("expected.json"));
            let bodies = expected.as_array().into_iter().flatten();
            let bodies = bodies.flat_map(|request| request.as_object().into_iter().flatten());
            let bodies: Vec<Value> = bodies.map(|(_, body)| body.clone()).collect();
            assert_eq!(bodies, bridge.sent(), "{scenario}");
        }
        let redacted = bridge.exports(&["--redact"]);
        for out in [out, redacted] {
            assert!(
                folders(&out)
                    .iter()
                    .all(|call| call.join("expected.json").is_file())
            );
            let run = bridge.runs(&["replay", "--dry-run", &out.display().to_string()]);
            assert_eq!(run.code, Some(0), "{scenario}: {run:?}");
        }
    }
}

#[test]
fn a_redacted_export_has_no_personal_data() {
    let folder = Path::new("fixtures/scenarios/recording-one-call");
    let mut bridge = Bridge::start();
    bridge.restarts_with_file(&folder.join("bridge.toml"));
    bridge.plays(folder);
    let exact = everything(&bridge.exports(&[]));
    let redacted = everything(&bridge.exports(&["--redact"]));
    let sids = exact.split(|c: char| !c.is_ascii_alphanumeric());
    let sids = sids.filter(|word| word.len() == 34);
    let personal = ["12025550123", "14045550199", "jane", "bob", "signature"];
    for original in sids.chain(personal) {
        assert!(!redacted.contains(original), "{original}: {redacted}");
        assert!(exact.contains(original), "{original} was there: {exact}");
    }
}

#[test]
fn an_export_needs_a_selection_and_a_new_folder() {
    let bridge = Bridge::start();
    bridge.reports(1, "completed");
    let out = bridge.folder.path().join("out").display().to_string();
    let run = bridge.runs(&["export", "--out", &out]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("--since 1d"), "{run:?}");
    let run = bridge.runs(&["export", &sid(1), &sid(9), "--out", &out]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert_eq!(run.out, format!("{out}/{}\n", sid(1)));
    assert_eq!(run.err, format!("{}  not in the store\n", sid(9)));
    let run = bridge.runs(&["export", &sid(1), "--out", &out]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("already exists"), "{run:?}");
}

#[test]
fn calls_are_listed_by_what_is_known_of_them() {
    let bridge = Bridge::start();
    bridge.reports(1, "completed");
    bridge.waits(HOUR);
    bridge.reports(2, "busy");
    let other = status_form(&sid(3), "no-answer").replace("2025550199", "2025550188");
    let other = other.replace("inbound", "sideways");
    assert_eq!(
        bridge
            .twilio
            .sends_form(crate::support::twilio::STATUS, &other)
            .status,
        204
    );
    bridge.settles();
    let (first, later) = ("2026-09-21T14:13:20Z", "2026-09-21T15:13:20Z");
    for (arguments, found) in [
        (&["--state", "delivered"][..], &[2, 1][..]),
        (&["--state", "parked"], &[3]),
        (&["--since", later], &[3, 2]),
        (&["--until", later], &[1]),
        (&["--since", first, "--limit", "1"], &[3]),
        (&["--status", "busy"], &[2]),
        (&["--number", "+12025550188"], &[3]),
        (
            &["--number", "+1 (202) 555-0123", "--state", "delivered"],
            &[2, 1],
        ),
        (&["--number", "0188", "--since", "2020-01-01"], &[3]),
        (&["--number", "3025550188", "--since", "2020-01-01"], &[]),
        (&["--reason", "SIDEWAYS"], &[3]),
        (
            &["--account", "AC00000000000000000000000000000001"],
            &[3, 2, 1],
        ),
        (&["--account", "AC00000000000000000000000000000002"], &[]),
    ] {
        let run = bridge.runs(&[&["list", "--json"][..], arguments].concat());
        let lines = run
            .out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let sids: Vec<Value> = lines.map(|line| line["call_sid"].clone()).collect();
        let expected: Vec<String> = found.iter().map(|number| sid(*number)).collect();
        assert_eq!(sids, expected, "{arguments:?}: {run:?}");
    }
    let run = bridge.runs(&["list", "--status", "canceled"]);
    assert_eq!(
        (run.out.as_str(), run.err.as_str()),
        ("", "no such calls\n")
    );
    let run = bridge.runs(&["list", "--since", "noon"]);
    assert!(
        run.code == Some(2) && run.err.contains("2026-01-31"),
        "{run:?}"
    );
}

impl Bridge {
    fn reports(&self, call: usize, status: &str) {
        assert_eq!(self.twilio.ends(&sid(call), status).status, 204);
        self.settles();
    }
}

/// Every line fits a terminal of 80 columns.
fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_change_of_the_configuration_is_shown_before_it_applies_and_sent_on_request() {
    let bridge = Bridge::start();
    bridge.reports(1, "completed");
    bridge.reports(2, "busy");
    let run = bridge.runs(&["replan"]);
    assert_eq!((run.code, run.out.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(run.err, "0 of 2 calls differ\n");

    let file = bridge.folder.path().join("new.toml");
    fs::write(&file, "[directory]\ndefault = \"calls@example.com\"\n").expect("a file");
    let new = file.display().to_string();
    let run = bridge.runs(&["replan", "--config", &new, "--status", "busy"]);
    assert_eq!(run.code, Some(3), "{run:?}");
    assert!(
        run.out.contains("+      \"email\": \"calls@example.com\""),
        "{run:?}"
    );
    assert!(
        run.out.starts_with(&sid(2)) && !run.out.contains(&sid(1)),
        "{run:?}"
    );
    fits(&run.out);
    let run = bridge.runs(&["replan", "--config", &new, "--status", "busy", "--send"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("--yes"), "{run:?}");
    assert_eq!(bridge.sent().len(), 2);

    let arguments = [
        "replan", "--config", &new, "--status", "busy", "--send", "--yes", "--json",
    ];
    let run = bridge.runs(&arguments);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.out.ends_with("{\"requeued\":1,\"total\":1}\n"),
        "{run:?}"
    );
    bridge.settles();
    assert_eq!(bridge.sent().len(), 3);
}

#[test]
fn calls_of_the_store_are_replayed_and_a_difference_is_shown() {
    let bridge = Bridge::start();
    bridge.reports(1, "completed");
    bridge.reports(2, "busy");
    for how in ["--dry-run", "--offline"] {
        let run = bridge.runs(&["replay", "--from-store", "--status", "busy", how]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(
            run.out.starts_with(&sid(2)) && run.out.lines().count() == 1,
            "{run:?}"
        );
    }
    let file = bridge.folder.path().join("new.toml");
    fs::write(
        &file,
        "[calls]\nclient = \"outgoing\"\n[directory]\ndefault = \"a@b\"\n",
    )
    .expect("a file");
    let new = file.display().to_string();
    for how in ["--dry-run", "--offline"] {
        let run = bridge.runs(&["replay", "--from-store", "--config", &new, how]);
        assert_eq!(run.code, Some(3), "{run:?}");
        assert!(run.out.contains("  +      \"email\": \"a@b\""), "{run:?}");
    }
    let run = bridge.runs(&["replay", "--dry-run", "x.http", "--status", "busy"]);
    assert!(
        run.code == Some(2) && run.err.contains("--from-store"),
        "{run:?}"
    );
}
