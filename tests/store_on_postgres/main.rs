//! What every store must do, run on a real PostgreSQL server; and what concerns PostgreSQL alone.
//!
//! A process of its own, since it starts others: one that is just being started holds for a moment
//! what SQLite has locked.

#[path = "../store/claiming.rs"]
mod claiming;
mod commands;
#[path = "../store/joining.rs"]
mod joining;
#[path = "../store/model.rs"]
mod model;
#[path = "../store/place.rs"]
mod place;
mod plans;
mod postgres;
#[path = "../store/reading.rs"]
mod reading;
#[path = "../store/recording.rs"]
mod recording;
#[path = "../store/refusing.rs"]
mod refusing;
#[path = "../store/requeuing.rs"]
mod requeuing;
mod server;
mod spooled;
#[macro_use]
#[path = "../store/suite.rs"]
mod suite;

mod on_postgres {
    on!(crate::postgres::DATABASE);
}

mod on_postgres_with_a_spool {
    on!(crate::spooled::DATABASE);
}
