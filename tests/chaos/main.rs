//! Tests that hurt: the real program killed, starved of disk, and watched through `strace`.

mod book;
mod disks;
mod kills;
mod manager;
mod mount;
mod process;
#[path = "../common/real.rs"]
#[expect(dead_code, reason = "what is waited for here has limits of its own")]
mod real;
mod repair;
mod restarts;
mod sender;
mod service;
mod synced;
mod trace;

use crate::real::{left_out, number, pause};
