//! What an operator does at a desk: calls out of the store and played again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use twilio_acquire_bridge::fixture::Fixture;

use crate::harness::{Bridge, sid, status_form, until};

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
            // In one millisecond it is chance what is planned together.
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
fn an_exported_call_holds_every_byte_and_replays_to_what_was_sent() {
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
fn a_redacted_export_names_nobody() {
    let folder = Path::new("fixtures/scenarios/recording-one-call");
    let mut bridge = Bridge::start();
    bridge.restarts_with_file(&folder.join("bridge.toml"));
    bridge.plays(folder);
    let exact = everything(&bridge.exports(&[]));
    let redacted = everything(&bridge.exports(&["--redact"]));
    let sids = exact.split(|c: char| !c.is_ascii_alphanumeric());
    let sids = sids.filter(|word| word.len() == 34);
    let told = ["12025550123", "14045550199", "jane", "bob", "signature"];
    for original in sids.chain(told) {
        assert!(!redacted.contains(original), "{original}: {redacted}");
        assert!(exact.contains(original), "{original} was there: {exact}");
    }
}

#[test]
fn what_is_to_be_exported_must_be_said_and_must_not_be_there_already() {
    let bridge = Bridge::start();
    bridge.tells_of(1, "completed");
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
    assert!(run.err.contains("is there already"), "{run:?}");
}

#[test]
fn calls_are_listed_by_what_is_known_of_them() {
    let bridge = Bridge::start();
    bridge.tells_of(1, "completed");
    bridge.waits(HOUR);
    bridge.tells_of(2, "busy");
    let other = status_form(&sid(3), "no-answer").replace("2025550199", "2025550188");
    let other = other.replace("inbound", "sideways");
    assert_eq!(
        bridge
            .twilio
            .sends_form(crate::harness::STATUS, &other)
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
        (&["--number", "2025550188"], &[]),
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
    let run = bridge.runs(&["list", "--since", "yesterday"]);
    assert!(
        run.code == Some(2) && run.err.contains("2026-01-31"),
        "{run:?}"
    );
}

impl Bridge {
    fn tells_of(&self, call: usize, status: &str) {
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
fn one_screen_tells_a_call_from_its_legs_to_where_each_field_came_from() {
    let folder = Path::new("fixtures/scenarios/transfer");
    let mut bridge = Bridge::start();
    bridge.restarts_with_file(&folder.join("bridge.toml"));
    bridge.plays(folder);
    let caller = "CA0000000000000000000000000000501f";
    let by_leg = bridge.runs(&["show", "CA00000000000000000000000000005021"]);
    let run = bridge.runs(&["show", caller]);
    assert_eq!((run.code, &run.out), (Some(0), &by_leg.out));
    fits(&run.out);
    let (before, after) = run.out.split_once(", 200 in ").expect("an attempt");
    let (_, after) = after.split_once(" ms").expect("its time");
    insta::assert_snapshot!(format!("{before}, 200 in 9 ms{after}"), @r#"
    CA0000000000000000000000000000501f  delivered
    account AC00000000000000000000000000000001, last change 2026-09-21T15:13:23.000Z
    next    nothing: Acquire took all that is owed; a later callback may owe more

    legs
      A  CA0000000000000000000000000000501f
         +12025550123 -> +14045550199
      B  CA00000000000000000000000000005020, dialled by A
         +12025550123 -> client:jane
      C  CA00000000000000000000000000005021, dialled by A
         +12025550123 -> client:bob

    callbacks from Twilio
      2026-09-21T14:13:21.000Z  B  #0 completed, ends the leg
      2026-09-21T14:13:22.000Z  C  #0 completed, ends the leg
      2026-09-21T14:13:23.000Z  A  #0 completed, ends the leg

    attempts at Acquire
      2026-09-21T15:13:23.000Z  A  call-end accepted, 200 in 9 ms
         answer {"data":{"success":true,"message":"Successfully saved"}}

    what the plan makes of it
      call-end of leg A: Acquire took it at 2026-09-21T15:13:23.000Z
        From          +12025550123      From of leg A
        To            +14045550199      To of leg A
        CallId        CA0000000000000000000000000000501f  CallSid of leg A
        email         jane@example.com  e-mail of the person who took leg B
        CallStatus    completed         CallStatus of leg A
        Duration      158               CallDuration of leg A
        Direction     incoming          incoming: a telephone called in
      nothing: leg B is not reported for itself: leg A is the call (calls.report =
        "call")
      nothing: leg C is not reported for itself: leg A is the call (calls.report =
        "call")
    "#);
}

#[test]
fn a_missed_calls_status_is_shown_as_that_of_the_leg_it_is_from() {
    let folder = Path::new("fixtures/scenarios/inbound-missed");
    let mut bridge = Bridge::start();
    bridge.restarts_with_file(&folder.join("bridge.toml"));
    bridge.plays(folder);
    let run = bridge.runs(&["show", "CA00000000000000000000000000005007"]);
    let (_, after) = run.out.split_once("CallStatus    no-answer").expect("it");
    let from = after.trim_start();
    assert!(from.starts_with("status of leg C, the last"), "{}", run.out);
}

#[test]
fn what_did_not_come_is_shown_where_it_should_have_been() {
    let bridge = Bridge::start();
    for (status, number) in [("initiated", 0), ("in-progress", 2), ("completed", 3)] {
        let form = status_form(&sid(1), status);
        let form = form.replace("SequenceNumber=0", &format!("SequenceNumber={number}"));
        assert_eq!(
            bridge
                .twilio
                .sends_form(crate::harness::STATUS, &form)
                .status,
            204
        );
    }
    bridge.settles();
    let run = bridge.runs(&["show", &sid(1)]);
    let lines: Vec<&str> = run.out.lines().collect();
    let at = |text: &str| {
        lines
            .iter()
            .position(|line| line.contains(text))
            .expect(text)
    };
    assert!(
        at("#0 initiated, before the end") < at("#1 did not come"),
        "{}",
        run.out
    );
    assert_eq!(
        at("#1 did not come") + 1,
        at("#2 in-progress, before the end"),
        "{}",
        run.out
    );
    assert!(
        run.out.contains("#3 completed, ends the leg"),
        "{}",
        run.out
    );
    let story: Value =
        serde_json::from_str(&bridge.runs(&["show", "--json", &sid(1)]).out).expect("JSON");
    assert_eq!(story["legs"][0]["missing"], serde_json::json!([1]));
    assert_eq!(
        story["owed"][0]["fields"][0]["from"],
        format!("From of leg {}", sid(1))
    );
}

#[test]
fn what_happens_next_is_told_in_words_beside_a_running_bridge() {
    let bridge = Bridge::start();
    bridge.acquire.behaves(twilio_acquire_bridge::sink::Faults {
        otherwise: twilio_acquire_bridge::sink::Reply::Status(401),
        ..Default::default()
    });
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    // The breaker opens before what it saw is settled.
    bridge.settles();
    let next = bridge.call(&sid(1))["next"].clone();
    assert_eq!(
        next,
        "waits for the breaker of account acme, next probe in 1s; look at acquire.api_key"
    );
    let run = bridge.runs(&["show", &sid(1)]);
    fits(&run.out);
    let told = "next    waits for the breaker of account acme";
    assert!(
        run.out.contains(told) && run.out.contains("acquire.api_key"),
        "{}",
        run.out
    );
    let mut without_secrets = bridge.command(&["show", &sid(1)]);
    without_secrets.env_remove("TWILIO_AUTH_TOKEN");
    let output = without_secrets.output().expect("the program runs");
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(out.contains(told), "{out}");
}

#[test]
fn a_change_of_the_configuration_is_seen_before_it_counts_and_sent_on_request() {
    let bridge = Bridge::start();
    bridge.tells_of(1, "completed");
    bridge.tells_of(2, "busy");
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
    assert!(run.out.ends_with("1 of 1 calls requeued\n"), "{run:?}");
    bridge.settles();
    assert_eq!(bridge.sent().len(), 3);
}

#[test]
fn calls_of_the_store_are_replayed_and_a_difference_is_shown() {
    let bridge = Bridge::start();
    bridge.tells_of(1, "completed");
    bridge.tells_of(2, "busy");
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
