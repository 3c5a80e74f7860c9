//! Closes a listener without losing a request: a client that has connected is answered before its
//! connection is closed.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServerHandle, Service, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// How long the acceptor may take to pause, on a busy machine too. actix closes a connection that is
/// accepted later without an answer.
const ACCEPTOR_PAUSE_DELAY: Duration = Duration::from_millis(300);

/// How long a connected client may take to send its first request, once the bridge is stopping.
/// Requests in flight have longer.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two checks whether all connections are idle.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Which process keeps a listening socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOwner {
    /// Bound by the bridge, and closed with it.
    Bridge,
    /// Opened by systemd: a connection that is not yet accepted waits for the next process.
    Systemd,
}

/// The connections of one listener.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Cancelled when the bridge is stopping: from then on each answer closes its connection.
    stop: CancellationToken,
    /// Cancelled once all connections are idle.
    closing: CancellationToken,
    /// Connections that are open and not idle between two requests.
    busy: Arc<AtomicUsize>,
}

impl Connections {
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            closing: CancellationToken::new(),
            busy: Arc::default(),
        }
    }

    /// Counts an accepted connection. Its requests find the guard in `data`.
    pub fn count(&self, data: &mut Extensions) {
        data.insert(Rc::new(self.guard()));
    }

    /// As [`Connections::count`], for a connection that has no data yet. The caller puts the guard
    /// there, in an `Rc`.
    #[must_use]
    pub fn guard(&self) -> ConnectionGuard {
        ConnectionGuard::new(&self.busy)
    }

    /// Returns when idle connections are to be closed.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        self.closing.clone().cancelled_owned()
    }

    /// Calls `inner` with a request, and marks its connection as busy until the answer.
    pub fn serve<S, B>(
        &self,
        request: ServiceRequest,
        inner: &S,
    ) -> impl Future<Output = Result<ServiceResponse<B>, Error>> + use<S, B>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
    {
        let guard = request.conn_data::<Rc<ConnectionGuard>>().cloned();
        if let Some(guard) = &guard {
            guard.mark_busy();
        }
        // Called here, because the returned future must not borrow `inner`.
        let answer = inner.call(request);
        let stop = self.stop.clone();
        async move {
            let mut answer = answer.await?;
            // Left busy: the connection is closed after this answer, and `close` waits for that.
            if stop.is_cancelled() {
                let head = answer.response_mut().head_mut();
                head.set_connection_type(ConnectionType::Close);
            } else if let Some(guard) = guard {
                guard.mark_idle();
            }
            Ok(answer)
        }
    }

    /// Closes the listener: accepts no more connections, answers the connected clients, and finishes
    /// the requests in flight. actix alone would close connections that have sent no request yet, and
    /// it checks only once per second whether all are closed.
    pub async fn close(&self, server: &ServerHandle, owner: SocketOwner) {
        // systemd's socket stays open, so connections would still be accepted during the stop.
        if owner == SocketOwner::Systemd {
            // Returns before the acceptor has paused.
            server.pause().await;
            clock::pause(ACCEPTOR_PAUSE_DELAY).await;
        }
        // A client that sends nothing must not hold up the stop.
        let _ = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, self.all_idle()).await;
        self.closing.cancel();
        server.stop(true).await;
    }

    async fn all_idle(&self) {
        while self.busy.load(Ordering::Acquire) > 0 {
            clock::pause(DRAIN_POLL_INTERVAL).await;
        }
    }
}

/// Counts a connection as busy: from its start to its first answer, during each request, and from its
/// last answer until it is closed.
pub struct ConnectionGuard {
    busy: Arc<AtomicUsize>,
    is_counted: Cell<bool>,
}

impl ConnectionGuard {
    fn new(busy: &Arc<AtomicUsize>) -> Self {
        let guard = Self {
            busy: Arc::clone(busy),
            is_counted: Cell::new(false),
        };
        guard.mark_busy();
        guard
    }

    fn mark_busy(&self) {
        // A new connection counts already when its first request arrives.
        if !self.is_counted.replace(true) {
            self.busy.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn mark_idle(&self) {
        if self.is_counted.replace(false) {
            self.busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.mark_idle();
    }
}
