//! Connections on their way out: a client that has connected is answered before its connection is
//! closed.

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

/// How long the acceptor may take to notice that it is to rest, on a busy machine too: what it accepts
/// later is closed unanswered.
const ACCEPTOR_PAUSE_DELAY: Duration = Duration::from_millis(300);

/// How long a client that has connected may take to ask, once the bridge is stopping. What was asked
/// has longer.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two looks at whether all have been answered.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Whose a listening socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOwner {
    /// Bound by the bridge, and closed with it.
    Bridge,
    /// Handed over by systemd: what is not yet accepted waits for the next process.
    Systemd,
}

/// The connections of one listener.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Cancelled when the bridge is stopping: from then on each answer is its connection's last.
    stop: CancellationToken,
    /// Cancelled once all are answered.
    closing: CancellationToken,
    /// Open, and neither idle between two requests nor closed.
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

    /// To be called for each connection that was accepted, with its data.
    pub fn begin(&self, data: &mut Extensions) {
        data.insert(Rc::new(self.guard()));
    }

    /// As [`Connections::begin`], for a connection that has no data yet: it is to get this, in an `Rc`.
    #[must_use]
    pub fn guard(&self) -> ConnectionGuard {
        ConnectionGuard::begin(&self.busy)
    }

    /// Returns when connections that rest are to be closed.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        self.closing.clone().cancelled_owned()
    }

    /// Answers a request by `inner`.
    pub fn serve<S, B>(
        &self,
        request: ServiceRequest,
        inner: &S,
    ) -> impl Future<Output = Result<ServiceResponse<B>, Error>> + use<S, B>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
    {
        let visit = request.conn_data::<Rc<ConnectionGuard>>().cloned();
        if let Some(visit) = &visit {
            visit.mark_busy();
        }
        let answer = inner.call(request);
        let stop = self.stop.clone();
        async move {
            let mut answer = answer.await?;
            if stop.is_cancelled() {
                let head = answer.response_mut().head_mut();
                head.set_connection_type(ConnectionType::Close);
            } else if let Some(visit) = visit {
                visit.mark_idle();
            }
            Ok(answer)
        }
    }

    /// Closes the listener: accepts no more, answers who has connected, and finishes what is in
    /// flight. actix alone would close each connection that has not asked yet, and looks only once a
    /// second whether all are gone.
    pub async fn close(&self, server: &ServerHandle, owner: SocketOwner) {
        if owner == SocketOwner::Systemd {
            // Returns before the acceptor has noticed.
            server.pause().await;
            clock::pause(ACCEPTOR_PAUSE_DELAY).await;
        }
        let _ = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, self.all_are_answered()).await;
        self.closing.cancel();
        server.stop(true).await;
    }

    async fn all_are_answered(&self) {
        while self.busy.load(Ordering::Acquire) > 0 {
            clock::pause(DRAIN_POLL_INTERVAL).await;
        }
    }
}

/// A connection, counted while it is owed something: from its begin to its first answer, during each
/// request, and from its last answer until it is closed.
pub struct ConnectionGuard {
    busy: Arc<AtomicUsize>,
    counts: Cell<bool>,
}

impl ConnectionGuard {
    fn begin(owed: &Arc<AtomicUsize>) -> Self {
        let visit = Self {
            busy: Arc::clone(owed),
            counts: Cell::new(false),
        };
        visit.mark_busy();
        visit
    }

    fn mark_busy(&self) {
        if !self.counts.replace(true) {
            self.busy.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn mark_idle(&self) {
        if self.counts.replace(false) {
            self.busy.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.mark_idle();
    }
}
