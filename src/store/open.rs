//! Opens the store that the configuration names, and measures its disk.
//!
//! It knows no SQL: each database opens and migrates itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::postgres::{self, PostgresReader, PostgresStore, StoreOptions};
use super::spool::{self, SpoolingStore};
use super::{Migrated, OpenError, ReadStore, SqliteReader, Store, disk, sqlite};
use crate::config::{self, SpoolSettings, StoreUrl};

/// Opens the store of a bridge that serves: as [`open`] does, and with a spool if there is to be one.
pub fn open_to_serve(settings: &config::StoreSettings) -> Result<Arc<dyn Store>, OpenError> {
    if let StoreUrl::Postgres(url) = &settings.url {
        postgres::refuse_transaction_pooler(url)?;
    }
    let database = open(&settings.url)?;
    Ok(match (&settings.url, &settings.spool) {
        (StoreUrl::Postgres(_), SpoolSettings::At(path)) => Arc::new(SpoolingStore::open(
            database,
            path,
            spool::DATABASE_COMMIT_TIMEOUT,
        )?),
        _ => database,
    })
}

/// Opens a store to write, made or migrated as needed: a file, which is then owned, or a database
/// that is shared, which may be unavailable at first.
pub fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match url {
        StoreUrl::Sqlite(path) => Arc::new(sqlite::SqliteStore::open(path)?),
        StoreUrl::Postgres(url) => Arc::new(PostgresStore::open(url, StoreOptions::default())?),
    })
}

/// Opens a store to read, whether or not bridges use it.
pub fn open_to_read(url: &StoreUrl) -> Result<Box<dyn ReadStore>, OpenError> {
    Ok(match url {
        StoreUrl::Sqlite(path) => Box::new(SqliteReader::open_read_only(path)?),
        StoreUrl::Postgres(url) => Box::new(PostgresReader::open(url)?),
    })
}

/// Brings a store to this version without running a bridge. No bridge may have the file open; a
/// database may be in use.
pub fn migrate(url: &StoreUrl) -> Result<Migrated, OpenError> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::migrate(path),
        StoreUrl::Postgres(url) => postgres::migrate(url, &postgres::MIGRATIONS),
    }
}

/// The fsync latency of the disk of the store, if it is on this machine; see [`disk`].
pub fn fsync_latency(url: &StoreUrl) -> Option<std::io::Result<Duration>> {
    Some(folder(url)?.and_then(|folder| disk::fsync_latency(&folder)))
}

fn folder(url: &StoreUrl) -> Option<std::io::Result<PathBuf>> {
    let StoreUrl::Sqlite(path) = url else {
        return None;
    };
    let file = std::path::absolute(path);
    Some(file.map(|file| file.parent().unwrap_or(&file).to_owned()))
}
