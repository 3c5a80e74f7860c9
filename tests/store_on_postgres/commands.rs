//! Commands on a database of PostgreSQL, whose password they never show.

use assert_cmd::Command;

use crate::postgres::{DATABASE, url_of};
use crate::support::store_suite::place::Place;

/// Runs a command on the database of `place`, and returns its exit code and all that it said.
fn run(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store-url");
    let url = url_of(place).replace("postgres@", "postgres:planted@");
    std::fs::write(&file, url + "\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .env_clear()
        .env("BRIDGE__STORE__URL_FILE", &file)
        .args(arguments)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("planted"), "{told}");
    (output.status.code(), told.into_owned())
}

#[test]
fn migrate_makes_an_empty_database_usable_and_a_second_time_does_nothing() {
    let place = Place::new(DATABASE);
    for (arguments, code, says) in [
        (
            &["list"][..],
            Some(1),
            "has not yet brought it to this version",
        ),
        (&["migrate"], Some(0), "with version "),
        (&["migrate"], Some(0), "already; nothing was done"),
        (&["list"], Some(0), ""),
    ] {
        let (ended, told) = run(&place, arguments);
        assert!(
            ended == code && told.contains(says),
            "{arguments:?} {ended:?}: {told}"
        );
    }
}
