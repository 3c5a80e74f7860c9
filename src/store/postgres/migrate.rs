//! Brings a database to this version; what the rules are stands in `migrations/README.md`.

use tokio_postgres::{Client, Transaction};

use super::session::PgError;
use crate::store::error::DEVELOPMENT_VERSION;

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

/// "TwAB": the advisory lock under which databases are migrated.
const LOCK: i64 = 0x5477_4142;

/// How long one that migrates waits for another that does, and for its own steps.
const MIGRATION_TIMEOUTS: &str =
    "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'";

const NOTES: &str = "CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, \
    works_with integer NOT NULL, applied timestamptz NOT NULL DEFAULT now())";

/// Applies what is missing; nodes that start at once wait for the first of them. Returns the
/// versions before and after.
pub(super) async fn bring_up(
    client: &mut Client,
    migrations: &[Migration],
) -> Result<(i32, i32), PgError> {
    let known = number_of(migrations);
    let found = version(client, known).await?;
    if found >= known {
        return Ok((found, found));
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute(MIGRATION_TIMEOUTS).await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    need_utf8(&transaction).await?;
    transaction.batch_execute(NOTES).await?;
    // Read under the lock: another may have been here meanwhile.
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

/// The version of this program.
pub(super) fn known() -> i32 {
    number_of(&MIGRATIONS)
}

fn number_of(migrations: &[Migration]) -> i32 {
    i32::try_from(migrations.len()).unwrap_or(i32::MAX)
}

/// The version of the database, zero if it is empty; refused if a program of version `known` is too
/// old for it.
pub(super) async fn version(client: &Client, known: i32) -> Result<i32, PgError> {
    // The second is a table that no release has. The versions of development were 1 and 2, too.
    let tables = "SELECT to_regclass('migration') IS NOT NULL, to_regclass('tally') IS NOT NULL";
    let row = client.query_one(tables, &[]).await?;
    if row.try_get::<_, bool>(1)? {
        return Err(PgError::Refused(DEVELOPMENT_VERSION.to_owned()));
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
        return Err(PgError::Refused(format!(
            "the database was migrated by a newer version of this program: it has version {found}, \
             which works with {needed} and newer, and this program knows up to {known}"
        )));
    }
    Ok(found)
}

/// Names and e-mails are not of one country.
async fn need_utf8(transaction: &Transaction<'_>) -> Result<(), PgError> {
    let row = transaction
        .query_one("SELECT current_setting('server_encoding')", &[])
        .await?;
    let encoding: String = row.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(PgError::Refused(format!(
        "the database has the encoding {encoding}, and must have UTF8: make it with \
         CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
    )))
}
