//! The conformance suite of all stores on a real PostgreSQL server, and tests for PostgreSQL only.
//!
//! A test binary of its own, because it starts programs: while a child process starts, it holds for
//! a moment the SQLite locks of its parent.

mod commands;
mod delivery;
mod notify;
mod plans;
mod pooler;
mod postgres;
mod spool;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod on_postgres {
    crate::on!(crate::postgres::DATABASE);
}

mod on_postgres_with_a_spool {
    crate::on!(crate::spool::DATABASE);
}
