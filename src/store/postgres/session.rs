//! What is said over one connection: prepared statements and transactions.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, WrongType};
use tokio_postgres::{Client, Row, Statement};
use tokio_util::sync::CancellationToken;

use super::connection::PgServer;
use super::counters::{self, Counters};
use crate::store::StoreError;

/// A transaction that a node left open is ended after so long: it may hold calls of others.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);

/// In the limit of a verb, a wait for another's lock is given up so often and all begun anew: calls that
/// are joined are locked out of their order, so two nodes may wait for each other, and the server
/// itself looks for that only after a second (`deadlock_timeout`, a superuser's), which is too late.
const LOCK_TRIES: u32 = 4;

/// Values of a statement.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum PgError {
    /// The database cannot be reached or does not work now; whether something was committed may not
    /// be known.
    #[error("{0}")]
    Away(String),
    #[error("{0}")]
    Refused(String),
    /// Another transaction was in the way: to be tried again, nothing was done.
    #[error("another transaction was in the way")]
    Conflict,
}

impl From<PgError> for StoreError {
    fn from(trouble: PgError) -> Self {
        match trouble {
            PgError::Away(why) => Self::Away(why),
            refused => Self::Database(refused.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for PgError {
    fn from(error: tokio_postgres::Error) -> Self {
        let why = error_chain(&error);
        let Some(code) = error.code() else {
            // What cannot be written or read as the type it should have is nobody's absence.
            let is_ours = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<WrongType>);
            return if is_ours {
                Self::Refused(why)
            } else {
                Self::Away(why)
            };
        };
        match code {
            &SqlState::T_R_SERIALIZATION_FAILURE
            | &SqlState::T_R_DEADLOCK_DETECTED
            | &SqlState::LOCK_NOT_AVAILABLE
            // Another was first to add the same.
            | &SqlState::UNIQUE_VIOLATION => Self::Conflict,
            // A time limit of ours, a stop, a standby, or too many connections.
            &SqlState::QUERY_CANCELED
            | &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN
            | &SqlState::CANNOT_CONNECT_NOW
            | &SqlState::READ_ONLY_SQL_TRANSACTION
            | &SqlState::TOO_MANY_CONNECTIONS
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Away(why),
            code if code.code().starts_with("08") => Self::Away(why),
            _ => Self::Refused(why),
        }
    }
}

/// The error and its causes in one line: the library's own text ends before them.
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

/// One connection that was made.
pub(super) struct Session {
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
    lost: CancellationToken,
}

impl Session {
    /// Connects; the connection lives as long as the local set that this is called in.
    pub async fn connect(server: &PgServer) -> Result<Self, PgError> {
        let (client, connection) = server.url.config.connect(server.tls.clone()).await?;
        let lost = CancellationToken::new();
        let end = lost.clone();
        tokio::task::spawn_local(async move {
            tokio::select! {
                // Its error is told to whoever waits for an answer.
                _ = connection => {}
                () = end.cancelled() => {}
            }
            end.cancel();
        });
        Ok(Self {
            client,
            statements: RefCell::default(),
            lost,
        })
    }

    /// Settings of the connection: what is answered as kept is on disk, nothing outlasts `limit`,
    /// and plans fit a queue, whose statistics are of another hour. They are made once: for arrays of
    /// a few values the server would plan anew each time, which takes longer than the work.
    pub async fn set_up(&mut self, limit: Duration) -> Result<(), PgError> {
        let settings = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}; \
             SET plan_cache_mode = force_generic_plan; \
             SET jit = off; SET enable_seqscan = off; SET enable_mergejoin = off; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'",
            limit.as_millis(),
            (limit / LOCK_TRIES).as_millis().max(1),
            IDLE_IN_TRANSACTION.as_millis()
        );
        Ok(self.client.batch_execute(&settings).await?)
    }

    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Closes the connection, whatever is under way on it.
    pub fn give_up(&self) {
        self.lost.cancel();
    }

    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled() || self.client.is_closed()
    }

    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    pub async fn query(&self, sql: &'static str, values: Values<'_>) -> Result<Vec<Row>, PgError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query(&statement, values).await?)
    }

    /// As [`Session::query`], for what tells nothing; returns how many rows were changed.
    pub async fn execute(&self, sql: &'static str, values: Values<'_>) -> Result<u64, PgError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.execute(&statement, values).await?)
    }

    /// Keeps what `sql` finds on the server, to be fetched as `found`; what was kept before is let go.
    pub async fn declare(&self, sql: &str, values: Values<'_>) -> Result<(), PgError> {
        self.client.batch_execute("CLOSE ALL").await?;
        let declaration = format!("DECLARE found CURSOR WITH HOLD FOR {sql}");
        self.client.execute(&declaration, values).await?;
        Ok(())
    }

    async fn prepared(&self, sql: &'static str) -> Result<Statement, PgError> {
        let known = self.statements.borrow().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }

    /// Does `work` in a transaction that also counts what it changed. The begin travels with the
    /// first statement, the count with the commit.
    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&Self, &mut Counters) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        let mut tally = Counters::default();
        let begin = async { Ok(self.client.batch_execute("BEGIN").await?) };
        let work = async {
            let done = work(self, &mut tally).await?;
            // What is prepared only when the commit leaves would be done behind it.
            self.prepared(counters::ADD).await?;
            Ok(done)
        };
        let done = match try_join(begin, work).await {
            Ok(((), done)) => done,
            Err(trouble) => {
                if !matches!(trouble, PgError::Away(_)) {
                    self.client.batch_execute("ROLLBACK").await?;
                }
                return Err(trouble);
            }
        };
        let commit = async { Ok(self.client.batch_execute("COMMIT").await?) };
        if tally == Counters::default() {
            commit.await?;
        } else {
            try_join(counters::add(self, &tally), commit).await?;
        }
        Ok(done)
    }

    /// Does `look`, all of which sees one moment and changes nothing.
    pub async fn snapshot<T>(
        &self,
        look: impl AsyncFnOnce(&Self) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.client.batch_execute(begin).await?;
        let seen = look(self).await;
        self.client.batch_execute("ROLLBACK").await?;
        seen
    }
}
