//! Tests that hurt: the real program killed, starved of disk, and watched through `strace`.

mod book;
mod disks;
mod kills;
mod process;
mod repair;
mod sender;
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

/// Says past the capture of the tests' output what was not tested.
fn left_out(what: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}
