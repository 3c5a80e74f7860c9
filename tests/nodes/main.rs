//! Three nodes that share one PostgreSQL database, behind HAProxy, under load: restarted one by one, killed,
//! and with their database gone for a while.
//!
//! A process of its own, since it starts others: one that is just being started holds for a moment
//! what SQLite has locked.

mod acquire;
mod balancer;
mod cluster;
mod crowd;
mod kills;
mod line;
mod rolls;

#[path = "../chaos/book.rs"]
mod book;
#[path = "../chaos/process.rs"]
#[expect(dead_code, reason = "what the tests of one bridge need besides")]
mod process;
#[path = "../chaos/sender.rs"]
#[expect(dead_code, reason = "all clients are quick here")]
mod sender;
#[path = "../store_on_postgres/server.rs"]
#[expect(dead_code, reason = "the server is stopped, and nothing else")]
mod server;

use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long what is owed may take to be paid once nothing is broken any more.
const PATIENCE: Duration = Duration::from_secs(120);

/// Real time, since the programs under test are processes of their own.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs keep the system's time"
)]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let late = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < late, "not after {PATIENCE:?}: {what}");
        pause(Duration::from_millis(50));
    }
}

/// A setting of the test, from the environment that `tests/nodes/run` sets.
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
