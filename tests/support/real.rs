//! For tests that run whole programs: real time, settings of the test, and messages about parts left out.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// The limit of each wait: far longer than any step takes.
pub const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// Real time, since the programs under test have no other.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs keep the system's time"
)]
pub fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let late = Instant::now() + WAIT_LIMIT;
    while !is_so() {
        assert!(Instant::now() < late, "not after {WAIT_LIMIT:?}: {what}");
        pause(Duration::from_millis(20));
    }
}

/// A setting of the test, from the environment that `tests/run` sets.
#[expect(
    clippy::disallowed_methods,
    reason = "settings of the test, not of the program"
)]
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Reports a part that was not tested, also where the output of tests is captured.
pub fn left_out(what: &str) {
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}
