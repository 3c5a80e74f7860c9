//! What every store must do, run on SQLite; and what concerns SQLite alone.

mod claiming;
mod joining;
mod model;
mod place;
mod reading;
mod recording;
mod refusing;
mod requeuing;
mod sqlite;
#[macro_use]
mod suite;

mod on_sqlite {
    on!(crate::sqlite::DATABASE);
}
