//! Reads the database for commands, and blocks until the response. Writes nothing.

use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::migrate;
use super::server::{CONNECT_TIMEOUT, PgServer};
use crate::config::postgres::PostgresUrl;
use crate::store::sql::Session;
use crate::store::{OpenError, StoreError};

/// A connection that only reads.
pub struct PostgresReader {
    session: Session,
    // Dropped after the session, because its connection is one of the tasks.
    tasks: LocalSet,
    runtime: Runtime,
}

impl PostgresReader {
    pub fn open(url: &PostgresUrl) -> Result<Self, OpenError> {
        let server = PgServer::new(url, CONNECT_TIMEOUT)?;
        let runtime = server.runtime()?;
        let tasks = LocalSet::new();
        let connecting = async {
            let late =
                |_| StoreError::Unavailable(format!("no connection within {CONNECT_TIMEOUT:?}"));
            let connected = timeout(CONNECT_TIMEOUT, server.connect());
            let mut session = connected.await.map_err(late)??;
            // A reader must not migrate: bridges of the previous version may still be running.
            if !migrate::is_migrated(session.client()).await? {
                let why = "`serve` or `migrate` has not yet brought it to this version";
                return Err(StoreError::Database(why.to_owned()));
            }
            Ok(session)
        };
        let session = tasks
            .block_on(&runtime, connecting)
            .map_err(|error| server.unusable(&error.why()))?;
        Ok(Self {
            session,
            tasks,
            runtime,
        })
    }

    pub(in crate::store) fn session(&self) -> &Session {
        &self.session
    }

    pub(in crate::store) fn block_on(&self, work: impl Future<Output = ()>) {
        self.tasks.block_on(&self.runtime, work);
    }
}

/// Advisory lock held while counting; `TwAC` in ASCII.
const LOCK: i64 = 0x5477_4143;

/// Waits until no other node checks: each check reads every row. The connection holds the lock until
/// it is closed.
pub async fn wait_for_other_checks(session: &Session) -> Result<(), StoreError> {
    // Reading every row takes longer than the timeout of other statements.
    let limit = "SELECT set_config('statement_timeout', '10min', false)";
    session.query(limit, &[]).await?;
    session
        .query("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await?;
    Ok(())
}
