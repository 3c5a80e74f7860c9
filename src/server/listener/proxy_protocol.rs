//! Accepts connections on the public listener and finds the client's address. With
//! `server.proxy_protocol = "required"`, only trusted proxies may connect, and each connection must
//! start with a header that names the client.
//!
//! The protocol is in <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Its section 2
//! forbids a receiver to guess whether there is a header, so a connection without one is closed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_proxy_protocol::{Command, Header, ProxyProtocolError, ProxyStream};
use actix_rt::net::TcpStream;
use tracing::warn;

use super::connection::ClientConnection;
use super::drain::Connections;
use crate::clock::Millis;
use crate::config::{Config, ProxyProtocolSetting, duration};
use crate::server::client_ip;
use crate::server::shared::BridgeParts;

/// Pause between two log lines with the same reason. The metric counts all connections.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
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
    #[error("the bridge is stopping")]
    Stopping,
}

impl ProxyHeaderError {
    /// The label of the metric; `None` if the client did nothing wrong.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Untrusted => Some("untrusted"),
            Self::Missing => Some("missing-header"),
            Self::Broken(_) => Some("broken-header"),
            Self::Late(_) => Some("late-header"),
            Self::Stopping => None,
        }
    }
}

impl From<ProxyProtocolError> for ProxyHeaderError {
    fn from(why: ProxyProtocolError) -> Self {
        match why {
            ProxyProtocolError::Io(_) | ProxyProtocolError::MissingHeader => Self::Missing,
            ProxyProtocolError::Parse(why) => Self::Broken(why.to_string()),
            ProxyProtocolError::Service(never) => match never {},
        }
    }
}

/// Turns each TCP stream into a [`ClientConnection`], or closes it.
pub(super) struct ProxyProtocolAcceptor {
    bridge: BridgeParts,
    connections: Connections,
    /// By reason.
    last_logged_at: Mutex<BTreeMap<&'static str, Millis>>,
}

impl ProxyProtocolAcceptor {
    pub fn new(bridge: &BridgeParts, connections: &Connections) -> Self {
        Self {
            bridge: bridge.clone(),
            connections: connections.clone(),
            last_logged_at: Mutex::default(),
        }
    }

    /// Reads the header, if one is required. The connection is counted as busy from here on.
    pub async fn accept(
        self: Arc<Self>,
        mut tcp: TcpStream,
    ) -> Result<ClientConnection, ProxyHeaderError> {
        // Counted before the header arrives, so that a stop waits for a client that is connecting.
        let guard = self.connections.guard();
        let peer = tcp.peer_addr().ok();
        let config = Arc::clone(&self.bridge.config.borrow());
        let client = match config.server.proxy_protocol {
            ProxyProtocolSetting::Off => peer,
            ProxyProtocolSetting::Required => self
                .client(&mut tcp, peer, &config)
                .await
                .inspect_err(|why| self.log_refusal(peer, why))?,
        };
        Ok(ClientConnection::new(tcp, client, guard))
    }

    async fn client(
        &self,
        tcp: &mut TcpStream,
        peer: Option<SocketAddr>,
        config: &Config,
    ) -> Result<Option<SocketAddr>, ProxyHeaderError> {
        let trusted = &config.server.trusted_proxies;
        // Checked before the header is read: any other sender could name any client in it.
        if !peer.is_some_and(|peer| client_ip::is_trusted(peer.ip(), trusted)) {
            return Err(ProxyHeaderError::Untrusted);
        }
        let limit = config.server.request_timeout;
        let header = tokio::select! {
            header = tokio::time::timeout(limit, ProxyStream::accept(tcp)) => header,
            () = self.connections.closing() => return Err(ProxyHeaderError::Stopping),
        };
        let mut stream = header.map_err(|_| ProxyHeaderError::Late(limit))??;
        let header = stream.take_header().ok_or(ProxyHeaderError::Missing)?;
        Ok(source(&header)?.or(peer))
    }

    fn log_refusal(&self, peer: Option<SocketAddr>, why: &ProxyHeaderError) {
        let Some(reason) = why.reason() else {
            return;
        };
        self.bridge.metrics.connection_refused(reason);
        let now = self.bridge.clock.now();
        // The map is valid even if a thread panicked: at worst one line more is logged.
        let mut last_logged_at = self
            .last_logged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = last_logged_at.get(reason);
        if last.is_none_or(|last| now.since(*last) >= LOG_INTERVAL) {
            last_logged_at.insert(reason, now);
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
            warn!(
                client = peer,
                reason, "closed a connection of {peer}: {why}"
            );
        }
    }
}

/// The client's address in a header. `None` if the balancer itself is the client, as in its health
/// checks, or if it does not know the address.
fn source(header: &Header) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    if let Header::V2(header) = header {
        if header.validate_crc32c_tlv() == Some(false) {
            return Err(ProxyHeaderError::Broken("its checksum is wrong".to_owned()));
        }
        if header.command() == Command::Local {
            return Ok(None);
        }
    }
    Ok(header.source_addr())
}
