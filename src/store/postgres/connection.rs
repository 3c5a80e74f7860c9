//! One connection to the database, reconnected after it was lost, and who may use it when.
//!
//! It knows no statement of the store, and does not repeat one whose connection was lost.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::migrate;
use super::server::{CONNECT_TIMEOUT, PgServer};
use crate::clock;
use crate::store::StoreError;
use crate::store::sql::Session;

/// Between two attempts to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);

/// How often an operation runs if it conflicts with other transactions.
const MAX_TRIES: usize = 5;

/// The use of a connection, as logs name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConnectionRole {
    Callbacks,
    Settlements,
    Claims,
    Queries,
}

/// A connection and the right to use it: one operation has it alone, or several statements share it.
pub(super) struct ManagedConnection {
    state: watch::Receiver<ConnectionState>,
    /// Locked for writing by an operation that needs the connection alone.
    turn: RwLock<()>,
    timeout: Duration,
}

#[derive(Clone)]
enum ConnectionState {
    /// For the first time.
    Connecting,
    Up(Rc<Session>),
    /// With the reason.
    Down(String),
}

impl ManagedConnection {
    /// Starts to connect, and keeps the connection as long as the current local set runs.
    pub fn start(server: PgServer, role: ConnectionRole) -> Self {
        let (sender, state) = watch::channel(ConnectionState::Connecting);
        let timeout = server.timeout;
        tokio::task::spawn_local(keep_connected(server, role, sender));
        Self {
            state,
            turn: RwLock::new(()),
            timeout,
        }
    }

    /// Runs `work` alone on the connection, again if it conflicts with another transaction. Fails
    /// within the server's timeout.
    pub async fn run<T>(
        &self,
        work: impl AsyncFn(&Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let end = Instant::now() + self.timeout;
        // Alone: statements of others must not run inside this transaction.
        let _turn = self.until(end, self.turn.write()).await?;
        let done = self.try_until(end, async |session| retry_on_conflict(session, work).await);
        done.await?
            .ok_or_else(|| StoreError::Database("others kept changing the same calls".to_owned()))
    }

    /// Sends one statement without waiting for the responses to earlier ones. `None`: it conflicts
    /// with another transaction, so the caller has to use [`ManagedConnection::run`].
    pub async fn run_pipelined<T>(
        &self,
        statement: impl AsyncFnOnce(&Session) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let end = Instant::now() + self.timeout;
        // Shared: the server runs single statements in the order in which they were sent.
        let _turn = self.until(end, self.turn.read()).await?;
        self.try_until(end, statement).await
    }

    async fn until<T>(&self, end: Instant, work: impl Future<Output = T>) -> Result<T, StoreError> {
        let timeout = self.timeout;
        timeout_at(end, work).await.map_err(|_| {
            StoreError::Unavailable(format!("the database did not answer within {timeout:?}"))
        })
    }

    async fn try_until<T>(
        &self,
        end: Instant,
        work: impl AsyncFnOnce(&Session) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let session = self.until(end, self.session()).await??;
        let done = self.until(end, work(&session)).await;
        // The timeout may have cut off a transaction, in which the next operation must not run.
        match done.inspect_err(|_| session.close())? {
            Err(StoreError::Conflict) => Ok(None),
            done => done
                .inspect_err(|why| {
                    if why.is_unavailable() {
                        session.close();
                    }
                })
                .map(Some),
        }
    }

    async fn session(&self) -> Result<Rc<Session>, StoreError> {
        let mut state = self.state.clone();
        // Only the first attempt to connect is waited for: at a start the database is probably up.
        let known = state.wait_for(|state| !matches!(state, ConnectionState::Connecting));
        match known.await.map_err(|_| StoreError::Closed)?.clone() {
            ConnectionState::Up(session) if !session.is_closed() => Ok(session),
            ConnectionState::Down(why) => Err(StoreError::Unavailable(why)),
            ConnectionState::Up(_) | ConnectionState::Connecting => Err(StoreError::Unavailable(
                "the connection was lost".to_owned(),
            )),
        }
    }
}

async fn retry_on_conflict<T>(
    session: &Session,
    work: impl AsyncFn(&Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 1..MAX_TRIES {
        match work(session).await {
            Err(StoreError::Conflict) => {}
            done => return done,
        }
    }
    work(session).await
}

async fn keep_connected(
    server: PgServer,
    role: ConnectionRole,
    state: watch::Sender<ConnectionState>,
) {
    let mut is_down = false;
    loop {
        match connect(&server).await {
            Ok(session) => {
                if is_down && server.down.fetch_sub(1, Ordering::Relaxed) == 1 {
                    info!("{} is reachable again", server.url);
                }
                is_down = false;
                let session = Rc::new(session);
                state.send_replace(ConnectionState::Up(Rc::clone(&session)));
                session.closed().await;
                // No warning yet: a server may close one connection and accept the next one. Only a
                // failed attempt to connect is logged.
                state.send_replace(ConnectionState::Down("the connection was lost".to_owned()));
            }
            Err(error) => {
                let error = error.why();
                if !is_down && server.down.fetch_add(1, Ordering::Relaxed) == 0 {
                    warn!("{} is unavailable ({role:?}): {error}", server.url);
                }
                is_down = true;
                state.send_replace(ConnectionState::Down(error));
                clock::pause(RECONNECT_INTERVAL).await;
            }
        }
    }
}

/// Connects to the database, and migrates it if necessary, for which there is no timeout here.
async fn connect(server: &PgServer) -> Result<Session, StoreError> {
    let limit = CONNECT_TIMEOUT.max(server.timeout);
    let late = |_| StoreError::Unavailable(format!("no connection within {limit:?}"));
    let mut session = timeout(limit, server.connect()).await.map_err(late)??;
    migrate::apply_missing(session.client(), &migrate::MIGRATIONS).await?;
    let set_up = timeout(limit, session.set_up(server.timeout));
    set_up.await.map_err(late)??;
    Ok(session)
}
