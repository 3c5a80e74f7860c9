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
const REST: Duration = Duration::from_millis(300);

/// How long a client that has connected may take to ask, once the bridge is stopping. What was asked
/// has longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at whether all have been answered.
const LOOK: Duration = Duration::from_millis(10);

/// Whose a listening socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
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
    owed: Arc<AtomicUsize>,
}

impl Connections {
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            closing: CancellationToken::new(),
            owed: Arc::default(),
        }
    }

    /// To be called for each connection that was accepted, with its data.
    pub fn begin(&self, data: &mut Extensions) {
        data.insert(Rc::new(self.visit()));
    }

    /// As [`Connections::begin`], for a connection that has no data yet: it is to get this, in an `Rc`.
    #[must_use]
    pub fn visit(&self) -> Visit {
        Visit::begin(&self.owed)
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
        let visit = request.conn_data::<Rc<Visit>>().cloned();
        if let Some(visit) = &visit {
            visit.asks();
        }
        let answer = inner.call(request);
        let stop = self.stop.clone();
        async move {
            let mut answer = answer.await?;
            if stop.is_cancelled() {
                let head = answer.response_mut().head_mut();
                head.set_connection_type(ConnectionType::Close);
            } else if let Some(visit) = visit {
                visit.rests();
            }
            Ok(answer)
        }
    }

    /// Closes the listener: accepts no more, answers who has connected, and finishes what is in
    /// flight. actix alone would close each connection that has not asked yet, and looks only once a
    /// second whether all are gone.
    pub async fn close(&self, server: &ServerHandle, owner: Owner) {
        if owner == Owner::Systemd {
            // Returns before the acceptor has noticed.
            server.pause().await;
            clock::pause(REST).await;
        }
        let _ = tokio::time::timeout(PATIENCE, self.all_are_answered()).await;
        self.closing.cancel();
        server.stop(true).await;
    }

    async fn all_are_answered(&self) {
        while self.owed.load(Ordering::Acquire) > 0 {
            clock::pause(LOOK).await;
        }
    }
}

/// A connection, counted while it is owed something: from its begin to its first answer, during each
/// request, and from its last answer until it is closed.
pub struct Visit {
    owed: Arc<AtomicUsize>,
    counts: Cell<bool>,
}

impl Visit {
    fn begin(owed: &Arc<AtomicUsize>) -> Self {
        let visit = Self {
            owed: Arc::clone(owed),
            counts: Cell::new(false),
        };
        visit.asks();
        visit
    }

    fn asks(&self) {
        if !self.counts.replace(true) {
            self.owed.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn rests(&self) {
        if self.counts.replace(false) {
            self.owed.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.rests();
    }
}
