//! The output and exit codes of the commands.

use std::process::{Command, Stdio};

use twilio_acquire_bridge::debugging::fake_acquire::Faults;

use crate::support::harness::{Bridge, until};
use crate::support::serve::{Serve, command_to_serve, reached, sink};
use crate::support::twilio::sid;

#[test]
fn a_port_in_use_is_an_error_of_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9")
        .env("BRIDGE__SERVER__LISTEN", &address)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&output.stderr);
    let expected = format!("error: cannot listen on {address} (server.listen): ");
    assert!(
        printed.starts_with(&expected) && printed.lines().count() == 1,
        "{printed}"
    );
}

#[test]
fn a_token_that_is_none_is_a_warning_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    command.env("TWILIO_AUTH_TOKEN", "...");
    // Not a port, so that it ends.
    command.env("BRIDGE__SERVER__LISTEN", "192.0.2.1:1");
    let output = command.output().expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stderr);
    let warning = "twilio.auth_tokens (TWILIO_AUTH_TOKEN) (a secret, not shown)";
    assert!(
        printed.contains("WARN") && printed.contains(warning),
        "{printed}"
    );
}

#[test]
fn a_file_that_is_no_database_is_an_error_and_stays_unchanged() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bridge.db");
    std::fs::write(
        &file,
        "dear diary, this is no database at all\n".repeat(100),
    )
    .expect("a file");
    let before = std::fs::read(&file).expect("a file");
    let output = command_to_serve(&file, "http://127.0.0.1:9")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read(&file).expect("a file"), before);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("file is not a database"), "{printed}");
}

#[test]
fn without_a_token_it_refuses_to_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9")
        .env_remove("TWILIO_AUTH_TOKEN")
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("TWILIO_AUTH_TOKEN"));
}

#[test]
fn the_demonstration_ends_and_prints_the_lines_that_the_readme_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .args(["demo", "--once"])
        .current_dir("/")
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .output()
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let readme = std::fs::read_to_string("README.md").expect("the README");
    let (_, shown) = readme.split_once("```text\n").expect("the output");
    let (shown, _) = shown.split_once("\n```").expect("its end");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 6);
    for line in lines {
        let is_printed = printed.lines().any(|printed| is_shortened(printed, line));
        assert!(is_printed, "{line}\n\n{printed}");
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let sum = |line: &str| {
        let line = stderr.lines().find(|of| of.contains(line)).expect("a line");
        let (total, parts) = line.split_once(": ").expect("parts");
        let number = |text: &str| -> u64 {
            let digits = text.split(' ').next().expect("a word");
            digits.parse().expect("a number")
        };
        (number(total), parts.split(", ").map(number).sum::<u64>())
    };
    for line in [" callbacks sent: ", " calls: "] {
        let (total, parts) = sum(line);
        assert_eq!(total, parts, "{stderr}");
    }
    // A call with two reported legs has two of these lines.
    let requests = printed.matches("  accepted: {").count();
    let shown = format!(" delivered ({requests} requests accepted), ");
    assert!(stderr.contains(&shown), "{stderr}");
}

/// Whether `short` is `line` with some of it replaced by `...`.
fn is_shortened(line: &str, short: &str) -> bool {
    let mut parts = short.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || short.ends_with("...")
}

#[test]
fn each_command_with_data_prints_one_json_object_a_line() {
    let bridge = Bridge::start();
    bridge.twilio.sends("not-ended-ringing");
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (copy, incident) = (path("copy.db"), path("incident"));
    let unknown = sid(99);
    let number = ["erase", "--number", "+12025550123", "--reason", "a test"];
    let with = |more: &'static str| [&number[..], &[more]].concat();
    for (arguments, code, keys) in [
        (vec!["requeue", &sid(1)], 0, "call_sid done result"),
        (vec!["requeue", &unknown], 3, "call_sid done result"),
        (
            vec!["requeue", "--state", "delivered", "--yes"],
            0,
            "kind operation state total done failed receipt",
        ),
        (
            vec!["requeue", "--cause", "not-ended", "--yes"],
            0,
            "kind operation state total done failed receipt",
        ),
        (vec!["health"], 0, "ready report"),
        (vec!["backup", &copy], 0, "store copy bytes"),
        (vec!["export", &sid(1), "--out", &incident], 0, "path"),
        (with("--dry-run"), 0, "found"),
        (
            with("--yes"),
            0,
            "kind operation state total done failed receipt",
        ),
        (vec!["list", "--count"], 0, "count"),
        (
            vec!["sign", "--url", "https://bridge.example.com/"],
            0,
            "signature",
        ),
    ] {
        let arguments = [&arguments[..], &["--json"]].concat();
        let run = bridge.runs(&arguments);
        assert_eq!(
            run.code,
            Some(code),
            "{arguments:?}: {}{}",
            run.out,
            run.err
        );
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{arguments:?}: {}", run.out));
        let found: Vec<&str> = object.keys().map(String::as_str).collect();
        assert_eq!(found.join(" "), keys, "{arguments:?}");
        bridge.settles();
    }
}

#[test]
fn a_call_can_be_listed_shown_and_requeued_beside_a_running_bridge() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults::default());
    let serve = Serve::start(&database, &acquire);
    let admin = serve.admin.to_string();
    serve.accepts(1);
    reached(&acquire, 1);
    let run = |arguments: &[&str]| {
        let as_served = command_to_serve(&database, &acquire.base_url());
        let output = Command::new(as_served.get_program())
            .args(arguments)
            .env_clear()
            .env("BRIDGE_CONFIG", "/dev/null")
            .envs(
                as_served
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
            .env("BRIDGE__ADMIN__LISTEN", &admin)
            .output()
            .expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, listed, _) = run(&["list"]);
    assert!(code == Some(0) && listed.contains(&sid(1)), "{listed}");
    let (code, shown, _) = run(&["show", &sid(1)]);
    assert!(
        code == Some(0) && shown.contains("+12025550123 -> +12025550199"),
        "{shown}"
    );
    let (code, printed, why) = run(&["requeue", &sid(1), &sid(9)]);
    assert_eq!(code, Some(3), "{why}");
    assert_eq!(printed, format!("{}  requeued\n", sid(1)));
    assert_eq!(why, format!("{}  not in the store\n", sid(9)));
    reached(&acquire, 2);
    serve.signal("-TERM");
    assert_eq!(serve.ends().0, Some(0));
    let (code, printed, why) = run(&["requeue", &sid(1)]);
    assert_eq!(
        (code, printed),
        (Some(0), format!("{}  requeued\n", sid(1))),
        "{why}"
    );
    let (code, _, why) = run(&["show", &sid(9)]);
    assert!(code == Some(1) && why.contains("no callback of"), "{why}");
}

#[test]
fn a_reader_that_closes_stdout_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let fixtures = folder.path().join("fixtures");
    std::fs::create_dir(&fixtures).expect("a folder");
    let fixture = std::fs::read("fixtures/twilio/inbound-completed.http").expect("a fixture");
    for number in 0..2_000 {
        std::fs::write(fixtures.join(format!("{number}.http")), &fixture).expect("a file");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .args(["replay", "--dry-run"])
        .arg(&fixtures)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn reading_a_missing_store_does_not_create_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("none.db");
    for arguments in [&["requeue", &sid(1)][..], &["show", &sid(1)], &["list"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
        let as_served = command_to_serve(&database, "http://127.0.0.1:9");
        command.args(arguments);
        command.envs(
            as_served
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        assert_eq!(
            command.output().expect("it runs").status.code(),
            Some(1),
            "{arguments:?}"
        );
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "{arguments:?}");
    }
}

#[test]
fn health_checks_whether_the_bridge_of_this_machine_accepts_callbacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    command.env("BRIDGE__SERVER__DRAIN", "10m");
    let serve = Serve::by(command);
    let health = || {
        let output = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
            .arg("health")
            .env_clear()
            .env("BRIDGE_CONFIG", "/dev/null")
            // As in a container, which listens on all addresses; the token is not needed.
            .env(
                "BRIDGE__ADMIN__LISTEN",
                format!("0.0.0.0:{}", serve.admin.port()),
            )
            .output()
            .expect("the program runs");
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        (output.status.code(), printed)
    };
    until("it is ready", || {
        health() == (Some(0), "ready\n".to_owned())
    });
    serve.signal("-TERM");
    let (mut code, mut printed) = health();
    until("it is stopping", || {
        (code, printed) = health();
        printed.contains("stopping")
    });
    assert_eq!(code, Some(1));
    assert!(printed.contains("is not ready: "), "{printed}");
    serve.signal("-KILL");
    while health().1.contains("is not ready") {}
    let (code, printed) = health();
    assert_eq!(code, Some(1));
    assert!(
        printed.contains("no bridge answers on admin.listen"),
        "{printed}"
    );
}

#[test]
fn ctrl_c_ends_a_replay_with_the_summary_of_what_was_sent() {
    let bridge = Bridge::start();
    let to = format!("http://{}", bridge.public());
    let case = "fixtures/twilio/inbound-completed.http";
    let arguments = [
        "replay",
        case,
        "--to",
        &to,
        "--fresh-sids",
        "--rate",
        "1",
        "--repeat",
        "1000",
    ];
    let mut command = bridge.command(&arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let replay = command.spawn().expect("the program starts");
    until("one is sent", || bridge.sent().len() == 1);
    let id = replay.id().to_string();
    let killed = Command::new("kill").args(["-INT", &id]).status();
    assert!(killed.expect("kill runs").success());
    let output = replay.wait_with_output().expect("it ends");
    let [out, err] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(out.starts_with("sent  "), "{out}");
    assert!(
        err.contains("stopped after") && err.contains("of 1000 requests"),
        "{err}"
    );
}
