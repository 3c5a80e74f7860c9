//! No callback is answered 204 before a sync of its row has come back, as the kernel sees it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::left_out;
use crate::support::process::{self, PROGRAM, Serve};
use crate::support::sender::Call;
use crate::trace::{self, Findings};

const CONNECTIONS: u64 = 16;
const CALLBACKS: u64 = 200;

/// Syncs are answered without being done, which is what `synchronous = OFF` comes to.
pub const PRETENDED: &str = "inject=fsync,fdatasync:retval=0";

#[test]
fn no_answer_precedes_its_sync() {
    if !has_strace() {
        return;
    }
    let found = under_strace(&[], CALLBACKS);
    println!(
        "{} answers, {} syncs of the log",
        found.answers, found.syncs
    );
    assert_eq!(found.too_early, Vec::<String>::new());
    assert_eq!(found.answers, sent(CALLBACKS));
}

#[test]
fn without_syncs_every_answer_is_found_too_early() {
    if !has_strace() {
        return;
    }
    let callbacks = CALLBACKS / 4;
    let found = under_strace(&["-e", PRETENDED], callbacks);
    println!(
        "{} answers, {} of them too early",
        found.answers,
        found.too_early.len()
    );
    assert_eq!(found.syncs, 0);
    assert_eq!(
        (found.answers, found.too_early.len()),
        (sent(callbacks), sent(callbacks))
    );
}

/// What each connection sends, together.
fn sent(callbacks: u64) -> usize {
    usize::try_from(CONNECTIONS * callbacks).expect("small")
}

/// Whether `strace` works here; if not, says so past the capture of the tests' output.
pub fn has_strace() -> bool {
    let works = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        left_out("strace is absent or may not trace; on Debian: apt-get install strace");
    }
    works
}

/// `strace` with these options around `serve`, which stays the child that is killed.
pub fn strace(options: &[&str], database: &Path, acquire: &str) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.args(["strace", "-D", "-f"]).args(options);
    command.args([PROGRAM, "serve"]);
    process::configure(&mut command, database, acquire);
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

/// What the trace of a run with these further options shows.
fn under_strace(further: &[&str], callbacks: u64) -> Findings {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace");
    let name = file.to_str().expect("text");
    // Wide enough for a page of the database, with the rows.
    let calls = format!("trace={}", trace::CALLS);
    let seen = [
        "--seccomp-bpf",
        "-y",
        "-s",
        "4200",
        "-o",
        name,
        "-e",
        &calls,
    ];
    let options = [&seen, further].concat();
    // Acquire is down: the test watches the public listener.
    let mut command = strace(
        &options,
        &folder.path().join("bridge.db"),
        "http://127.0.0.1:9",
    );
    command.env("BRIDGE__DELIVERY__SCHEDULE", "1h");
    let mut serve = Serve::spawn(command);
    let public = serve.addresses().public;
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| thread::spawn(move || sends_in_turn(public, connection, callbacks)))
        .collect();
    for sender in senders {
        sender.join().expect("all are answered");
    }
    serve.stop();
    // Ends with `strace`, which holds the log open.
    serve.log();
    let trace = std::fs::read(&file).expect("a trace");
    trace::check(&String::from_utf8_lossy(&trace))
}

/// One after the other on a kept connection.
pub fn sends_in_turn(bridge: SocketAddr, connection: u64, callbacks: u64) {
    let mut stream = TcpStream::connect(bridge).expect("it listens");
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).expect("a socket");
    for number in 0..callbacks {
        let call = Call::new(7, connection * callbacks + number);
        stream.write_all(&call.request("keep-alive")).expect("sent");
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }
}
