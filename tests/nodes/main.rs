//! Three nodes that share one PostgreSQL database, behind HAProxy and under load: rolling restarts,
//! kills, and restarts of the database.
//!
//! A test binary of its own, because it starts programs: while a child process starts, it holds for
//! a moment the SQLite locks of its parent.

mod acquire;
mod balancer;
mod client;
mod cluster;
mod kills;
mod load;
mod rolling_restarts;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use crate::support::real::{left_out, number, pause, until};
