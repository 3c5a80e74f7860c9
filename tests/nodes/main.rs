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
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use crate::support::real::{left_out, number, pause, until};
