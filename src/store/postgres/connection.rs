//! One connection to the database: made when it can be, and made anew when it was lost.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::{info, warn};

use super::migrate;
use super::session::{PgError, Session};
use crate::clock;
use crate::config::postgres::PostgresUrl;
use crate::store::StoreError;

/// For a connection to be made and set up, over all hosts of the URL.
pub(super) const CONNECTING: Duration = Duration::from_secs(3);

/// Between two tries to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(200);

/// How often a verb is tried whose transaction met another's.
const TRIES: usize = 5;

/// What a connection is for, as logs name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConnectionRole {
    Callbacks,
    Settlements,
    Claims,
    Questions,
}

/// Where connections lead.
#[derive(Clone)]
pub(super) struct PgServer {
    pub url: PostgresUrl,
    pub tls: MakeRustlsConnect,
    /// For a verb, its wait for a turn included.
    pub limit: Duration,
    /// Connections that are away, so that one line tells when the first goes, and one when the last
    /// is back.
    pub away: Arc<AtomicUsize>,
}

/// A connection and the turns on it: one verb at a time has it, or several that are a statement each.
pub(super) struct ManagedConnection {
    link: watch::Receiver<ConnectionState>,
    turn: RwLock<()>,
    limit: Duration,
}

#[derive(Clone)]
enum ConnectionState {
    /// For the first time.
    Connecting,
    Up(Rc<Session>),
    /// Why it is not there.
    Away(String),
}

impl ManagedConnection {
    /// Keeps a connection as long as the local set runs that this is called in.
    pub fn start(server: PgServer, purpose: ConnectionRole) -> Self {
        let (told, link) = watch::channel(ConnectionState::Connecting);
        let limit = server.limit;
        tokio::task::spawn_local(keep(server, purpose, told));
        Self {
            link,
            turn: RwLock::new(()),
            limit,
        }
    }

    /// Does `work` on the connection, again if it met another's transaction; fails within the server's limit.
    pub async fn run<T>(
        &self,
        work: impl AsyncFn(&Session) -> Result<T, PgError>,
    ) -> Result<T, StoreError> {
        let end = Instant::now() + self.limit;
        let _turn = self.until(end, self.turn.write()).await?;
        let done = self.try_until(end, async |session| retry_on_conflict(session, work).await);
        done.await?
            .ok_or_else(|| StoreError::Database("others kept changing the same calls".to_owned()))
    }

    /// Does one statement, behind others that are under way and ahead of their answers; none if it
    /// met another's transaction, then it is to be [`ManagedConnection::run`].
    pub async fn run_beside<T>(
        &self,
        statement: impl AsyncFnOnce(&Session) -> Result<T, PgError>,
    ) -> Result<Option<T>, StoreError> {
        let end = Instant::now() + self.limit;
        let _turn = self.until(end, self.turn.read()).await?;
        self.try_until(end, statement).await
    }

    async fn until<T>(&self, end: Instant, work: impl Future<Output = T>) -> Result<T, StoreError> {
        let limit = self.limit;
        timeout_at(end, work)
            .await
            .map_err(|_| StoreError::Away(format!("the database did not answer within {limit:?}")))
    }

    async fn try_until<T>(
        &self,
        end: Instant,
        work: impl AsyncFnOnce(&Session) -> Result<T, PgError>,
    ) -> Result<Option<T>, StoreError> {
        let session = self.until(end, self.session()).await??;
        // The answer of one that is late may still come: it must not be taken for another's.
        let done = self.until(end, work(&session)).await;
        match done.inspect_err(|_| session.give_up())? {
            Ok(done) => Ok(Some(done)),
            Err(PgError::Conflict) => Ok(None),
            Err(PgError::Away(why)) => {
                session.give_up();
                Err(StoreError::Away(why))
            }
            Err(PgError::Refused(why)) => Err(StoreError::Database(why)),
        }
    }

    async fn session(&self) -> Result<Rc<Session>, StoreError> {
        let mut link = self.link.clone();
        let known = link.wait_for(|link| !matches!(link, ConnectionState::Connecting));
        match known.await.map_err(|_| StoreError::Closed)?.clone() {
            ConnectionState::Up(session) if !session.is_lost() => Ok(session),
            ConnectionState::Away(why) => Err(StoreError::Away(why)),
            ConnectionState::Up(_) | ConnectionState::Connecting => {
                Err(StoreError::Away("the connection was lost".to_owned()))
            }
        }
    }
}

async fn retry_on_conflict<T>(
    session: &Session,
    work: impl AsyncFn(&Session) -> Result<T, PgError>,
) -> Result<T, PgError> {
    for _ in 1..TRIES {
        match work(session).await {
            Err(PgError::Conflict) => {}
            done => return done,
        }
    }
    work(session).await
}

async fn keep(server: PgServer, purpose: ConnectionRole, link: watch::Sender<ConnectionState>) {
    let mut is_away = false;
    loop {
        match connect(&server).await {
            Ok(session) => {
                if is_away && server.away.fetch_sub(1, Ordering::Relaxed) == 1 {
                    info!("{} is back", server.url);
                }
                is_away = false;
                let session = Rc::new(session);
                link.send_replace(ConnectionState::Up(Rc::clone(&session)));
                session.lost().await;
                link.send_replace(ConnectionState::Away("the connection was lost".to_owned()));
            }
            Err(trouble) => {
                if !is_away && server.away.fetch_add(1, Ordering::Relaxed) == 0 {
                    warn!("{} is away ({purpose:?}): {trouble}", server.url);
                }
                is_away = true;
                link.send_replace(ConnectionState::Away(trouble.to_string()));
                clock::pause(RECONNECT_INTERVAL).await;
            }
        }
    }
}

/// A connection to a database of this version, migrated if need be, for which it may take its time.
async fn connect(server: &PgServer) -> Result<Session, PgError> {
    let limit = CONNECTING.max(server.limit);
    let late = |_| PgError::Away(format!("no connection within {limit:?}"));
    let mut session = timeout(limit, Session::connect(server))
        .await
        .map_err(late)??;
    migrate::bring_up(session.client(), &migrate::MIGRATIONS).await?;
    let set_up = timeout(limit, session.set_up(server.limit));
    set_up.await.map_err(late)??;
    Ok(session)
}
