//! Tests that hurt: the real program killed, starved of disk, and watched through `strace`.

mod book;
mod disks;
mod kills;
mod manager;
mod mount;
mod process;
mod repair;
mod restarts;
mod sender;
mod service;
mod synced;
mod trace;

use std::io::Write as _;
use std::time::Duration;

/// Real time, since the program under test is a process of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the program keeps the system's time"
)]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

/// A setting of the test, from the environment that `tests/chaos/run` sets.
#[expect(
    clippy::disallowed_methods,
    reason = "settings of the test, not of the program"
)]
fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Says past the capture of the tests' output what was not tested.
fn left_out(what: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}
