//! Brings a database to this version; what the rules are stands in `migrations/README.md`.

use tokio_postgres::{Client, Transaction};

use super::session::PgError;

/// One step to the next version.
struct Migration {
    sql: &'static str,
    /// The oldest version that still works on a database with this one applied.
    works_with: i32,
}

const MIGRATIONS: [Migration; 2] = [
    Migration {
        sql: include_str!("../migrations/postgres/0001_calls.sql"),
        works_with: 1,
    },
    Migration {
        sql: include_str!("../migrations/postgres/0002_refused.sql"),
        works_with: 1,
    },
];

/// "TwAB": the advisory lock under which databases are migrated.
const LOCK: i64 = 0x5477_4142;

/// How long one that migrates waits for another that does, and for its own steps.
const MIGRATION_TIMEOUTS: &str =
    "SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'";

const NOTES: &str = "CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, \
    works_with integer NOT NULL, applied timestamptz NOT NULL DEFAULT now())";

/// Applies what is missing; nodes that start at once wait for the first of them. Returns the
/// versions before and after.
pub(super) async fn bring_up(client: &mut Client) -> Result<(i32, i32), PgError> {
    let known = known();
    let found = version(client).await?;
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
    for (version, migration) in (1..).zip(&MIGRATIONS) {
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

pub(super) fn known() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// The version of the database, zero if it is empty; refused if this program is too old for it.
pub(super) async fn version(client: &Client) -> Result<i32, PgError> {
    let row = client
        .query_one("SELECT to_regclass('migration') IS NOT NULL", &[])
        .await?;
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
    let known = known();
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
