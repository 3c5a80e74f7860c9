//! What commands print on a terminal, and once they are interrupted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::support::harness::Bridge;
use crate::support::http::exchange;
use crate::support::twilio::{STATUS, sid, status_form};

/// The same command on a terminal of 80 columns, with its end as the end.
fn on_a_terminal(command: &Command) -> Command {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let mut on_a_terminal = Command::new("script");
    on_a_terminal
        .args(["--quiet", "--return", "--command"])
        .arg(format!("stty cols 80 rows 24; exec {}", words.join(" ")))
        .arg("/dev/null")
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    let settings = command.get_envs();
    on_a_terminal.envs(settings.filter_map(|(key, value)| Some((key, value?))));
    on_a_terminal
}

#[test]
fn a_replay_on_a_terminal_shows_how_far_it_is() {
    let bridge = Bridge::start();
    let to = format!("http://{}", bridge.public());
    let case = "fixtures/twilio/inbound-completed.http";
    let replay = [
        "replay",
        case,
        "--to",
        &to,
        "--fresh-sids",
        "--repeat",
        "300",
    ];
    let output = on_a_terminal(&bridge.command(&replay)).output();
    let output = output.expect("script runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("/300 ") && printed.contains(" left"),
        "{printed}"
    );
    assert!(printed.contains("sent     300 in"), "{printed}");
}

#[test]
fn ctrl_c_ends_a_question_and_changes_nothing() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let requeue = bridge.command(&["requeue", "--state", "delivered"]);
    let mut terminal = on_a_terminal(&requeue);
    let mut running = terminal
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script runs");
    let (mut printed, mut keys) = (running.stdout.take(), running.stdin.take());
    let (printed, keys) = (
        printed.as_mut().expect("a pipe"),
        keys.as_mut().expect("a pipe"),
    );
    let mut seen = Vec::new();
    while !seen.ends_with(b"[y/N] ") {
        let mut byte = [0];
        printed.read_exact(&mut byte).expect("the question");
        seen.push(byte[0]);
    }
    keys.write_all(b"\x03").expect("Ctrl-C");
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("stopped; nothing was changed"), "{rest}");
    assert_eq!(running.wait().expect("an end").code(), Some(3), "{rest}");
    assert_eq!(bridge.sent().len(), 1);
}

#[test]
fn ctrl_c_prints_how_far_a_replay_without_a_network_is() {
    let bridge = Bridge::start();
    for mode in ["--dry-run", "--offline"] {
        // More than a pipe holds, so that the command waits for its reader.
        let folders = ["fixtures/twilio"; 8];
        let mut command = bridge.command(&[&["replay", mode][..], &folders].concat());
        let mut replay = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(replay.stdout.take().expect("a pipe")).lines();
        lines.next().expect("a line").expect("text");
        let id = replay.id().to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status();
        assert!(killed.expect("kill runs").success());
        let output = replay.wait_with_output().expect("an end");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{mode}: {printed}");
        assert!(
            printed.contains("of 8 folders and files are replayed"),
            "{mode}: {printed}"
        );
    }
}

#[test]
fn no_line_of_a_listing_or_a_receipt_is_wider_than_80_columns() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let form = format!(
        "{}&StatusCallbackEvent=completed",
        status_form(&sid(2), "completed")
    );
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", "wrong"),
    ];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    bridge.keeps("no-match");
    let to = format!("http://{}", bridge.public());
    let url = "https://other.example.com";
    let case = "fixtures/twilio/inbound-completed.http";
    let number = [
        "erase",
        "--number",
        "+12025550123",
        "--reason",
        "request-20-of-the-year-2026",
    ];
    for command in [
        &["list", "--refused"][..],
        &["replay", case, "--to", &to, "--public-url", url],
        &[&number[..], &["--dry-run"]].concat(),
        &[&number[..], &["--yes"]].concat(),
        &["audit"],
    ] {
        let mut command = on_a_terminal(&bridge.command(command));
        // Without colours and bars, which are no columns.
        let output = command.env("TERM", "dumb").output().expect("script runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        let lines = printed.lines().map(str::trim_end);
        let wide: Vec<&str> = lines.filter(|line| line.chars().count() > 80).collect();
        assert!(
            !printed.is_empty() && wide.is_empty(),
            "{command:?}: {wide:#?}"
        );
    }
}

#[test]
fn the_values_of_a_shown_request_or_call_are_in_one_column() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let form = "CallSid=CA1&StatusCallbackEvent=completed";
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    let id = bridge.keeps("no-signature")["example"].to_string();
    let shown = bridge.runs(&["show", &id]).out;
    let fields = "\n  CallSid              CA1\n  StatusCallbackEvent  completed\n";
    assert!(shown.contains(fields), "{shown}");
    let shown = bridge.runs(&["show", &sid(1)]).out;
    let (_, planned) = shown.split_once("what is sent and why").expect("the plan");
    let columns = |line: &str| line.rfind("  ").filter(|at| *at > 18);
    let mut columns: Vec<usize> = planned.lines().filter_map(columns).collect();
    columns.dedup();
    assert_eq!(columns, [34], "{planned}");
}
