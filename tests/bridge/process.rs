//! The program itself: started, told to stop, killed, started again.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use twilio_acquire_bridge::sink::{Faults, Keep, Reply, Sink};

use crate::harness::{PUBLIC_URL, STATUS, TOKEN, sid, status_form};
use crate::http::exchange;
use twilio_acquire_bridge::twilio::signature::{Body, Key, fields, sign};

/// `serve` as a process of its own; killed when dropped.
struct Serve {
    child: Child,
    public: SocketAddr,
    log: BufReader<std::process::ChildStderr>,
}

impl Serve {
    fn start(database: &Path, acquire: &Sink) -> Self {
        let mut child = command_to_serve(database, &acquire.base_url())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut seen = String::new();
        let public = loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).expect("text") > 0,
                "it ended at once: {seen}"
            );
            if let Some((_, rest)) = line.split_once("serving Twilio on ") {
                break rest.split(',').next().and_then(|text| text.parse().ok());
            }
            seen.push_str(&line);
        };
        Self {
            child,
            public: public.expect("an address in the log"),
            log,
        }
    }

    fn takes(&self, call: usize) {
        let form = status_form(&sid(call), "completed");
        let url = format!("{PUBLIC_URL}{STATUS}");
        let signature = sign(
            &Key::auth_token(TOKEN),
            &url,
            Body::Form(&fields(form.as_bytes())),
        );
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Twilio-Signature", signature.as_str()),
        ];
        let answer = exchange(self.public, "POST", STATUS, &headers, form.as_bytes());
        assert_eq!(answer.status, 204);
    }

    fn signal(&self, name: &str) {
        let killed = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(killed.expect("kill runs").success());
    }

    /// The exit code and the rest of the log.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.log, &mut rest).expect("text");
        (self.child.wait().expect("an end").code(), rest)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command_to_serve(database: &Path, acquire: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
    command
        .arg("serve")
        .env_clear()
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .env("ACQUIRE_ACCOUNT_ID", "acme")
        .env("BRIDGE__SERVER__PUBLIC_URL", PUBLIC_URL)
        .env("BRIDGE__SERVER__LISTEN", "127.0.0.1:0")
        .env("BRIDGE__ADMIN__LISTEN", "127.0.0.1:0")
        .env(
            "BRIDGE__STORE__URL",
            format!("sqlite:{}", database.display()),
        )
        .env("BRIDGE__ACQUIRE__BASE_URL", acquire)
        .env(
            "BRIDGE__DELIVERY__SCHEDULE",
            "100ms 100ms 100ms 1s 1s 1s 1s 1s",
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn sink(faults: Faults) -> Sink {
    Sink::start(SocketAddr::from(([127, 0, 0, 1], 0)), faults, Keep::All).expect("a free port")
}

fn reached(sink: &Sink, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let reached =
        async { tokio::time::timeout(Duration::from_secs(20), sink.reached(count)).await };
    runtime.block_on(reached).expect("the requests arrive");
}

#[test]
fn calls_that_were_pending_at_a_kill_all_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults {
        otherwise: Reply::Status(503),
        ..Faults::default()
    });
    let first = Serve::start(&database, &acquire);
    for call in 0..50 {
        first.takes(call);
    }
    first.signal("-KILL");
    first.ends();

    acquire.behaves(Faults::default());
    let second = Serve::start(&database, &acquire);
    // What the first one sent in its last moment may still come in, and come twice.
    let saved: BTreeSet<String> = loop {
        let seen = acquire.count();
        let received = acquire.received();
        let taken = received
            .iter()
            .filter(|request| request.reply == Reply::Saved);
        let saved: BTreeSet<_> = taken
            .filter_map(|request| request.field("CallId"))
            .collect();
        if saved.len() >= 50 {
            break saved;
        }
        reached(&acquire, seen + 1);
    };
    assert_eq!(saved, (0..50).map(sid).collect());
    second.signal("-TERM");
    assert_eq!(second.ends().0, Some(0));
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_exits_with_0() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("bridge.db");
        let acquire = sink(Faults {
            delay: Duration::from_millis(300),
            ..Faults::default()
        });
        let serve = Serve::start(&database, &acquire);
        serve.takes(1);
        reached(&acquire, 1);
        serve.signal(signal);
        let (code, log) = serve.ends();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("nothing was left in flight"), "{log}");

        let next = Serve::start(&database, &acquire);
        next.takes(2);
        reached(&acquire, 2);
        assert_eq!(
            acquire.call_ids(),
            [sid(1), sid(2)],
            "the first call is not sent again"
        );
    }
}

#[test]
fn a_stop_begins_no_new_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults {
        delay: Duration::from_secs(2),
        ..Faults::default()
    });
    let serve = Serve::start(&database, &acquire);
    for call in 0..100 {
        serve.takes(call);
    }
    reached(&acquire, 32);
    serve.signal("-TERM");
    let (code, log) = serve.ends();
    assert_eq!(code, Some(0), "{log}");
    // The default of delivery.concurrency, and none of those that waited.
    assert_eq!(acquire.count(), 32);
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults {
        delay: Duration::from_secs(8),
        ..Faults::default()
    });
    let serve = Serve::start(&folder.path().join("bridge.db"), &acquire);
    serve.takes(1);
    reached(&acquire, 1);
    serve.signal("-TERM");
    let mut serve = serve;
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert!(
            serve.log.read_line(&mut line).expect("text") > 0,
            "it says that it is stopping"
        );
    }
    serve.signal("-TERM");
    let (code, log) = serve.ends();
    assert_eq!(code, Some(1));
    assert!(log.contains("ended at once by a second signal"), "{log}");
}

#[test]
fn a_second_bridge_on_the_same_file_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults::default());
    let _first = Serve::start(&database, &acquire);
    let second = command_to_serve(&database, &acquire.base_url())
        .output()
        .expect("the program runs");
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains("is in use by another bridge"), "{told}");
}

#[test]
fn a_port_in_use_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9")
        .env("BRIDGE__SERVER__LISTEN", &address)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    let expected = format!("error: cannot listen on {address} (server.listen): ");
    assert!(
        told.starts_with(&expected) && told.lines().count() == 1,
        "{told}"
    );
}

#[test]
fn a_file_that_is_no_database_is_told_and_left_alone() {
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
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("cannot be used as a database"), "{told}");
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
fn the_demonstration_delivers_and_ends() {
    let output = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .args(["demo", "--once"])
        .current_dir("/")
        .env_clear()
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("delivered: {\"From\":"), "{told}");
    assert!(told.contains("  skipped: "), "{told}");
    assert!(told.contains("  parked: "), "{told}");
    assert!(told.contains("  refused with 400: "), "{told}");
}

#[test]
fn a_call_can_be_listed_shown_and_requeued_beside_a_running_bridge() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = sink(Faults::default());
    let admin = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("an address").to_string()
    };
    let with_admin = |mut command: Command, arguments: &[&str]| {
        command.env("BRIDGE__ADMIN__LISTEN", &admin);
        let mut other = Command::new(command.get_program());
        other.args(arguments).env_clear();
        other.envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        other
    };
    let serve = {
        let mut command = with_admin(command_to_serve(&database, &acquire.base_url()), &["serve"]);
        command.stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("serving Twilio on ") {
            line.clear();
            assert!(log.read_line(&mut line).expect("text") > 0, "it serves");
        }
        let (_, rest) = line
            .split_once("serving Twilio on ")
            .expect("checked above");
        let public = rest.split(',').next().and_then(|text| text.parse().ok());
        Serve {
            child,
            public: public.expect("an address"),
            log,
        }
    };
    serve.takes(1);
    reached(&acquire, 1);
    let run = |arguments: &[&str]| {
        let command = command_to_serve(&database, &acquire.base_url());
        let output = with_admin(command, arguments)
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
    let (code, told, why) = run(&["requeue", &sid(1), &sid(9)]);
    assert_eq!(code, Some(3), "{why}");
    assert_eq!(told, format!("{}  requeued\n", sid(1)));
    assert_eq!(why, format!("{}  not in the store\n", sid(9)));
    reached(&acquire, 2);
    serve.signal("-TERM");
    assert_eq!(serve.ends().0, Some(0));
    let (code, told, why) = run(&["requeue", &sid(1)]);
    assert_eq!(
        (code, told),
        (Some(0), format!("{}  requeued\n", sid(1))),
        "{why}"
    );
    let (code, _, why) = run(&["show", &sid(9)]);
    assert!(code == Some(1) && why.contains("no callback of"), "{why}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
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
fn a_store_that_is_not_there_is_not_made_by_looking() {
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
