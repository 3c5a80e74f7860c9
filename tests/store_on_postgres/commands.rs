//! Commands on a PostgreSQL database. None of them prints its password.

use assert_cmd::Command;

use crate::postgres::{DATABASE, url_of};
use crate::support::store_suite::place::Place;

/// Runs a command on the database of `place`, and returns its exit code and its output.
fn run(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store-url");
    let url = url_of(place).replace("postgres@", "postgres:planted@");
    std::fs::write(&file, url + "\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env("BRIDGE__STORE__URL_FILE", &file)
        .args(arguments)
        .output()
        .expect("it runs");
    let output_text =
        String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output_text.contains("planted"), "{output_text}");
    (output.status.code(), output_text.into_owned())
}

#[test]
fn migrate_prepares_an_empty_database_and_does_nothing_the_second_time() {
    let place = Place::new(DATABASE);
    for (arguments, code, text) in [
        (
            &["list"][..],
            Some(1),
            "has not yet brought it to this version",
        ),
        (&["migrate"], Some(0), "with schema version "),
        (&["migrate"], Some(0), "nothing was changed"),
        (&["list"], Some(0), ""),
    ] {
        let (exit_code, output) = run(&place, arguments);
        assert!(
            exit_code == code && output.contains(text),
            "{arguments:?} {exit_code:?}: {output}"
        );
    }
}
