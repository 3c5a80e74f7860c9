//! A power cut at any moment: every callback that was answered 204 is in the files that are left.
//!
//! `strace` records each write and sync of the store. From the record the test builds the files that a
//! power cut could leave: all that was synced, and of the rest any part. It opens each such state.

mod disk_image;
mod recorded;

use std::fs;
use std::path::Path;
use std::thread;

use twilio_acquire_bridge::config::StoreUrl;
use twilio_acquire_bridge::debugging::fake_acquire::Faults;
use twilio_acquire_bridge::store::{self, StoreError};
use twilio_acquire_bridge::twilio::CallSid;

use self::disk_image::CrashStates;
use self::recorded::Recording;
use crate::support::process::Serve;
use crate::support::real::number;
use crate::support::serve::sink;
use crate::synced::{PRETENDED, has_strace, sends_in_turn, strace};

const CONNECTIONS: u64 = 4;
const CALLBACKS: u64 = 30;
const SEED: u64 = 11;

/// The states that are opened in one run, of each store; `tests/run --long` opens more.
const STATES: u64 = 200;

/// Starts a bridge, ends calls, delivers them, and stops it, twice: the second start reads what the
/// first one left, and both stops copy the log into the database.
fn record(folder: &Path, options: &[&str], settings: &[(&str, String)]) -> Recording {
    let acquire = sink(Faults::default());
    let mut recording = Recording::default();
    for run in 0..2 {
        let trace = folder.join(format!("trace-{run}"));
        let name = trace.to_str().expect("text");
        let seen = recorded::options(name);
        let mut command = strace(
            &[&seen[..], options].concat(),
            &folder.join("bridge.db"),
            &acquire.base_url(),
        );
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        let mut serve = Serve::spawn(command);
        let public = serve.addresses().public;
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                let sender = run * CONNECTIONS + connection;
                thread::spawn(move || sends_in_turn(public, sender, CALLBACKS))
            })
            .collect();
        for sender in senders {
            sender.join().expect("all are answered");
        }
        serve.stop();
        serve.log();
        recording.read(&fs::read(&trace).expect("a trace"));
    }
    recording
}

/// The problems of the states that a power cut could leave, and how many states were opened.
fn problems(recording: &Recording, file: &str) -> (usize, Vec<String>) {
    let states = CrashStates::of(recording, number("CRASH_STATES", STATES), SEED);
    let mut opened = 0;
    let mut problems = Vec::new();
    for state in states {
        let folder = tempfile::tempdir().expect("a folder");
        state.write(folder.path());
        opened += 1;
        let found = problems_of_state(&folder.path().join(file), &state.answered());
        problems.extend(found.into_iter().map(|what| format!("{state}: {what}")));
    }
    (opened, problems)
}

fn problems_of_state(path: &Path, answered: &[&str]) -> Vec<String> {
    found_in(path, answered).unwrap_or_else(|why| vec![why])
}

/// What is wrong with a store, or why it cannot be read.
fn found_in(path: &Path, answered: &[&str]) -> Result<Vec<String>, String> {
    if !path.exists() {
        let lost = answered
            .iter()
            .map(|sid| format!("{sid} is lost with its file"));
        return Ok(lost.collect());
    }
    let url = StoreUrl::Sqlite(path.to_owned());
    store::open(&url).map_err(|why| why.to_string())?;
    let reader = store::open_to_read(&url).map_err(|why| why.to_string())?;
    let unreadable = |why: StoreError| why.to_string();
    let mut found = reader.verify_consistency().map_err(unreadable)?;
    found.extend(reader.verify_integrity().map_err(unreadable)?);
    for sid in answered {
        let known = CallSid::parse(sid).expect("a SID");
        if reader.get(&known).map_err(unreadable)?.is_none() {
            found.push(format!("{sid} is lost"));
        }
    }
    Ok(found)
}

#[test]
fn no_power_cut_loses_an_answered_callback_of_the_store() {
    if !has_strace() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let recording = record(folder.path(), &[], &[]);
    let (opened, problems) = problems(&recording, "bridge.db");
    println!("{opened} states of {} operations", recording.len());
    assert_eq!(recording.answered(), 2 * CONNECTIONS * CALLBACKS);
    assert!(opened >= 100, "only {opened} states");
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn no_power_cut_loses_an_answered_callback_of_the_spool() {
    if !has_strace() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let spool = folder.path().join("spool.db").display().to_string();
    // No server listens there.
    let settings = [
        (
            "BRIDGE__STORE__URL",
            "postgres://bridge@127.0.0.1:9/bridge".to_owned(),
        ),
        ("BRIDGE__STORE__SPOOL", spool),
    ];
    let recording = record(folder.path(), &[], &settings);
    let (opened, problems) = problems(&recording, "spool.db");
    println!("{opened} states of {} operations", recording.len());
    assert_eq!(recording.answered(), 2 * CONNECTIONS * CALLBACKS);
    assert!(opened >= 100, "only {opened} states");
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn without_syncs_a_power_cut_loses_answered_callbacks() {
    if !has_strace() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let recording = record(folder.path(), &["-e", PRETENDED], &[]);
    let (_, problems) = problems(&recording, "bridge.db");
    assert!(
        problems.iter().any(|problem| problem.contains("is lost")),
        "{problems:#?}"
    );
}
