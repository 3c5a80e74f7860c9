//! Migrates a database to this version. `migrations/README.md` has the rules.

use tokio::task::LocalSet;
use tokio_postgres::{Client, Transaction};

use super::server::{CONNECT_TIMEOUT, PgServer};
use crate::config::postgres::PostgresUrl;
use crate::store::StoreError;
use crate::store::error::DEVELOPMENT_VERSION;
use crate::store::{Migrated, OpenError};

/// One step to the next version.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    pub sql: &'static str,
    /// The oldest version that still works on a database with this one applied.
    pub works_with: i32,
}

/// From an empty database to this version.
pub const MIGRATIONS: [Migration; 1] = [Migration {
    sql: include_str!("../migrations/postgres/0001_initial.sql"),
    works_with: 1,
}];

/// Advisory lock held while migrating; `TwAB` in ASCII.
const LOCK: i64 = 0x5477_4142;

/// For the wait for another node that migrates, and for each step.
const MIGRATION_TIMEOUTS: &str =
    "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'";

const CREATE_MIGRATION: &str = "CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, \
    works_with integer NOT NULL, applied timestamptz NOT NULL DEFAULT now())";

/// Migrates a database to the version of the last of `migrations`. Other nodes may use it meanwhile.
pub fn migrate(url: &PostgresUrl, migrations: &[Migration]) -> Result<Migrated, OpenError> {
    let server = PgServer::new(url, CONNECT_TIMEOUT)?;
    let runtime = server.runtime()?;
    let migrating = async {
        let mut session = server.connect().await?;
        apply_missing(session.client(), migrations).await
    };
    let (from, to) = LocalSet::new()
        .block_on(&runtime, migrating)
        .map_err(|error| server.unusable(&error.why()))?;
    let version = |number: i32| usize::try_from(number).unwrap_or_default();
    Ok(Migrated {
        from: version(from),
        to: version(to),
    })
}

/// Applies missing migrations. Nodes that start at the same time wait for the first one. Returns the
/// versions before and after.
pub(super) async fn apply_missing(
    client: &mut Client,
    migrations: &[Migration],
) -> Result<(i32, i32), StoreError> {
    let known = last_version(migrations);
    let found = version(client, known).await?;
    // Also if it is newer: `works_with` allows this version to keep working.
    if found >= known {
        return Ok((found, found));
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(MIGRATION_TIMEOUTS).await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    require_utf8(&transaction).await?;
    transaction.batch_execute(CREATE_MIGRATION).await?;
    // Read again under the lock: another node may have migrated meanwhile.
    let row = transaction
        .query_one("SELECT coalesce(max(version), 0) FROM migration", &[])
        .await?;
    let from: i32 = row.try_get(0)?;
    for (version, migration) in (1..).zip(migrations) {
        if version > from {
            transaction.batch_execute(migration.sql).await?;
            transaction
                .execute(
                    "INSERT INTO migration (version, works_with) VALUES ($1, $2)",
                    &[&version, &migration.works_with],
                )
                .await?;
        }
    }
    transaction.commit().await?;
    Ok((from, from.max(known)))
}

fn last_version(migrations: &[Migration]) -> i32 {
    i32::try_from(migrations.len()).unwrap_or(i32::MAX)
}

/// Whether the database has at least the version of this program. Fails if this program is too old.
pub(super) async fn is_migrated(client: &Client) -> Result<bool, StoreError> {
    let known = last_version(&MIGRATIONS);
    Ok(version(client, known).await? >= known)
}

/// The version of the database, zero if it is empty. Fails if a program of version `known` is too
/// old for it.
async fn version(client: &Client, known: i32) -> Result<i32, StoreError> {
    // No release has the second table. Development versions numbered their schemas 1 and 2, too.
    let tables = "SELECT to_regclass('migration') IS NOT NULL, to_regclass('tally') IS NOT NULL";
    let row = client.query_one(tables, &[]).await?;
    if row.try_get::<_, bool>(1)? {
        return Err(StoreError::Database(DEVELOPMENT_VERSION.to_owned()));
    }
    if !row.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let row = client
        .query_one(
            "SELECT coalesce(max(version), 0), coalesce(max(works_with), 0) FROM migration",
            &[],
        )
        .await?;
    let (found, needed): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
    if needed > known {
        return Err(StoreError::Database(format!(
            "the database was migrated by a newer version of this program: it has version {found}, \
             which works with {needed} and newer, and this program knows up to {known}"
        )));
    }
    Ok(found)
}

/// Callbacks and e-mail addresses may have any Unicode character.
async fn require_utf8(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let row = transaction
        .query_one("SELECT current_setting('server_encoding')", &[])
        .await?;
    let encoding: String = row.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StoreError::Database(format!(
        "the database has the encoding {encoding}, but needs UTF8: create it with \
         CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
    )))
}
