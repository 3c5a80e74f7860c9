//! Mistakes in options, files and permissions: what the commands print, and with which code they end.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::real::left_out;

const INBOUND: &str = "fixtures/twilio/inbound-completed.http";

/// A command with a store at this path.
fn bridge(store: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
    command
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env("TWILIO_AUTH_TOKEN", "0123456789abcdef0123456789abcdef")
        .env("ACQUIRE_ACCOUNT_ID", "acme")
        .env("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com")
        .env("BRIDGE__STORE__URL", format!("sqlite:{}", store.display()))
        .args(args);
    command
}

/// The exit code, and all that was printed.
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(printed).expect("text"),
    )
}

#[test]
fn each_wrong_option_is_named_in_plain_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("bridge.db");
    assert_eq!(outcome(&mut bridge(&store, &["migrate"])).0, Some(0));
    let http = ["replay", INBOUND, "--to", "http://127.0.0.1:9"];
    let replay = |more: [&'static str; 2]| [&http[..], &more[..]].concat();
    let reversed = "must not be after";
    let number = "give a whole number from 1 to 4294967295";
    for (args, code, expected) in [
        (vec!["report", "--since", "today"], 0, "total"),
        (
            vec!["report", "--since", "today", "--until", "yesterday"],
            2,
            reversed,
        ),
        (
            vec!["reconcile", "--since", "1h", "--until", "2h"],
            2,
            reversed,
        ),
        (vec!["reconcile", "--until", "2d"], 2, reversed),
        (vec!["list", "--since", "1h", "--until", "2h"], 2, reversed),
        (vec!["list", "--limit", "99999999999999999999"], 2, number),
        (replay(["--rate", "0"]), 2, number),
        (
            vec!["list", "--since", "soon"],
            2,
            "'--since <TIME>': a time is today",
        ),
        (
            replay(["--ca-file", "/nonexistent"]),
            1,
            "--ca-file /nonexistent: cannot be read",
        ),
        (
            vec!["replay", "none.http", "--dry-run"],
            1,
            "error: none.http: cannot be read",
        ),
    ] {
        let (ended, printed) = outcome(&mut bridge(&store, &args));
        assert_eq!(ended, Some(code), "{args:?}: {printed}");
        assert!(printed.contains(expected), "{args:?}: {printed}");
    }
}

#[test]
fn a_path_that_is_no_store_is_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("empty.db"), "").expect("a file");
    assert_eq!(
        outcome(&mut bridge(&path("cut.db"), &["migrate"])).0,
        Some(0)
    );
    let cut = std::fs::OpenOptions::new().write(true).open(path("cut.db"));
    cut.and_then(|file| file.set_len(5_000)).expect("cut");
    for (store, args, expected) in [
        (
            path("none.db"),
            &["list"][..],
            "(store.url). serve creates it",
        ),
        (path("empty.db"), &["list"], "it is empty; `serve` or"),
        ("/dev/null".into(), &["list"], "a folder or a device"),
        (folder.path().into(), &["list"], "a folder or a device"),
        (folder.path().into(), &["migrate"], "a folder or a device"),
        (path("cut.db"), &["check", "--store"], "latest `backup`"),
    ] {
        let (code, printed) = outcome(&mut bridge(&store, args));
        assert_eq!(code, Some(1), "{args:?}: {printed}");
        assert!(printed.contains(expected), "{args:?}: {printed}");
        assert!(!printed.contains("check --store"), "{printed}");
    }
}

#[test]
fn a_store_that_this_user_may_not_enter_is_not_called_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("ours");
    let state = folder.path().join("state");
    std::fs::create_dir(&state).expect("a folder");
    let store = state.join("bridge.db");
    assert_eq!(outcome(&mut bridge(&store, &["migrate"])).0, Some(0));
    std::fs::write(state.join("bridge.toml"), "").expect("a file");
    // Root may enter every folder.
    let is_root = std::fs::metadata(&folder).expect("a folder").uid() == 0;
    let mode = if is_root { 0o700 } else { 0o000 };
    std::fs::set_permissions(&state, PermissionsExt::from_mode(mode)).expect("ours");
    let copy = folder.path().join("copy.db").display().to_string();
    symlink(state.join("bridge.toml"), folder.path().join("bridge.toml")).expect("a link");
    let as_user = |args: &[&str]| {
        let mut command = bridge(&store, args);
        command.current_dir(&folder);
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        command
    };
    let denied = |why: std::io::Error| why.kind() == ErrorKind::PermissionDenied;
    if as_user(&["--version"]).output().is_err_and(denied) {
        return left_out("permissions: another user may not run the program from here");
    }
    let sid = "CA00000000000000000000000000000001";
    for (args, code) in [
        (&["list"][..], 1),
        (&["show", sid], 1),
        (&["requeue", sid], 1),
        (&["backup", &copy], 1),
        (&["doctor", "--offline"], 1),
        // An empty name is that of the first file that exists.
        (&["check", "--config", ""], 2),
    ] {
        let (ended, printed) = outcome(&mut as_user(args));
        assert_eq!(ended, Some(code), "{args:?}: {printed}");
        let words = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["ermission denied", "as root or as the user of the bridge"] {
            assert!(words.contains(part), "{args:?}: {words}");
        }
        assert!(!words.contains("creates it"), "{args:?}: {words}");
    }
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).expect("ours");
}

#[test]
fn a_link_back_to_its_folder_is_not_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(INBOUND, folder.path().join("one.http")).expect("a file");
    symlink(folder.path(), folder.path().join("loop")).expect("a link");
    let mut replay = bridge(Path::new("none.db"), &["replay", "--dry-run"]);
    let (code, printed) = outcome(replay.arg(folder.path()));
    assert_eq!((code, printed.lines().count()), (Some(0), 1), "{printed}");
}
