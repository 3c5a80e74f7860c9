//! Erases calls and refused requests, and returns the space of removed rows.

use std::time::Duration;

use tokio::time::timeout;

use super::PostgresStore;
use super::operator_queries::{REMEMBER_REMOVED, remove};
use super::rows::text;
use super::server::CONNECT_TIMEOUT;
use crate::clock::{self, Millis};
use crate::store::counters::Counters;
use crate::store::erasure::{Compaction, Removed, Wiped};
use crate::store::removed::{self, RemovalCause};
use crate::store::sql::Session;
use crate::store::{State, StoreError};

/// Legs whose calls were merged into the calls that are erased: empty rows, which no index finds.
const MERGED: &str = "SELECT id, state FROM call \
    WHERE state = 'skipped' AND state <> 'pending' AND callbacks = 0 AND (sid, account) IN ( \
        SELECT callback.leg, parent.account FROM callback JOIN call AS parent ON parent.id = callback.call \
        WHERE parent.id = ANY ($1)) \
    ORDER BY id FOR UPDATE";

const STATES: &str = "SELECT state FROM call WHERE id = ANY ($1)";

/// How many legs the calls have.
const LEGS: &str = "SELECT count(*) FROM ( \
    SELECT sid, account FROM call WHERE id = ANY ($1) \
    UNION SELECT callback.leg, call.account FROM callback JOIN call ON call.id = callback.call \
        WHERE call.id = ANY ($1)) AS legs";

// For the ledger, which counts a removed call in its last class.
const COUNT_ERASED: &str = "UPDATE call SET class = 'erased' \
    WHERE id = ANY ($1) AND class IN ('waiting', 'waiting_late', 'parked')";

const REMOVE_REFUSED: &str = "DELETE FROM refused WHERE id = ANY ($1)";

/// The tables that have, or had, data of calls; notes name examples of calls.
const TABLES: &str = "call, callback, attempt, sid_index, address, refused, ledger_change, note";

const NEXT_TRANSACTION: &str = "SELECT pg_snapshot_xmax(pg_current_snapshot())::xid::text";

/// Whether a transaction of this database may still read what was removed before transaction `$1`.
const OLDER_TRANSACTIONS: &str = "SELECT EXISTS ( \
    SELECT FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid() \
        AND age(backend_xmin) > age($1::text::xid))";

/// How long a rewrite waits for transactions that began before the removal: an analysis by autovacuum, a
/// dump.
const OLDER_TRANSACTIONS_WAIT: Duration = Duration::from_secs(60);

const OLDER_TRANSACTIONS_POLL: Duration = Duration::from_millis(100);

/// For the wait until other work with a table ends, and for the rewrite.
const VACUUM_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Erases calls that are locked, and refused requests.
pub(super) async fn erase(
    session: &Session,
    changes: &mut Counters,
    (calls, refused): (&[i64], &[i64]),
    now: Millis,
) -> Result<Removed, StoreError> {
    let mut erased = Removed {
        calls: u64::try_from(calls.len()).unwrap_or_default(),
        refused: session.execute(REMOVE_REFUSED, &[&refused]).await?,
        ..Removed::default()
    };
    if calls.is_empty() {
        return Ok(erased);
    }
    let mut ids = calls.to_vec();
    for row in session.query(STATES, &[&calls]).await? {
        changes.purge_call(text(&row, 0, State::parse)?);
    }
    for row in session.query(MERGED, &[&calls]).await? {
        ids.push(row.try_get(0)?);
        changes.purge_call(text(&row, 1, State::parse)?);
    }
    for row in session.query(LEGS, &[&calls]).await? {
        erased.legs = row.try_get::<_, i64>(0)?.unsigned_abs();
    }
    let cause = Some(RemovalCause::Erased.as_str());
    session
        .execute(REMEMBER_REMOVED, &[&ids, &removed::day(now), &cause])
        .await?;
    erased.undelivered = session.execute(COUNT_ERASED, &[&ids]).await?;
    remove(session, &ids).await?;
    Ok(erased)
}

/// Waits until no transaction can read the rows that were removed so far: VACUUM FULL copies rows that one
/// can read. Returns whether all have ended.
async fn older_ended(session: &Session) -> Result<bool, StoreError> {
    let rows = session.query(NEXT_TRANSACTION, &[]).await?;
    let next: String = rows[0].get(0);
    let ended = async {
        loop {
            let rows = session.query(OLDER_TRANSACTIONS, &[&next]).await?;
            if !rows[0].get::<_, bool>(0) {
                return Ok(());
            }
            clock::pause(OLDER_TRANSACTIONS_POLL).await;
        }
    };
    match timeout(OLDER_TRANSACTIONS_WAIT, ended).await {
        Ok(ended) => ended.map(|()| true),
        Err(_) => Ok(false),
    }
}

impl PostgresStore {
    /// See [`Store::wipe`](crate::store::Store::wipe).
    pub(super) async fn wipe_tables(&self, compaction: Compaction) -> Result<Wiped, StoreError> {
        let (sql, done) = match compaction {
            Compaction::Off => (
                format!("VACUUM {TABLES}"),
                "VACUUM returned the space of removed rows; it may have copies until it is used again, \
                 without --compact",
            ),
            Compaction::Full => (
                format!("VACUUM (FULL) {TABLES}"),
                "VACUUM FULL rewrote the tables",
            ),
        };
        let kept = self
            .run_apart(async move |session| {
                let kept = compaction == Compaction::Full && !older_ended(session).await?;
                session.simple_query(&sql).await?;
                // Its rows had the subject itself. The table is small.
                session.simple_query("VACUUM (FULL) operation").await?;
                Ok(kept)
            })
            .await?;
        let kept = kept.then_some(
            "rows in the tables that a transaction of another program may still read: end it, and erase \
             again with --compact",
        );
        let beyond = [
            "the write-ahead log of PostgreSQL, until its segments are recycled",
            "backups, replicas and archived logs of PostgreSQL",
        ];
        Ok(Wiped {
            done: done.to_owned(),
            found_in: Vec::new(),
            not_reached: kept.into_iter().chain(beyond).map(str::to_owned).collect(),
        })
    }

    /// Runs an operation that may take long on a connection of its own.
    async fn run_apart<T: Send + 'static>(
        &self,
        operation: impl AsyncFn(&Session) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(async move |connections| {
            let late = |_| StoreError::Unavailable("no answer in time".to_owned());
            let connecting = connections.server.connect();
            let session = timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)??;
            let done = timeout(VACUUM_TIMEOUT, operation(&session)).await;
            session.close();
            done.map_err(late)?
        })
        .await
    }
}
