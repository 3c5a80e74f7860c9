//! What every store must do, run on a real PostgreSQL server; and what concerns PostgreSQL alone.
//!
//! A process of its own, since it starts others: one that is just being started holds for a moment
//! what SQLite has locked.

mod commands;
mod plans;
mod postgres;
mod spooled;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod on_postgres {
    crate::on!(crate::postgres::DATABASE);
}

mod on_postgres_with_a_spool {
    crate::on!(crate::spooled::DATABASE);
}
