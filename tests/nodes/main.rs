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
#[path = "../common/real.rs"]
mod real;
#[path = "../chaos/sender.rs"]
#[expect(dead_code, reason = "all clients are quick here")]
mod sender;
#[path = "../store_on_postgres/server.rs"]
#[expect(dead_code, reason = "the server is stopped, and nothing else")]
mod server;

use crate::real::{left_out, number, pause, until};
