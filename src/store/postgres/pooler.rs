//! Detects a pooler that gives a client another session for each transaction (`pool_mode = transaction`
//! of PgBouncer). The store needs its sessions: they have its settings and prepared statements.

use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;

use super::server::{CONNECT_TIMEOUT, PgServer};
use crate::config::postgres::PostgresUrl;
use crate::store::OpenError;
use crate::store::StoreError;
use crate::store::sql::Session;

/// For a query that waits for a session which another client holds.
const QUERY_TIMEOUT: Duration = Duration::from_secs(1);

const REFUSAL: &str = "a pooler in transaction or statement mode is in front of the database: it gives \
    each transaction another session, so that settings, prepared statements and timeouts of the bridge \
    are lost; set pool_mode = session for this database (PgBouncer), or connect to the server itself";

/// Refuses such a pooler. A database that cannot be reached now is not refused.
///
/// # Errors
/// There is such a pooler, or no thread for the check.
pub fn refuse_transaction_pooler(url: &PostgresUrl) -> Result<(), OpenError> {
    let server = PgServer::new(url, CONNECT_TIMEOUT)?;
    // On a thread of its own: the caller may already run on a runtime.
    let checked = std::thread::scope(|scope| {
        let check = scope.spawn(|| {
            let runtime = server.runtime()?;
            let check = async { timeout(CONNECT_TIMEOUT, has_sessions(&server)).await };
            Ok(LocalSet::new().block_on(&runtime, check))
        });
        check
            .join()
            .unwrap_or_else(|_| Err(server.unusable(&"the check for a pooler has panicked")))
    })?;
    match checked {
        Ok(Ok(false)) => Err(server.unusable(&REFUSAL)),
        // The connections of the store report an outage.
        Ok(Ok(true) | Err(_)) | Err(_) => Ok(()),
    }
}

/// Whether a client keeps its session between two transactions.
async fn has_sessions(server: &PgServer) -> Result<bool, StoreError> {
    let (first, second) = (server.connect().await?, server.connect().await?);
    let session = backend(&first).await?;
    // A pooler that takes turns between its sessions is found by these.
    for _ in 0..2 {
        if backend(&first).await? != session {
            return Ok(false);
        }
    }
    // Another client now gets the session that was used last, and keeps it for its transaction.
    if second.begin().await.is_err() {
        // In statement mode, PgBouncer refuses transactions and closes the connection; the other one works.
        backend(&first).await?;
        return Ok(false);
    }
    backend(&second).await?;
    match timeout(QUERY_TIMEOUT, backend(&first)).await {
        Ok(again) => Ok(again? == session),
        Err(_) => Ok(false),
    }
}

/// The process id of the session. Without a prepared statement, which such poolers may not support.
async fn backend(session: &Session) -> Result<Option<String>, StoreError> {
    let messages = session.simple_query("SELECT pg_backend_pid()").await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}
