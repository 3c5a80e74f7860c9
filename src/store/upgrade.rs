//! `migrate`: brings a store to this version without running a bridge.

use super::{OpenError, postgres, sqlite};
use crate::config::StoreUrl;

/// What there was to do: the versions before and after; 0 is a store that was not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: usize,
    pub to: usize,
}

/// Applies what is missing. A file must be nobody's; a database may be in use.
pub fn migrate(url: &StoreUrl) -> Result<Migrated, OpenError> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::migrate(path),
        StoreUrl::Postgres(url) => postgres::migrate(url),
    }
}
