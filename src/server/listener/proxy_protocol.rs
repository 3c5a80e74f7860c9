//! Accepts connections and finds the client's address. On the public listener with
//! `server.proxy_protocol = "required"`, only trusted proxies may connect, and each connection must
//! start with a header that names the client.
//!
//! The protocol is in <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Its section 2
//! forbids a receiver to guess whether there is a header, so a connection without one is closed.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_proxy_protocol::{Command, Header, ProxyProtocolError, ProxyStream};
use actix_rt::net::TcpStream;
use actix_tls::accept::TlsError;
use tracing::warn;

use super::connection::ClientConnection;
use super::drain::Connections;
use crate::clock;
use crate::config::{Config, ProxyProtocolSetting, duration};
use crate::server::client_ip;
use crate::server::connections::tracker::Tracker;
use crate::server::refusal_log::UNKNOWN_CLIENT;
use crate::server::shared::BridgeParts;

/// The most bytes that a header of version 2 may announce. Addresses have at most 216; the rest are fields
/// such as a client's certificate.
const MAX_HEADER: usize = 4_096;

/// Pause between two checks for room.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Why a connection is closed before a handler gets its request.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedConnectionError {
    #[error(
        "only trusted proxies may connect where server.proxy_protocol is \"required\"; add its address to \
         server.trusted_proxies if it is your balancer"
    )]
    Untrusted,
    #[error(
        "it started without a PROXY protocol header: let the balancer send one (HAProxy: send-proxy-v2), \
         also with its health checks of this port, or set server.proxy_protocol = \"off\""
    )]
    Missing,
    #[error("its PROXY protocol header is broken: {0}")]
    Broken(String),
    #[error("it sent no complete PROXY protocol header within {} (server.request_timeout)", duration::show(*.0))]
    Late(Duration),
    #[error("all {0} connections ({1}) are being answered")]
    Full(usize, &'static str),
    #[error(
        "all {0} connections of this client (server.max_connections_per_client) are being answered"
    )]
    TooMany(usize),
    #[error(
        "its TLS handshake failed ({0}); `doctor` checks the certificate (server.tls_cert_file)"
    )]
    Tls(String),
    #[error("its request is not HTTP/1.1 that can be read (answered 400)")]
    MalformedHttp,
    #[error("its first request was not complete within server.request_timeout (answered 408)")]
    LateRequest,
    #[error("the head of its request is too large (answered 431)")]
    LargeHead,
    #[error("the bridge is stopping, or needs its place")]
    Closed,
}

impl RefusedConnectionError {
    /// The label of the metric; `None` if the client did nothing wrong.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Untrusted => Some("untrusted"),
            Self::Missing => Some("missing-header"),
            Self::Broken(_) => Some("broken-header"),
            Self::Late(_) => Some("late-header"),
            Self::Full(..) => Some("full"),
            Self::TooMany(_) => Some("client-limit"),
            Self::Tls(_) => Some("tls-handshake"),
            Self::MalformedHttp => Some("malformed-http"),
            Self::LateRequest => Some("late-request"),
            Self::LargeHead => Some("large-head"),
            Self::Closed => None,
        }
    }
}

impl From<ProxyProtocolError> for RefusedConnectionError {
    fn from(why: ProxyProtocolError) -> Self {
        match why {
            ProxyProtocolError::Io(_) | ProxyProtocolError::MissingHeader => Self::Missing,
            ProxyProtocolError::Parse(why) => Self::Broken(why.to_string()),
            ProxyProtocolError::Service(never) => match never {},
        }
    }
}

/// Turns each TCP stream into a [`ClientConnection`], or closes it.
pub(super) struct ConnectionAcceptor {
    bridge: BridgeParts,
    connections: Connections,
    proxy_protocol: ProxyProtocolSetting,
}

impl ConnectionAcceptor {
    pub fn new(
        bridge: &BridgeParts,
        connections: &Connections,
        proxy_protocol: ProxyProtocolSetting,
    ) -> Self {
        Self {
            bridge: bridge.clone(),
            connections: connections.clone(),
            proxy_protocol,
        }
    }

    pub async fn accept(
        self: Arc<Self>,
        tcp: TcpStream,
    ) -> Result<ClientConnection, RefusedConnectionError> {
        let peer = tcp.peer_addr().ok();
        let refuse = |why: &RefusedConnectionError| self.log_refusal(peer, why);
        let tracker = self.track().await.inspect_err(refuse)?;
        let mut connection = ClientConnection::new(tcp, peer, tracker);
        self.admit(&mut connection).await.inspect_err(refuse)?;
        Ok(connection)
    }

    /// Reads the header, if one is required, and counts the connections of the client.
    async fn admit(&self, connection: &mut ClientConnection) -> Result<(), RefusedConnectionError> {
        let config = Arc::clone(&self.bridge.config.borrow());
        if self.proxy_protocol == ProxyProtocolSetting::Required {
            let client = self.client(connection, &config).await;
            if connection.tracker.is_closed() {
                return Err(RefusedConnectionError::Closed);
            }
            connection.client = client?;
        }
        let trusted = &config.server.trusted_proxies;
        let client = connection.client.map(|client| client.ip().to_canonical());
        // All of Twilio comes from the addresses of a balancer.
        if let Some(client) = client.filter(|client| !client_ip::is_trusted(*client, trusted))
            && !connection.tracker.assign(client)
        {
            let limit = self.connections.open().limits.per_client;
            return Err(RefusedConnectionError::TooMany(limit));
        }
        Ok(())
    }

    /// Waits while all connections are being answered: each of them is so for a short time.
    async fn track(&self) -> Result<Tracker, RefusedConnectionError> {
        let open = self.connections.open();
        let until = Instant::now() + open.limits.request;
        loop {
            if let Some(tracker) = Tracker::new(open) {
                return Ok(tracker);
            }
            if Instant::now() >= until {
                return Err(RefusedConnectionError::Full(
                    open.limits.total,
                    open.limits.total_setting,
                ));
            }
            clock::pause(RETRY_INTERVAL).await;
        }
    }

    async fn client(
        &self,
        connection: &mut ClientConnection,
        config: &Config,
    ) -> Result<Option<SocketAddr>, RefusedConnectionError> {
        let peer = connection.client;
        let trusted = &config.server.trusted_proxies;
        // Checked before the header is read: any other sender could name any client in it.
        if !peer.is_some_and(|peer| client_ip::is_trusted(peer.ip(), trusted)) {
            return Err(RefusedConnectionError::Untrusted);
        }
        let limit = config.server.request_timeout;
        // actix reads what a header announces into one buffer of that length.
        connection.max_read = MAX_HEADER;
        let header = tokio::select! {
            header = tokio::time::timeout(limit, ProxyStream::accept(&mut *connection)) => header,
            () = self.connections.closing() => return Err(RefusedConnectionError::Closed),
        };
        let mut stream = header.map_err(|_| RefusedConnectionError::Late(limit))??;
        let header = stream
            .take_header()
            .ok_or(RefusedConnectionError::Missing)?;
        connection.max_read = usize::MAX;
        Ok(source(&header)?.or(peer))
    }

    /// Counts and logs a failed handshake. A connection that sends nothing is the health check of a
    /// balancer.
    pub fn log_handshake(&self, why: &TlsError<io::Error, Infallible>) {
        let why = match why {
            TlsError::Tls(why) if why.kind() == ErrorKind::UnexpectedEof => return,
            TlsError::Tls(why) => why.to_string(),
            TlsError::Timeout => "it was not finished within server.request_timeout".to_owned(),
            TlsError::Service(never) => match *never {},
        };
        self.log_refusal(None, &RefusedConnectionError::Tls(why));
    }

    /// Counts and logs a request that actix answers without calling a handler.
    pub fn log_unhandled(&self, client: Option<SocketAddr>, status: u16) {
        let why = match status {
            408 => RefusedConnectionError::LateRequest,
            431 => RefusedConnectionError::LargeHead,
            _ => RefusedConnectionError::MalformedHttp,
        };
        self.log_refusal(client, &why);
    }

    fn log_refusal(&self, peer: Option<SocketAddr>, why: &RefusedConnectionError) {
        let Some(reason) = why.reason() else {
            return;
        };
        self.bridge.metrics.connection_refused(reason).inc();
        let client = peer.map(|peer| peer.ip().to_string());
        let (refusals, now) = (&self.bridge.refusals, self.bridge.clock.now());
        if refusals.note(reason, client.as_deref(), now) == 0 {
            let client = client.as_deref().unwrap_or(UNKNOWN_CLIENT);
            warn!(client, reason, "closed a connection of {client}: {why}");
        }
    }
}

/// The client's address in a header. `None` if the balancer itself is the client, as in its health
/// checks, or if it does not know the address.
fn source(header: &Header) -> Result<Option<SocketAddr>, RefusedConnectionError> {
    if let Header::V2(header) = header {
        if header.validate_crc32c_tlv() == Some(false) {
            return Err(RefusedConnectionError::Broken(
                "its checksum is wrong".to_owned(),
            ));
        }
        if header.command() == Command::Local {
            return Ok(None);
        }
    }
    Ok(header.source_addr())
}
