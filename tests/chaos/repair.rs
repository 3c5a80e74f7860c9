//! Damage of a store is reported, the backup of a running bridge is complete, and it can be restored.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::disks::Acquire;
use crate::kills::comes_to_rest;
use crate::pause;
use crate::support::ledger::Ledger;
use crate::support::process::{self, Addresses, PROGRAM, Serve};
use crate::support::sender::{Call, ask, send};

fn run(database: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    process::configure(&mut command, database, "http://127.0.0.1:9");
    command.stdout(std::process::Stdio::piped());
    command.output().expect("the program runs")
}

/// Exit code and stderr of `check --store`.
fn check(database: &Path) -> (Option<i32>, String) {
    let output = run(database, &["check", "--store"]);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), printed)
}

/// A store with calls that were delivered, and `more` that Acquire did not accept.
fn stored(folder: &Path, more: u64) -> std::path::PathBuf {
    let database = folder.join("bridge.db");
    let acquire = Acquire::start();
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    takes(serve.addresses(), &acquire.ledger, 0..20);
    comes_to_rest(&database);
    serve.stop();
    acquire.settles(&database);
    if more > 0 {
        let mut serve = Serve::spawn(process::serve(&database, "http://127.0.0.1:9"));
        takes(serve.addresses(), &Ledger::default(), 100..100 + more);
        serve.stop();
    }
    database
}

fn takes(bridge: Addresses, ledger: &Ledger, calls: std::ops::Range<u64>) {
    for number in calls {
        let call = Call::new(3, number);
        ledger.sends(&call);
        let status = send(bridge.public, &call).expect("an answer");
        assert_eq!(status, 204);
        ledger.answered(&call, status);
    }
}

#[test]
fn each_kind_of_damage_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let sound = stored(folder.path(), 3);
    assert_eq!(check(&sound).0, Some(0), "{:?}", check(&sound));
    for (sql, problem) in [
        ("DELETE FROM call WHERE id = 1", "20 calls were seen"),
        (
            "UPDATE counters SET seen = seen + 1",
            "24 calls were seen, but 23 are there",
        ),
        (
            "UPDATE counters SET purged = purged + 1",
            "and 1 were purged",
        ),
        (
            "DELETE FROM call WHERE id = 1",
            "1 callbacks belong to no call",
        ),
        (
            "DELETE FROM attempt WHERE id >> 20 = 1",
            "1 delivered calls have no accepted attempt",
        ),
        (
            "UPDATE attempt SET verdict = 'again' WHERE id >> 20 = 2",
            "have no accepted attempt",
        ),
    ] {
        let database = folder.path().join("damaged.db");
        let copied = run(&sound, &["backup", database.to_str().expect("text")]);
        assert!(copied.status.success(), "{copied:?}");
        let connection = Connection::open(&database).expect("a database");
        assert!(connection.execute(sql, []).expect("damaged") > 0);
        drop(connection);
        let (code, words) = check(&database);
        let problem = problem.replace("20 calls were seen", "23 calls were seen");
        assert!(
            code == Some(1) && words.contains(&problem),
            "{sql}: {words}"
        );
        assert!(words.contains("latest `backup`"), "{words}");
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", database.display()));
        }
    }
}

#[test]
fn damaged_pages_are_reported_and_the_bridge_does_not_start_on_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("damaged.db");
    let copied = run(
        &stored(folder.path(), 3),
        &["backup", database.to_str().expect("text")],
    );
    assert!(copied.status.success(), "{copied:?}");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&database)
        .expect("a file");
    let pages = file.metadata().expect("its size").len() / 4096;
    for page in 2..pages {
        file.write_all_at(&[0x5a; 512], page * 4096)
            .expect("damaged");
    }
    let (code, words) = check(&database);
    assert_eq!(code, Some(1), "{words}");
    assert!(
        words.contains("damaged: ") || words.contains("malformed"),
        "{words}"
    );
    let before = std::fs::read(&database).expect("a file");
    let output = run(&database, &["serve"]);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("is damaged: ") && printed.contains("latest `backup`"),
        "{printed}"
    );
    let after = std::fs::read(&database).expect("a file");
    // The header's first 100 bytes decide how the file is opened.
    assert!(before[100..] == after[100..], "it is left as it was");
}

#[test]
fn a_page_that_is_found_damaged_while_running_delays_no_other_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = stored(folder.path(), 300);
    let damaged = Call::new(3, 250);
    let page = page_with(&database, &format!("CallSid={}", damaged.sid));
    Damage::Overwrite(page).befalls(&database);

    let acquire = Acquire::start();
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    let bridge = serve.addresses();
    takes(bridge, &acquire.ledger, 900..950);
    // All but those that share the page.
    let until = Instant::now() + Duration::from_secs(60);
    while acquire.sink.count() < 350 - SHARE_A_PAGE {
        assert!(Instant::now() < until, "the others wait behind it");
        pause(Duration::from_millis(20));
    }
    let timeline = ask(bridge.admin, &format!("/api/calls/{}", damaged.sid));
    assert_eq!(timeline.expect("an answer").0, 503);
    let kept = send(bridge.public, &damaged).expect("an answer");
    assert_eq!(kept, 503, "it cannot be kept with its call");
    takes(bridge, &acquire.ledger, 950..960);
    serve.stop();
    let log = serve.log().join("\n");
    let passed_over = log.matches("is passed over").count() as u64;
    assert!((1..=SHARE_A_PAGE).contains(&passed_over), "{log}");
    let (code, words) = check(&database);
    assert!(code == Some(1) && words.contains("damaged"), "{words}");
}

/// More than do: a page has 4 KiB, and a callback more than 256 bytes.
const SHARE_A_PAGE: u64 = 16;

/// The position of the page that has this text.
fn page_with(database: &Path, text: &str) -> u64 {
    let bytes = std::fs::read(database).expect("a file");
    let at = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes());
    at.expect("it is kept there") as u64 / 4096 * 4096
}

/// One way in which a disk or a person may spoil a store.
enum Damage {
    Overwrite(u64),
    Cut(u64),
    Remove,
    RemoveLog,
}

impl Damage {
    fn befalls(&self, database: &Path) {
        let open = || {
            let file = std::fs::OpenOptions::new().write(true).open(database);
            file.expect("a file")
        };
        match self {
            Self::Overwrite(at) => open().write_all_at(&[0x5a; 512], *at).expect("damaged"),
            Self::Cut(length) => open().set_len(*length).expect("damaged"),
            Self::Remove => std::fs::remove_file(database).expect("removed"),
            Self::RemoveLog => std::fs::remove_file(beside(database, "-wal")).expect("removed"),
        }
    }
}

fn beside(database: &Path, end: &str) -> std::path::PathBuf {
    format!("{}{end}", database.display()).into()
}

/// Copies all that belongs to a store, and returns where the copy is.
fn copied(database: &Path, to: &Path) -> std::path::PathBuf {
    let copy = to.join("copy.db");
    for end in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(beside(&copy, end));
        // Not all of them are there after each kind of end.
        let _ = std::fs::copy(beside(database, end), beside(&copy, end));
    }
    copy
}

#[test]
fn a_damaged_store_is_never_replaced_by_an_empty_one_in_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let stopped = stored(folder.path(), 3);
    assert!(
        !beside(&stopped, "-wal").exists(),
        "a bridge that has stopped leaves one file"
    );
    let (damaged, gone) = ("is damaged: ", "is missing or empty");
    for (damage, message) in [
        (Damage::Overwrite(0), damaged),
        (Damage::Cut(5 * 4096), damaged),
        (Damage::Cut(100), damaged),
        (Damage::Cut(0), gone),
        (Damage::Remove, gone),
    ] {
        is_refused(&copied(&stopped, folder.path()), &damage, message);
    }

    let killed = stopped;
    let mut serve = Serve::spawn(process::serve(&killed, "http://127.0.0.1:9"));
    takes(serve.addresses(), &Ledger::default(), 200..210);
    serve.kill();
    for damage in [Damage::Cut(0), Damage::Remove] {
        let copy = copied(&killed, folder.path());
        let log = std::fs::read(beside(&copy, "-wal")).expect("a log");
        is_refused(&copy, &damage, gone);
        assert!(log == std::fs::read(beside(&copy, "-wal")).expect("a log"));
        std::fs::remove_file(beside(&copy, ".lock")).expect("removed");
        is_refused(&copy, &Damage::Cut(0), "-wal shows that it had calls");
    }

    let copy = copied(&killed, folder.path());
    Damage::RemoveLog.befalls(&copy);
    let mut command = process::serve(&copy, "http://127.0.0.1:9");
    command.env("BRIDGE__LOG__LEVEL", "info");
    let mut serve = Serve::spawn(command);
    serve.addresses();
    assert!(serve.stop().success());
    let log = serve.log().join("\n");
    assert!(
        log.contains("-wal is missing though the last bridge"),
        "{log}"
    );
}

fn is_refused(database: &Path, damage: &Damage, message: &str) {
    if database.exists() {
        damage.befalls(database);
    }
    let output = run(database, &["serve"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains(message), "{message}: {words}");
    assert!(words.contains("latest `backup`"), "{words}");
}

#[test]
fn a_backup_of_a_running_bridge_is_restored_and_sends_every_call_that_was_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let acquire = Acquire::start();
    let mut serve = Serve::spawn(process::serve(&database, "http://127.0.0.1:9"));
    let bridge = serve.addresses();
    takes(bridge, &acquire.ledger, 0..200);
    let backup = folder.path().join("backup.db");
    let name = backup.to_str().expect("text");
    let output = run(&database, &["backup", name]);
    assert!(output.status.success(), "{output:?}");
    let again = run(&database, &["backup", name]);
    assert_eq!(again.status.code(), Some(1), "it overwrites nothing");
    takes(bridge, &Ledger::default(), 900..910);
    serve.kill();
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{end}", database.display())).expect("the disk is gone");
    }

    std::fs::rename(&backup, &database).expect("restored");
    assert_eq!(check(&database).0, Some(0));
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    takes(serve.addresses(), &acquire.ledger, 200..201);
    comes_to_rest(&database);
    assert!(serve.stop().success());
    acquire.settles(&database);
}
