//! The directory file, changed while the bridge runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::harness::{Bridge, WAIT_LIMIT};
use crate::support::twilio::{STATUS, sid, status_form};

/// Sends calls until their e-mail is `expected`; a change may take seconds.
fn becomes(bridge: &Bridge, calls: &mut usize, expected: &str) {
    let until = Instant::now() + WAIT_LIMIT;
    loop {
        *calls += 1;
        let form = status_form(&sid(*calls), "completed");
        assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
        bridge.settles();
        let sent = bridge.sent();
        let email = sent.last().expect("a call was sent")["email"].clone();
        if email == expected {
            return;
        }
        assert!(Instant::now() < until, "{email} and not {expected}");
        std::thread::yield_now();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
}

#[test]
fn a_changed_directory_counts_without_a_restart_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("directory.csv");
    let other = folder.path().join("other.csv");
    write(&file, "address,email\n+12025550199,first@example.com\n");
    let bridge = Bridge::with(&[(
        "BRIDGE__DIRECTORY__FILE",
        file.to_str().expect("a path of text"),
    )]);
    let mut calls = 0;
    becomes(&bridge, &mut calls, "first@example.com");

    write(&file, "address,email\n+12025550199,second@example.com\n");
    becomes(&bridge, &mut calls, "second@example.com");

    // Replaced by renaming, as careful programs do.
    write(&other, "address,email\n+12025550199,third@example.com\n");
    fs::rename(&other, &file).expect("a renamed file");
    becomes(&bridge, &mut calls, "third@example.com");

    write(&file, "address,email\n+12025550199,nobody\n");
    let bad_since = Instant::now();
    while bad_since.elapsed() < Duration::from_secs(4) {
        becomes(&bridge, &mut calls, "third@example.com");
    }
    write(&file, "address,email\n+12025550199,fourth@example.com\n");
    becomes(&bridge, &mut calls, "fourth@example.com");
}

#[test]
fn the_directory_names_the_person() {
    let mut bridge = Bridge::start();
    let file = bridge.folder.path().join("bridge.toml");
    let directory = "[directory]\ndefault = \"desk@example.com\"\n\
                     entries = { \"+12025550199\" = \"jane@example.com\" }\n";
    std::fs::write(&file, directory).expect("a file");
    bridge.restarts_with_file(&file);
    bridge.twilio.ends(&sid(1), "completed");
    let elsewhere = status_form(&sid(2), "completed").replace("%2B12025550199", "%2B12025550177");
    bridge.twilio.sends_form(STATUS, &elsewhere);
    bridge.settles();
    let mut emails: Vec<_> = bridge
        .sent()
        .iter()
        .map(|body| body["email"].to_string())
        .collect();
    emails.sort();
    assert_eq!(emails, ["\"desk@example.com\"", "\"jane@example.com\""]);
}
