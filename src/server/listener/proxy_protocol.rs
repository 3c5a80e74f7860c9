//! Who may come in on Twilio's side, and as whom: with `server.proxy_protocol` balancers alone, each
//! with a header that names its client.
//!
//! The protocol is in <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Its section 2
//! forbids to guess whether there is a header: what does not begin with one is no connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_proxy_protocol::{Command, Header, ProxyProtocolError, ProxyStream};
use actix_rt::net::TcpStream;
use tokio::sync::watch;
use tracing::warn;

use super::connection::ClientConnection;
use crate::clock::{Clock, Millis};
use crate::config::{Config, ProxyProtocolSetting, duration};
use crate::server::client_ip;
use crate::server::listener::drain::Connections;
use crate::server::shared::BridgeParts;
use crate::telemetry::metrics::Metrics;

/// Between two lines of the log that give the same reason; all are counted.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
    #[error(
        "only balancers may connect where server.proxy_protocol is \"required\", and server.trusted_proxies does not have it"
    )]
    Untrusted,
    #[error(
        "it began without a PROXY protocol header: let the balancer send one (HAProxy: send-proxy-v2), with its checks of this port too, or set server.proxy_protocol = \"off\""
    )]
    Missing,
    #[error("its PROXY protocol header is broken: {0}")]
    Broken(String),
    #[error("it sent no whole PROXY protocol header within {} (server.request_timeout)", duration::show(*.0))]
    Late(Duration),
    #[error("the bridge stops")]
    Stopping,
}

impl ProxyHeaderError {
    /// As the metric names it; `None` where nothing is wrong.
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

/// Lets connections in, one by one.
pub(super) struct ProxyProtocolAcceptor {
    config: watch::Receiver<Arc<Config>>,
    connections: Connections,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// When each reason was last logged.
    last_logged_at: Mutex<BTreeMap<&'static str, Millis>>,
}

impl ProxyProtocolAcceptor {
    pub fn new(shared: &BridgeParts, connections: &Connections) -> Self {
        Self {
            config: shared.config.clone(),
            connections: connections.clone(),
            metrics: Arc::clone(&shared.metrics),
            clock: shared.clock.clone(),
            last_logged_at: Mutex::default(),
        }
    }

    /// Owed from now on, and known by its client's address.
    pub async fn accept(
        self: Arc<Self>,
        mut tcp: TcpStream,
    ) -> Result<ClientConnection, ProxyHeaderError> {
        let visit = self.connections.guard();
        let peer = tcp.peer_addr().ok();
        let config = Arc::clone(&self.config.borrow());
        let client = match config.server.proxy_protocol {
            ProxyProtocolSetting::Off => peer,
            ProxyProtocolSetting::Required => self
                .client(&mut tcp, peer, &config)
                .await
                .inspect_err(|why| self.log_refusal(peer, why))?,
        };
        Ok(ClientConnection::new(tcp, client, visit))
    }

    async fn client(
        &self,
        tcp: &mut TcpStream,
        peer: Option<SocketAddr>,
        config: &Config,
    ) -> Result<Option<SocketAddr>, ProxyHeaderError> {
        let trusted = &config.server.trusted_proxies;
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
        self.metrics.connection_refused(reason);
        let now = self.clock.now();
        let mut told = self
            .last_logged_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = told.get(reason);
        if last.is_none_or(|last| now.since(*last) >= LOG_INTERVAL) {
            told.insert(reason, now);
            let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string());
            warn!(
                client = peer,
                reason, "closed a connection of {peer}: {why}"
            );
        }
    }
}

/// Whom a header speaks for; `None` where the balancer speaks for itself, as in its checks, or knows
/// no address.
fn source(header: &Header) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    if let Header::V2(header) = header {
        if header.validate_crc32c_tlv() == Some(false) {
            return Err(ProxyHeaderError::Broken(
                "its checksum does not hold".to_owned(),
            ));
        }
        if header.command() == Command::Local {
            return Ok(None);
        }
    }
    Ok(header.source_addr())
}
