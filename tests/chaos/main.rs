//! Tests that hurt: the real program killed, starved of disk, and watched through `strace`.

mod book;
mod kills;
mod process;
mod sender;
mod synced;
mod trace;

use std::time::Duration;

/// Real time, since the program under test is a process of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the program keeps the system's time"
)]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}
