//! `docs/debugging.md`, walked through: each command of the page is run beside a bridge to which that
//! happened, and prints what the page shows.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::NextState;

use crate::requeue::finished;
use crate::support::harness::{Bridge, until};
use crate::support::http::exchange;
use crate::support::twilio::{STATUS, sid, signature, status_form};

const PROGRAM: &str = "twilio-acquire-bridge ";

/// What the page calls the bridge's own address.
const ADDRESS: &str = "127.0.0.1:8080";

/// A block of the page.
struct Block {
    /// The text after the three backquotes.
    info: String,
    text: String,
}

/// The blocks of one incident.
fn incident(number: usize) -> Vec<Block> {
    let page = fs::read_to_string("docs/debugging.md").expect("the page");
    let (_, rest) = page
        .split_once(&format!("\n## {number}. "))
        .expect("the incident");
    let section = rest.split("\n## ").next().unwrap_or_default();
    let fenced = section.split("```").skip(1).step_by(2);
    let blocks = fenced.map(|block| {
        let (info, text) = block.split_once('\n').expect("a line");
        Block {
            info: info.to_owned(),
            text: text.to_owned(),
        }
    });
    blocks.collect()
}

impl Bridge {
    /// Does what the page does: `console` blocks are run, `toml` blocks go into the configuration
    /// (the bridge restarts, after `fixed`) or into the file that they name.
    fn replays_page(&mut self, number: usize, mut fixed: impl FnMut(&Self)) {
        let blocks = incident(number);
        assert!(blocks.iter().any(|block| block.info == "console"));
        for block in blocks {
            match block.info.split_once(' ') {
                None if block.info == "console" => self.says(&block.text),
                None if block.info == "toml" => {
                    fixed(self);
                    self.restarts_with(&block.text);
                    self.waits(Duration::from_secs(60));
                }
                Some(("toml", file)) => {
                    fs::write(self.folder.path().join(file), block.text).expect("a file");
                }
                _ => panic!("a block of {}", block.info),
            }
            self.settles();
        }
    }

    fn says(&self, session: &str) {
        let mut printed = String::new();
        for line in session.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                printed.extend([line, "\n", &self.prints(command)]);
                self.settles();
            }
        }
        let printed = printed.replace(&self.public().to_string(), ADDRESS);
        let printed = printed.replace(&format!("{}/", self.folder.path().display()), "");
        for line in printed.lines() {
            // Wrapped is what can be: an error is one line, and JSON and SIDs are kept whole.
            let is_kept = line.starts_with("$ ") || line.starts_with("error: ");
            let has_long_word = line.split(' ').any(|word| word.len() > 40);
            assert!(
                line.chars().count() <= 80 || is_kept || has_long_word,
                "{line}"
            );
        }
        assert_eq!(
            steady(&printed),
            steady(session),
            "the program says now:\n\n```console\n{printed}```\n"
        );
    }

    /// What a command prints, on both ways in one, and its exit code where that is not 0.
    fn prints(&self, command: &str) -> String {
        let command = command.replace(ADDRESS, &self.public().to_string());
        let arguments = command.strip_prefix(PROGRAM).expect("the program");
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let both = file.reopen().expect("the file");
        let also = both.try_clone().expect("the file");
        let mut command = self.command(&arguments);
        let ended = command
            .current_dir(&self.folder)
            .stdout(both)
            .stderr(also)
            .status()
            .expect("the program runs");
        let mut printed = fs::read_to_string(file.path()).expect("text");
        match ended.code() {
            Some(0) => {}
            code => writeln!(printed, "exit code {}", code.expect("a code")).expect("written"),
        }
        printed
    }
}

/// Without what differs from run to run: times, measured durations, and so where lines end.
fn steady(text: &str) -> String {
    let is_time = |word: &str| word.len() >= 20 && word.starts_with("20") && word.contains('T');
    let is_rate = |word: &str| word.starts_with('(') && word.ends_with("/s)");
    let words = text.split_whitespace().map(|word| match word {
        word if is_time(word) => "TIME",
        word if is_rate(word) => "RATE",
        word => word,
    });
    let words: Vec<&str> = words.collect();
    let mut steady = Vec::new();
    for (place, word) in words.iter().enumerate() {
        let is_measured = words
            .get(place + 1)
            .is_some_and(|unit| ["ms", "ms,", "s"].contains(unit));
        steady.push(if is_measured { "N" } else { word });
    }
    steady.join(" ")
}

#[test]
fn callbacks_are_refused_since_the_host_changed() {
    let mut bridge = Bridge::start();
    let form = status_form(&sid(1), "completed");
    let url = format!("https://calls.example.com{STATUS}");
    let signature = signature(&url, form.as_bytes());
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Forwarded-Host", "calls.example.com"),
        ("X-Twilio-Signature", signature.as_str()),
    ];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    bridge.keeps("host");
    bridge.replays_page(1, |_| ());
    assert_eq!(bridge.sent().len(), 1);
}

#[test]
fn a_call_is_missing_since_the_key_is_wrong() {
    let mut bridge = Bridge::start();
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(401),
        ..Faults::default()
    });
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    bridge.settles();
    bridge.replays_page(2, |bridge| bridge.acquire.behaves(Faults::default()));
    assert_eq!(bridge.state(&sid(1)), "delivered");
}

#[test]
fn a_recording_came_too_late() {
    let mut bridge = Bridge::start();
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.settles();
    bridge.waits(Duration::from_secs(30));
    bridge.records(&sid(1), "completed");
    bridge.replays_page(3, |_| ());
    let sent = bridge.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent[1]["RecordingUrl"].is_string());
}

#[test]
fn an_agents_own_calls_are_shown_as_incoming() {
    let mut bridge = Bridge::start();
    let form = status_form(&sid(1), "completed").replace("%2B12025550123", "client%3Ajane");
    assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
    bridge.settles();
    bridge.replays_page(4, |_| ());
    let sent = bridge.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(
        (&sent[1]["Direction"], &sent[1]["email"]),
        (&"outgoing".into(), &"jane@example.com".into())
    );
}

#[test]
fn ten_thousand_calls_are_parked() {
    let mut bridge = Bridge::start();
    bridge.stops();
    let reason = "Acquire refused it with 422: maintenance";
    finished(
        &bridge,
        10_000,
        &NextState::Parked(Cause::Refused(422), reason.to_owned()),
    );
    bridge.starts();
    bridge.replays_page(5, |_| ());
    until("all are delivered", || {
        bridge.metric("bridge_calls{state=\"delivered\"} ") == Some(10_000.0)
    });
}
