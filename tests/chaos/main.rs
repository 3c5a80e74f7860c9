//! Fault injection: the real program killed, starved of disk, and watched through `strace`.

mod crash_states;
mod disks;
mod kills;
mod manager;
mod mount;
mod repair;
mod restarts;
mod service;
mod soak;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;
mod synced;
mod trace;

use crate::support::real::{left_out, number, pause};
