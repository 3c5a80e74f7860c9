//! `doctor` and `callback-url` at the command line.

mod problems;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::config::StoreUrl;
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use twilio_acquire_bridge::store::{self, NewCallback, SignedRequest, Store};
use twilio_acquire_bridge::twilio::callback;

fn bridge(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("twilio-acquire-bridge").expect("the binary is built");
    command
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .args(args);
    command
}

/// Output, errors and exit code of a command.
fn output_of(command: &mut Command) -> (String, String, i32) {
    let output = command.output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    let code = output.status.code().expect("it ends by itself");
    (text(output.stdout), text(output.stderr), code)
}

fn acquire() -> FakeAcquire {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    FakeAcquire::start(listen, Faults::default(), Retain::All).expect("a free port")
}

fn doctor(folder: &Path, acquire: &str, args: &[&str]) -> Command {
    let mut command = bridge(&["doctor"]);
    let database = folder.join("bridge.db");
    command
        .args(args)
        .env("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef")
        .env("ACQUIRE_ACCOUNT_ID", "acme")
        .env("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com")
        .env("BRIDGE__ACQUIRE__BASE_URL", acquire)
        // For its Date.
        .env("BRIDGE__TWILIO__API_URL", acquire)
        .env(
            "BRIDGE__STORE__URL",
            format!("sqlite:{}", database.display()),
        );
    command
}

/// The sentences of all problems but those of the disk: a test machine may have a slow one.
fn problems(command: &mut Command) -> (Vec<String>, i32) {
    let (out, err, code) = output_of(command.arg("--json"));
    assert_eq!(err, "");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let notes = report["notes"].as_array().expect("notes");
    let bad = notes
        .iter()
        .filter(|note| note["ok"] == false && note["about"] != "disk");
    let sentence =
        |note: &serde_json::Value| note["sentence"].as_str().unwrap_or_default().to_owned();
    (bad.map(sentence).collect(), code)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of ours");
}

#[test]
fn the_doctor_finds_no_problem_in_a_good_setup_and_posts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = acquire();
    let (found, _) = problems(&mut doctor(folder.path(), &acquire.base_url(), &[]));
    assert_eq!(found, [""; 0]);
    let (out, _, _) = output_of(&mut doctor(folder.path(), &acquire.base_url(), &[]));
    for about in [
        "configuration",
        "public url",
        "store",
        "disk",
        "files",
        "acquire",
        "clock",
        "dns",
    ] {
        assert!(
            out.contains(&format!("  {about:<13} ")),
            "{about} in:\n{out}"
        );
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    // The fake Acquire retains every POST.
    assert_eq!(acquire.received().len(), 0, "nothing is posted");
    assert!(out.contains("the clock agrees with that of"), "{out}");
    assert!(
        !folder.path().join("bridge.db").exists(),
        "it creates no store"
    );
}

/// A spool in `folder` with one callback of each of these calls.
fn spool(folder: &Path, sids: &[&str]) -> PathBuf {
    let path = folder.join("spool.db");
    let store = store::open(&StoreUrl::Sqlite(path.clone())).expect("a spool");
    let all = async {
        for sid in sids {
            record(&*store, sid, Millis(1_790_000_000_000)).await;
        }
    };
    actix_web::rt::System::new().block_on(all);
    path
}

/// Records the end of a call.
async fn record(store: &dyn Store, sid: &str, now: Millis) {
    let url = "https://bridge.example.com/twilio/voice/status".to_owned();
    let body = format!(
        "CallSid={sid}&AccountSid=AC00000000000000000000000000000001&CallStatus=completed\
         &From=%2B12025550123&To=%2B12025550199&Direction=inbound"
    );
    let read = callback::read(body.as_bytes(), &url).expect("a callback");
    let request = SignedRequest {
        url,
        headers: String::new(),
        body: body.into(),
    };
    let recorded = store.record(NewCallback::of(read, request), now).await;
    recorded.expect("recorded");
}

#[test]
fn while_the_database_is_down_list_show_and_doctor_read_the_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = acquire();
    let sid = "CA00000000000000000000000000000001";
    let spool = spool(folder.path(), &[sid, "CA00000000000000000000000000000002"]);
    set_mode(&spool, 0o600);
    let without_database = |command: &mut Command| {
        // No server listens on this port.
        let (out, err, code) = output_of(
            command
                .env("BRIDGE__STORE__URL", "postgres://bridge@127.0.0.1:1/bridge")
                .env("BRIDGE__STORE__SPOOL", &spool),
        );
        (out + &err, code)
    };
    let waiting = "holds 2 calls for the database since 2026-09-21T14:13:20.000Z";
    let (printed, code) = without_database(&mut bridge(&["list"]));
    assert!(code == 1 && printed.contains(waiting), "{printed}");
    let (printed, code) = without_database(&mut bridge(&["show", sid]));
    assert!(code == 0 && printed.contains("in the spool"), "{printed}");
    let unknown = "CA00000000000000000000000000000003";
    let (printed, code) = without_database(&mut bridge(&["show", unknown]));
    assert!(code == 1 && printed.contains(waiting), "{printed}");
    let mut doctor = doctor(folder.path(), &acquire.base_url(), &["--json"]);
    let (printed, code) = without_database(&mut doctor);
    let found: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let about = |about: &str| {
        let notes = found["notes"].as_array().expect("notes");
        let mut notes = notes.iter().filter(|note| note["about"] == about);
        notes.next().cloned().unwrap_or_default()
    };
    assert!(code == 1 && about("spool")["ok"] == false, "{printed}");
    let sentence = about("spool")["sentence"].to_string();
    assert!(sentence.contains(waiting), "{printed}");
    let disk = about("disk")["sentence"].to_string();
    assert!(disk.contains("spool.db"), "the spool's disk: {printed}");
}

#[test]
fn a_missing_store_is_an_error_that_names_the_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut list = bridge(&["list"]);
    let (out, err, code) = output_of(list.current_dir(&folder));
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(
        err.starts_with("error: no store at bridge.db (store.url)"),
        "{err}"
    );
}

#[test]
fn the_doctor_reports_every_mistake_of_the_configuration() {
    let (found, code) = problems(&mut bridge(&["doctor"]));
    assert_eq!(code, 1);
    for word in [
        "TWILIO_AUTH_TOKEN",
        "ACQUIRE_ACCOUNT_ID",
        "server.public_url",
    ] {
        assert!(
            found.iter().any(|sentence| sentence.contains(word)),
            "{word}: {found:?}"
        );
    }
}

#[test]
fn the_doctor_finds_what_keeps_calls_from_arriving() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = acquire();
    let secret = folder.path().join("key");
    std::fs::write(&secret, "made-up-secret\n").expect("a file");
    set_mode(&secret, 0o644);
    let name = |key: &'static str, value: String| {
        let mut command = doctor(folder.path(), &acquire.base_url(), &[]);
        command.env(key, value);
        command
    };
    let cases = [
        (
            "BRIDGE__ACQUIRE__API_KEY_FILE",
            secret.display().to_string(),
            "chmod 600",
        ),
        (
            "BRIDGE__SERVER__PUBLIC_URL",
            "http://bridge.local".to_owned(),
            "is not public",
        ),
        (
            "BRIDGE__ACQUIRE__BASE_URL",
            "http://127.0.0.1:9".to_owned(),
            "cannot be reached",
        ),
        (
            "BRIDGE__ACQUIRE__BASE_URL",
            "https://acme.invalid".to_owned(),
            "cannot resolve",
        ),
    ];
    for (key, value, words) in cases {
        let (found, code) = problems(&mut name(key, value));
        assert_eq!(code, 1, "{words}");
        assert!(
            found.iter().any(|sentence| sentence.contains(words)),
            "{words}: {found:?}"
        );
        assert!(
            found.iter().all(|sentence| !sentence.contains("made-up")),
            "{found:?}"
        );
    }
    set_mode(&secret, 0o600);
    let closed = secret.display().to_string();
    let (found, _) = problems(&mut name("BRIDGE__ACQUIRE__API_KEY_FILE", closed));
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_doctor_finds_an_open_configuration_a_damaged_store_and_a_missing_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    set_mode(folder.path(), 0o755);
    let config = folder.path().join("bridge.toml");
    std::fs::write(&config, "[acquire]\napi_key = \"made-up-secret\"\n").expect("a file");
    set_mode(&config, 0o644);
    let path = config.to_str().expect("UTF-8");
    let acquire = acquire();
    let check = |folder: &Path, args: &[&str]| {
        problems(&mut doctor(folder, &acquire.base_url(), args))
            .0
            .join("\n")
    };
    let found = check(folder.path(), &["--offline", "--config", path]);
    assert!(
        found.contains("bridge.toml contains a secret (acquire.api_key)"),
        "{found}"
    );

    std::fs::write(folder.path().join("bridge.db"), "no database").expect("a file");
    set_mode(&folder.path().join("bridge.db"), 0o644);
    let found = check(folder.path(), &["--offline"]);
    assert!(
        found.contains("(store.url)") && found.contains("numbers and names"),
        "{found}"
    );

    let absent = folder.path().join("absent");
    let (out, _, code) = output_of(&mut doctor(&absent, &acquire.base_url(), &["--offline"]));
    assert_eq!(code, 1);
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("cannot write to the folder"), "{out}");
}

#[test]
fn callback_url_prints_what_to_enter_at_twilio() {
    let (out, err, code) = output_of(bridge(&["callback-url"]).env(
        "BRIDGE__SERVER__PUBLIC_URL",
        "https://bridge.example.com/calls",
    ));
    assert_eq!((err.as_str(), code), ("", 0));
    insta::assert_snapshot!(out, @r"
    StatusCallback, method POST:
      https://bridge.example.com/calls/twilio/voice/status#rc=5&rp=all

    RecordingStatusCallback, method POST:
      https://bridge.example.com/calls/twilio/voice/recording#rc=5&rp=all

    Without #rc=5&rp=all Twilio retries once, and only if it could not connect: a
    5xx or a slow response loses the callback. With it Twilio sends a failing
    callback up to six times, all within 15 seconds; the bridge records it once. A
    try that hangs can use all 15 seconds: on a slow network add &ct=2000&rt=5000,
    the limits in milliseconds for connecting and for the response. The fragment is
    neither sent nor signed, so do not add it to server.public_url.
    ");
    let (out, err, code) = output_of(&mut bridge(&["callback-url"]));
    assert_eq!((out.as_str(), code), ("", 2));
    assert!(err.contains("server.public_url is not set"), "{err}");
}

#[test]
fn callback_url_checks_the_url_that_is_entered_at_twilio() {
    let check = |args: &[&str]| {
        output_of(
            bridge(&["callback-url"])
                .env("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com")
                .args(args),
        )
    };
    let good = "https://bridge.example.com/twilio/voice/status#rc=5&rp=all";
    assert_eq!(
        check(&[good]),
        (format!("{good}\n  good\n"), String::new(), 0)
    );
    let (out, _, code) = check(&["http://bridge.example.com/twilio/voice/status?zone=1&email=a@b"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(out, @r#"
    http://bridge.example.com/twilio/voice/status?zone=1&email=a@b
      wrong  server.public_url is "https://bridge.example.com", so signatures for
             this URL are invalid; enter another URL or set server.public_url =
             "http://bridge.example.com"
      wrong  its query has the key "zone"; the bridge accepts only email, and
             answers 400
      wrong  its query keys are not in alphabetical order: Twilio signs them as
             entered and may send them sorted; sort them
      wrong  its query has an @, which Twilio signs as entered and sends as %40;
             write %40
      risky  callbacks are sent unencrypted: others can read phone numbers and
             repeat callbacks; use https
      risky  it does not ask Twilio to retry after a 5xx or a slow response, so
             these lose the callback; append #rc=5&rp=all
    "#);
    let (out, _, code) = check(&["--json", "https://bridge.example.com/other"]);
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, 1);
    assert_eq!(report["checked"][0]["problems"][0]["about"], "path");
    assert_eq!(report["to_enter"][0]["url"], good);
}
