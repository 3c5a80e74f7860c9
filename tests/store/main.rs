//! What every store must do, run on SQLite; and what concerns SQLite alone.

mod sqlite;
#[expect(dead_code, reason = "each test binary uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod on_sqlite {
    crate::on!(crate::sqlite::DATABASE);
}
