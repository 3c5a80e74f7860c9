//! `doctor` beside a running bridge.

use std::process::Command;

use serde_json::Value;
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::https::Pair;
use crate::support::harness::{Bridge, until};
use crate::support::http::exchange;
use crate::support::serve::{Serve, command_to_serve, reached, sink};
use crate::support::twilio::{STATUS, sid, status_form};

/// The problems that `doctor` reports, each `ABOUT SENTENCE`, but those of the disk: a test machine may have
/// a slow one.
fn problems(bridge: &Bridge, args: &[&str]) -> Vec<String> {
    let run = bridge.runs(&[&["doctor", "--json"], args].concat());
    let report: Value = serde_json::from_str(&run.out).expect("JSON");
    let notes = report["notes"].as_array().expect("notes").iter();
    let bad = notes.filter(|note| note["ok"] == false);
    let text = |note: &Value, key| note[key].as_str().expect("text").to_owned();
    let all: Vec<_> = bad
        .map(|note| format!("{} {}", text(note, "about"), text(note, "sentence")))
        .collect();
    assert_eq!(run.code, Some(i32::from(!all.is_empty())), "{all:?}");
    all.into_iter()
        .filter(|sentence| !sentence.starts_with("disk "))
        .collect()
}

#[test]
fn there_is_no_problem_beside_a_bridge_that_delivers() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults::default());
    // A clock that a test turns would be a problem.
    let serve = Serve::start(&folder.path().join("bridge.db"), &acquire);
    serve.accepts(1);
    reached(&acquire, 1);
    let settings = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
    doctor
        .arg("doctor")
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null");
    let settings = settings.get_envs();
    doctor.envs(settings.filter_map(|(key, value)| Some((key, value?))));
    doctor
        .env("BRIDGE__ADMIN__LISTEN", serve.admin.to_string())
        .env("BRIDGE__TWILIO__API_URL", acquire.base_url());
    let output = doctor.output().expect("the program runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    let is_problem = |line: &&str| line.starts_with("PROBLEM") && !line.contains(" disk ");
    assert_eq!(printed.lines().find(is_problem), None, "{printed}");
    assert!(printed.contains("is ready"), "{printed}");
}

#[test]
fn a_paused_account_a_parked_call_and_a_refused_request_are_reported_at_once() {
    let bridge = Bridge::start();
    // A request that was refused long ago is no problem.
    let behind = Clock::system().now().since(bridge.clock.now());
    bridge.clock.advance(behind);
    bridge.acquire.answers([Reply::Status(422)]);
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.settles();
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(401),
        ..Faults::default()
    });
    assert_eq!(bridge.twilio.ends(&sid(2), "completed").status, 204);
    until("the breaker opens", || {
        bridge.metric("bridge_breaker_open{account=\"acme\"} ") == Some(1.0)
    });
    bridge.settles();
    let form = status_form(&sid(3), "completed");
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", "bm8="),
    ];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    until("the request is kept", || {
        let kept = bridge.admin("GET", "/api/refused", &[]).json();
        kept["causes"].as_array().is_some_and(|all| !all.is_empty())
    });
    let found = problems(&bridge, &["--offline"]);
    for words in [
        [
            "breaker",
            "account acme are paused since",
            "401",
            "acquire.api_key",
        ],
        [
            "parked",
            "1 call parked: Acquire refused it with 422",
            "show",
            "requeue",
        ],
        [
            "refused",
            "1 request refused with cause",
            "show 1",
            "export --refused 1",
        ],
    ] {
        let is_it = |sentence: &&String| words.iter().all(|word| sentence.contains(word));
        assert!(
            found.iter().any(|sentence| is_it(&sentence)),
            "{words:?} in {found:#?}"
        );
    }
    bridge.acquire.behaves(Faults::default());
}

#[test]
fn a_bridge_that_does_not_answer_with_this_configuration_is_reported() {
    let bridge = Bridge::with(&[("BRIDGE__ADMIN__TOKEN", "the-token-of-this-bridge")]);
    let run = |key: &str, value: &str| {
        let mut command = bridge.command(&["doctor", "--offline"]);
        let output = command.env(key, value).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1));
        let printed = String::from_utf8(output.stdout).expect("text");
        printed.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let printed = run("BRIDGE__ADMIN__TOKEN", "the-token-of-another-one");
    assert!(
        printed.contains("does not answer GET /api/status; check"),
        "{printed}"
    );
    let printed = run("BRIDGE__ADMIN__LISTEN", "127.0.0.1:1");
    assert!(
        printed.contains("a bridge runs on the store, but no bridge answers"),
        "{printed}"
    );
}

#[test]
fn the_certificate_that_the_bridge_serves_is_compared_with_the_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    Pair::new().write(folder.path());
    let bridge = Bridge::with(&[
        ("BRIDGE__SERVER__TLS_CERT_FILE", &cert),
        ("BRIDGE__SERVER__TLS_KEY_FILE", &key),
    ]);
    let run = |cert: &str, key: &str| {
        let mut command = bridge.command(&["doctor", "--offline"]);
        command
            .env("BRIDGE__SERVER__LISTEN", bridge.public().to_string())
            .env("BRIDGE__SERVER__TLS_CERT_FILE", cert)
            .env("BRIDGE__SERVER__TLS_KEY_FILE", key);
        let output = command.output();
        let printed = String::from_utf8(output.expect("it runs").stdout).expect("text");
        printed.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let printed = run(&cert, &key);
    assert!(printed.contains("self-signed"), "{printed}");
    assert!(!printed.contains("another certificate"), "{printed}");
    let expiry = bridge.metric("bridge_certificate_expiry_timestamp_seconds ");
    assert!(expiry.is_some_and(|at| at > 1e9), "{expiry:?}");
    let other = tempfile::tempdir().expect("a folder");
    Pair::new().write(other.path());
    let path = |name: &str| other.path().join(name).display().to_string();
    let printed = run(&path("cert.pem"), &path("key.pem"));
    assert!(
        printed.contains("serves another certificate than"),
        "{printed}"
    );
}
