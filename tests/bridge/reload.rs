//! SIGHUP: the configuration is read again while the bridge runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults};
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

use crate::accounts::{SLOW, answers_some_after};
use crate::support::harness::until;
use crate::support::http::{ask_admin, exchange};
use crate::support::serve::{Serve, command_to_serve, reached, sink};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, status_form};

const OLD: &str = "00000000000000000000000000000001";
const NEW: &str = "00000000000000000000000000000002";

/// A bridge that reads a file, and the folder of the file.
struct Reloading {
    serve: Serve,
    folder: tempfile::TempDir,
    acquire: FakeAcquire,
}

impl Reloading {
    fn start(file: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let acquire = sink(Faults::default());
        let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
        for of_the_file in ["TWILIO_AUTH_TOKEN", "ACQUIRE_ACCOUNT_ID"] {
            command.env_remove(of_the_file);
        }
        command.env_remove("BRIDGE__ACQUIRE__BASE_URL");
        command.env_remove("BRIDGE__SERVER__LISTEN");
        command.env_remove("BRIDGE__DELIVERY__SCHEDULE");
        Self::by(command, folder, acquire, file)
    }

    fn by(
        mut command: Command,
        folder: tempfile::TempDir,
        acquire: FakeAcquire,
        file: &str,
    ) -> Self {
        let path = folder.path().join("bridge.toml");
        write(&folder, &acquire, file);
        std::fs::write(folder.path().join("tokens"), OLD).expect("a file");
        let serve = Serve::by({
            command.env("BRIDGE_CONFIG", path);
            command
        });
        Self {
            serve,
            folder,
            acquire,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has it read this file, and returns the log up to the line with `message`.
    fn reads(&mut self, file: &str, message: &str) -> String {
        write(&self.folder, &self.acquire, file);
        self.serve.signal("-HUP");
        self.serve.logs(message)
    }

    fn answers(&self, token: &str, call: usize) -> u16 {
        self.answers_form(token, &status_form(&sid(call), "completed"))
    }

    fn answers_form(&self, token: &str, form: &str) -> u16 {
        let url = format!("{PUBLIC_URL}{STATUS}");
        let key = SigningKey::auth_token(token);
        let signature = sign(&key, &url, Body::Form(&fields(form.as_bytes())));
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Twilio-Signature", signature.as_str()),
        ];
        exchange(self.serve.public, "POST", STATUS, &headers, form.as_bytes()).status
    }

    /// Sends until the answer is `status`: a reload takes effect within moments.
    fn comes_to_answer(&self, token: &str, call: usize, status: u16) {
        until("the answer is another", || {
            self.answers(token, call) == status
        });
    }

    fn metrics(&self) -> String {
        ask_admin(self.serve.admin, "/metrics", &[]).body
    }

    fn uses(&self, position: usize) -> Option<u64> {
        let line = format!("bridge_signing_key_used_total{{account=\"acme\",key=\"{position}\"}} ");
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|text| text.strip_prefix(&line))?;
        value.parse().ok()
    }
}

fn write(folder: &tempfile::TempDir, acquire: &FakeAcquire, file: &str) {
    let text = file
        .replace("DIR", &folder.path().display().to_string())
        .replace("SINK", &acquire.base_url());
    std::fs::write(folder.path().join("bridge.toml"), text).expect("a file");
}

const FILE: &str = "[server]
listen = \"127.0.0.1:0\"
[acquire]
base_url = \"SINK\"
[[accounts]]
twilio_account_sid = \"AC00000000000000000000000000000001\"
twilio_auth_tokens_file = \"DIR/tokens\"
acquire_account_id = \"acme\"
";

#[test]
fn a_token_is_rotated_without_a_restart_and_the_metric_shows_when_the_old_one_is_unused() {
    let mut bridge = Reloading::start(FILE);
    assert_eq!(bridge.answers(OLD, 1), 204);
    assert_eq!(bridge.answers(NEW, 2), 403);
    assert_eq!(bridge.uses(1), Some(1));

    std::fs::write(bridge.file("tokens"), format!("{NEW} {OLD}")).expect("a file");
    bridge.reads(FILE, "changed: accounts[1].twilio_auth_tokens");
    bridge.comes_to_answer(NEW, 3, 204);
    assert_eq!((bridge.uses(1), bridge.uses(2)), (Some(1), Some(0)));
    assert_eq!(bridge.answers(OLD, 4), 204);
    assert_eq!((bridge.uses(1), bridge.uses(2)), (Some(1), Some(1)));
    assert!(!bridge.metrics().contains(OLD) && !bridge.metrics().contains(NEW));

    std::fs::write(bridge.file("tokens"), NEW).expect("a file");
    bridge.reads(FILE, "changed: accounts[1].twilio_auth_tokens");
    bridge.comes_to_answer(OLD, 5, 403);
    assert_eq!(bridge.answers(NEW, 5), 204);
    assert_eq!((bridge.uses(1), bridge.uses(2)), (Some(1), None));
    reached(&bridge.acquire, 4);
}

#[test]
fn a_wrong_configuration_changes_nothing_and_all_its_mistakes_are_logged() {
    let mut bridge = Reloading::start(FILE);
    std::fs::write(bridge.file("tokens"), NEW).expect("a file");
    let wrong = format!("{FILE}[delivery]\ntimeout = \"soon\"\n[calls]\nlegs = 1\n");
    let log = bridge.reads(&wrong, "calls.legs");
    assert!(
        log.contains("stays as it was: delivery.timeout = \"soon\" must be"),
        "{log}"
    );
    assert_eq!(bridge.answers(OLD, 1), 204);
    assert_eq!(bridge.answers(NEW, 2), 403);

    // A file that can be read but not used is refused as well.
    std::fs::write(bridge.file("ca.pem"), "no certificate").expect("a file");
    let unusable = FILE.replace("[[accounts]]", "ca_file = \"DIR/ca.pem\"\n[[accounts]]");
    let log = bridge.reads(&unusable, "acquire.ca_file");
    assert!(log.contains("stays as it was"), "{log}");
    assert_eq!(bridge.answers(OLD, 3), 204);

    bridge.reads(FILE, "was reloaded");
    bridge.comes_to_answer(NEW, 4, 204);
}

#[test]
fn deliveries_and_rules_follow_and_what_needs_a_restart_is_named() {
    let mut bridge = Reloading::start(FILE);
    assert_eq!(bridge.answers(OLD, 1), 204);
    reached(&bridge.acquire, 1);

    let other = sink(Faults::default());
    let changed = FILE
        .replace("127.0.0.1:0", "127.0.0.1:1")
        .replace("SINK", &other.base_url());
    let changed = format!(
        "{changed}acquire_api_key = \"made-up-key\"\n[directory]\ndefault = \"jane@example.com\"\n[log]\nformat = \"json\"\n"
    );
    let log = bridge.reads(&changed, "was reloaded");
    for waiting in ["log.format", "server.listen"] {
        assert!(
            log.contains(&format!(
                "{waiting} changed; restart the bridge to apply it"
            )),
            "{log}"
        );
    }
    let live = "changed: accounts[1].acquire_api_key, acquire.base_url, directory.default";
    assert!(log.contains(live), "{log}");

    let mut call = 1;
    until("a call goes the new way", || {
        let taken = other.received();
        let is_new = taken.iter().any(|sent| {
            let key = sent.header("authorization");
            sent.body.contains("jane@example.com") && key == Some("Bearer made-up-key")
        });
        is_new || {
            call += 1;
            assert_eq!(bridge.answers(OLD, call), 204);
            std::thread::park_timeout(Duration::from_millis(20));
            false
        }
    });
    until("all arrive", || {
        bridge.acquire.count() + other.count() == call as u64
    });

    // Unchanged, it still waits for the restart; reset to its old value, it does not.
    let log = bridge.reads(&changed, "was reloaded");
    assert!(log.contains("server.listen changed"), "{log}");
    let log = bridge.reads(FILE, "was reloaded");
    assert!(!log.contains("restart the bridge to apply it"), "{log}");
}

#[test]
fn the_token_of_operators_can_be_rotated_but_not_dropped() {
    let with = |token: &str| format!("{FILE}[admin]\ntoken = \"{token}\"\n");
    let mut bridge = Reloading::start(&with("one"));
    let ask = |bridge: &Reloading, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        ask_admin(bridge.serve.admin, "/metrics", &headers).status
    };
    assert_eq!((ask(&bridge, "one"), ask(&bridge, "two")), (200, 401));
    bridge.reads(&with("two"), "was reloaded");
    assert_eq!((ask(&bridge, "one"), ask(&bridge, "two")), (401, 200));
    let log = bridge.reads(FILE, "was reloaded");
    assert!(
        log.contains("admin.token changed; restart the bridge"),
        "{log}"
    );
    assert_eq!((ask(&bridge, ""), ask(&bridge, "two")), (401, 200));
}

#[test]
fn a_directory_file_that_is_newly_named_is_followed() {
    let mut bridge = Reloading::start(FILE);
    let csv = |email: &str| format!("address,email\n+12025550199,{email}\n");
    std::fs::write(bridge.file("directory.csv"), csv("first@example.com")).expect("a file");
    let named = format!("{FILE}[directory]\nfile = \"DIR/directory.csv\"\n");
    bridge.reads(&named, "was reloaded");
    let mut call = 0;
    for email in ["first@example.com", "second@example.com"] {
        write_to(&bridge.file("directory.csv"), &csv(email));
        until(email, || {
            bridge
                .acquire
                .received()
                .iter()
                .any(|sent| sent.body.contains(email))
                || {
                    call += 1;
                    assert_eq!(bridge.answers(OLD, call), 204);
                    std::thread::park_timeout(Duration::from_millis(100));
                    false
                }
        });
    }
}

fn write_to(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

#[test]
fn a_reload_stops_no_deliveries() {
    let delivery = |timeout: &str| {
        format!("{FILE}[delivery]\nconcurrency = 2\ntimeout = \"{timeout}\"\nlease = \"10m\"\n")
    };
    let mut bridge = Reloading::start(&delivery("2m"));
    // Longer than the test waits.
    let slow = answers_some_after(Duration::from_secs(90));
    bridge.acquire.behaves(slow);
    let form = status_form(&sid(1), "completed").replace("12025550123", SLOW);
    assert_eq!(bridge.answers_form(OLD, &form), 204);
    reached(&bridge.acquire, 1);
    for (number, timeout) in ["3m", "4m", "5m"].into_iter().enumerate() {
        bridge.reads(&delivery(timeout), "changed: delivery.timeout");
        assert_eq!(bridge.answers(OLD, 10 + number), 204);
        reached(&bridge.acquire, 2 + u64::try_from(number).expect("few"));
    }
    assert!(
        bridge.acquire.most_at_once() <= 2,
        "the slow request has its slot"
    );
}
