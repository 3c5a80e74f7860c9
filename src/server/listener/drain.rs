//! Closes a listener without losing a request: a client that has connected is answered before its
//! connection is closed.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServerHandle, Service, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::web::Bytes;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::server::connections::tracker::Tracker;
use crate::server::connections::{ConnectionLimits, OpenConnections};

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

/// The connections of one listener, and how they end.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Cancelled when the bridge is stopping: from then on each answer closes its connection.
    stop: CancellationToken,
    /// Cancelled once all connections are idle.
    closing: CancellationToken,
    open: Arc<OpenConnections>,
}

impl Connections {
    /// Starts the task that closes connections at their deadlines.
    pub fn start(limits: ConnectionLimits, stop: CancellationToken) -> Self {
        let open = OpenConnections::new(limits);
        tokio::spawn(OpenConnections::close_late(Arc::downgrade(&open)));
        Self {
            stop,
            closing: CancellationToken::new(),
            open,
        }
    }

    pub fn open(&self) -> &Arc<OpenConnections> {
        &self.open
    }

    /// Returns when idle connections are to be closed.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        self.closing.clone().cancelled_owned()
    }

    /// Calls `inner` with a request, and follows its answer to the end.
    pub fn serve<S, B>(
        &self,
        request: ServiceRequest,
        inner: &S,
    ) -> impl Future<Output = Result<ServiceResponse<TrackedAnswer<B>>, Error>> + use<S, B>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
    {
        let tracker = request.conn_data::<Rc<Tracker>>().cloned();
        if let Some(tracker) = &tracker {
            tracker.request(body_length(request.headers()));
        }
        let mut answering = Answering {
            tracker,
            closes: false,
        };
        // Called here, because the returned future must not borrow `inner`.
        let answer = inner.call(request);
        let stop = self.stop.clone();
        async move {
            let mut answer = answer.await?;
            if stop.is_cancelled() {
                let head = answer.response_mut().head_mut();
                head.set_connection_type(ConnectionType::Close);
                answering.closes = true;
            }
            Ok(answer.map_body(|_, body| TrackedAnswer {
                body: Box::pin(body),
                _answering: answering,
            }))
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
        loop {
            let [_, reading, busy] = self.open.counts();
            if reading + busy == 0 {
                return;
            }
            clock::pause(DRAIN_POLL_INTERVAL).await;
        }
    }
}

/// `None` if the body is chunked.
fn body_length(headers: &HeaderMap) -> Option<usize> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let length = headers.get(CONTENT_LENGTH);
    // actix has checked the number.
    length.map_or(Some(0), |length| length.to_str().ok()?.parse().ok())
}

/// Ends the request when it is dropped.
struct Answering {
    tracker: Option<Rc<Tracker>>,
    /// The connection stays busy until it is closed, because [`Connections::close`] waits for that.
    closes: bool,
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(tracker) = self.tracker.take_if(|_| !self.closes) {
            tracker.answered();
        }
    }
}

/// The body of an answer. actix drops it once all of it is in its buffer.
pub struct TrackedAnswer<B> {
    body: Pin<Box<B>>,
    _answering: Answering,
}

impl<B: MessageBody> MessageBody for TrackedAnswer<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.body.as_mut().poll_next(context)
    }
}
