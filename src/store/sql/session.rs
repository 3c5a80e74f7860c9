//! One open connection to PostgreSQL: prepared statements, transactions, and the errors of the database.
//! Does not reconnect.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, WrongType};
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement};
use tokio_util::sync::CancellationToken;

use crate::store::StoreError;

/// After which the server ends a transaction that a node left open: it may lock calls of others.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an operation may give up waiting for a lock and start over within its timeout. Merging
/// locks calls out of order, so two nodes may wait for each other. The server looks for such
/// deadlocks only after a second (`deadlock_timeout`, which only a superuser can set): too late.
const LOCK_TRIES: u32 = 4;

/// Parameters of a statement.
pub type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let why = error_chain(&error);
        let Some(code) = error.code() else {
            // A type mismatch is our bug, not an outage: do not report the database as down.
            let is_bug = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<WrongType>);
            return if is_bug {
                Self::Database(why)
            } else {
                Self::Unavailable(why)
            };
        };
        match code {
            &SqlState::T_R_SERIALIZATION_FAILURE
            | &SqlState::T_R_DEADLOCK_DETECTED
            | &SqlState::LOCK_NOT_AVAILABLE
            // Another transaction inserted the same row first.
            | &SqlState::UNIQUE_VIOLATION => Self::Conflict,
            // Our own timeout, a shutdown, a standby, or too many connections.
            &SqlState::QUERY_CANCELED
            | &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN
            | &SqlState::CANNOT_CONNECT_NOW
            | &SqlState::READ_ONLY_SQL_TRANSACTION
            | &SqlState::TOO_MANY_CONNECTIONS
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Unavailable(why),
            // "Connection exception"; "insufficient resources", such as a full disk; "system error".
            code if ["08", "53", "58"].contains(&&code.code()[..2]) => Self::Unavailable(why),
            _ => Self::Database(why),
        }
    }
}

/// The error and its causes in one line: the library's own text has no causes.
fn error_chain(error: &tokio_postgres::Error) -> String {
    if let Some(database) = error.as_db_error() {
        return format!(
            "{} (SQLSTATE {})",
            database.message(),
            database.code().code()
        );
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}

/// An open connection.
pub struct Session {
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
    closed: CancellationToken,
}

impl Session {
    /// The connection lives as long as the current local set runs.
    pub fn new(client: Client, connection: impl Future + 'static) -> Self {
        let closed = CancellationToken::new();
        let end = closed.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                // The statement that waits for a response gets its error.
                _ = connection => {}
                () = end.cancelled() => {}
            }
            end.cancel();
        });
        Self {
            client,
            statements: RefCell::default(),
            closed,
        }
    }

    /// Sets the connection up for writing: each commit is on disk before it is answered, and no
    /// statement runs longer than `timeout`.
    pub async fn set_up(&mut self, timeout: Duration) -> Result<(), StoreError> {
        // The server keeps one plan for each statement. Otherwise, with arrays of a few values, it
        // would plan each execution, which takes longer than the work. The tables grow and shrink
        // within minutes, so the planner's statistics are outdated: scans of whole tables are ruled
        // out.
        let settings = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}; \
             SET plan_cache_mode = force_generic_plan; \
             SET jit = off; SET enable_seqscan = off; SET enable_mergejoin = off; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'",
            timeout.as_millis(),
            (timeout / LOCK_TRIES).as_millis().max(1),
            IDLE_IN_TRANSACTION_TIMEOUT.as_millis()
        );
        Ok(self.client.batch_execute(&settings).await?)
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Closes the connection, also while a statement runs on it.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled() || self.client.is_closed()
    }

    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    pub async fn query(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    /// Like [`Session::query`], for a statement without rows. Returns how many rows it changed.
    pub async fn execute(&self, sql: &'static str, values: Values<'_>) -> Result<u64, StoreError> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// Prepares a statement, once for each connection.
    pub async fn prepare(&self, sql: &'static str) -> Result<Statement, StoreError> {
        let prepared = self.statements.borrow().get(sql).cloned();
        if let Some(statement) = prepared {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Runs `sql` without a prepared statement.
    pub async fn simple_query(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, StoreError> {
        Ok(self.client.simple_query(sql).await?)
    }

    pub async fn begin(&self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("BEGIN").await?)
    }

    pub async fn commit(&self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("COMMIT").await?)
    }

    pub async fn roll_back(&self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }

    /// Runs `read` in a transaction that sees one moment and cannot write.
    pub async fn snapshot<T>(
        &self,
        read: impl AsyncFnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.client.batch_execute(begin).await?;
        let found = read(self).await;
        // Nothing was written, so there is nothing to commit.
        self.roll_back().await?;
        found
    }
}
