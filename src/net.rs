//! Outgoing connections to Acquire and Twilio: DNS, TCP, a forward proxy if one is set, and TLS with
//! verified certificates.
//!
//! It reads no setting and does not interpret a response. awc gets plain streams only: TLS is done
//! here, below awc, so that `AwcResponseFix` sees the decrypted bytes before awc does.

mod awc_fixes;
pub mod http_url;
pub mod proxy;
mod proxy_tunnel;
mod tcp;
pub mod tls;

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_service::{Service as _, fn_service};
use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Resolver};
use awc::Connector;
use awc::http::uri::Authority;
use awc::http::{Uri, header};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use self::awc_fixes::AwcResponseFix;
use self::proxy::Proxy;
pub use self::proxy_tunnel::ProxyTunnelError;
use self::tcp::PeekingTcpStream;
use crate::clock::Millis;

/// The `User-Agent` of the bridge's requests.
pub const USER_AGENT: &str = concat!("twilio-acquire-bridge/", env!("CARGO_PKG_VERSION"));

const HTTP: &str = "http://";

/// The URL of one request, in the form that awc needs for a plain stream.
pub struct OutboundUrl {
    /// Always `http://`, with the port of the real scheme.
    pub uri: Uri,
    /// Host and port as in the URL, for the `Host` header and for messages.
    pub authority: String,
}

impl OutboundUrl {
    pub fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?.as_str().to_owned();
        let port = match (uri.port_u16(), uri.scheme_str()?) {
            (Some(port), _) => port,
            (None, "https") => 443,
            (None, _) => 80,
        };
        let path = uri.path_and_query()?;
        let uri = format!("{HTTP}{}:{port}{path}", uri.host()?).parse().ok()?;
        Some(Self { uri, authority })
    }
}

/// The decrypted bytes of a connection.
pub type Stream = Box<dyn ByteStream>;

/// Any stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + fmt::Debug {}

impl<Io: AsyncRead + AsyncWrite + Unpin + fmt::Debug> ByteStream for Io {}

/// The TLS handshake did not succeed; carried through awc inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("TLS handshake failed")]
pub struct TlsHandshakeError(pub io::Error);

/// How long an idle connection is kept. Many servers close theirs after 5 s. To close earlier than
/// the server makes it rare that the server closes just while a request is in transit, which ends
/// that attempt as a reset.
const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(4);

/// How a client opens its connections.
pub struct OutboundConnector {
    /// Unencrypted without it.
    pub tls: Option<Arc<ClientConfig>>,
    pub proxy: Option<Proxy>,
    /// Resolves host names.
    pub names: Resolver,
    /// The time limit of one request. Opening a connection may use nine tenths of it, so that an
    /// unreachable host is distinguished from a late response.
    pub timeout: Duration,
}

/// A connection to the host of a URL.
pub type Connected = Connection<Uri, AwcResponseFix<Stream>>;

/// An awc client over `route`, without redirects, and with a time limit for opening connections only.
pub fn http_client(route: Rc<OutboundConnector>) -> awc::Client {
    let timeout = route.timeout;
    let open = move |to: ConnectInfo<Uri>| {
        let route = Rc::clone(&route);
        async move { route.open(to.request().clone()).await }
    };
    let connector = Connector::new()
        .connector(fn_service(open))
        .timeout(timeout)
        .conn_keep_alive(CLIENT_KEEP_ALIVE)
        // 0 means no limit: delivery.concurrency limits requests already.
        .limit(0);
    let client = awc::Client::builder()
        .connector(connector)
        .disable_redirects()
        // The callers have deadlines of their own, which cover the body too.
        .disable_timeout()
        .no_default_headers();
    client.finish()
}

/// The `Date` of the server of `base` (scheme, host, and path if any), by a HEAD request without
/// credentials.
pub async fn server_time(http: &awc::Client, base: &str, limit: Duration) -> Option<Millis> {
    let target = OutboundUrl::of(&format!("{base}/"))?;
    let request = http
        .head(target.uri.clone())
        .insert_header((header::HOST, target.authority.as_str()));
    let answer = timeout(limit, request.send()).await.ok()?.ok()?;
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Millis(0).plus(since))
}

impl OutboundConnector {
    /// Opens a connection to the host and port of `uri`.
    pub async fn open(&self, uri: Uri) -> Result<Connected, ConnectError> {
        let limit = self.timeout * 9 / 10;
        let deadline = Instant::now() + limit;
        let connection = match &self.proxy {
            None => self.connect(uri, deadline).await?,
            Some(proxy) => {
                let opening = self.tunnel(proxy, uri, deadline);
                let opened = timeout_at(deadline, opening).await;
                opened
                    .unwrap_or_else(|_| Err(ProxyTunnelError::TimeOut(proxy.authority(), limit)))
                    .map_err(|why| ConnectError::Io(io::Error::other(why)))?
            }
        };
        // A request is small and written at once, so Nagle's algorithm would only delay it.
        let PeekingTcpStream(socket) = connection.io_ref();
        socket.set_nodelay(true).map_err(ConnectError::Io)?;
        let Some(tls) = self.tls.clone() else {
            return Ok(wrap(connection));
        };
        let handshake = TlsConnector::service(tls).call(connection);
        timeout_at(deadline, handshake)
            .await
            .map_err(|_| timed_out())?
            .map(wrap)
            .map_err(|error| ConnectError::Io(io::Error::other(TlsHandshakeError(error))))
    }

    /// Opens TCP to the host and port of `uri`, without the proxy.
    async fn connect(&self, uri: Uri, deadline: Instant) -> Result<Plain, ConnectError> {
        let literal = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let address = literal.parse().ok().zip(uri.port_u16());
        let to = match address {
            Some((ip, port)) => ConnectInfo::with_addr(uri, SocketAddr::new(ip, port)),
            None => ConnectInfo::new(uri),
        };
        let named = timeout_at(deadline, self.names.service().call(to)).await;
        let mut named = named.map_err(|_| ConnectError::Resolver(Box::new(DnsTimeoutError)))??;
        let socket = first_open(named.take_addrs(), deadline).await?;
        Ok(Connection::new(
            named.request().clone(),
            PeekingTcpStream(socket),
        ))
    }

    async fn tunnel(
        &self,
        proxy: &Proxy,
        uri: Uri,
        deadline: Instant,
    ) -> Result<Plain, ProxyTunnelError> {
        let name = proxy.authority();
        let unreachable =
            |why: &dyn Error| ProxyTunnelError::Unreachable(name.clone(), why.to_string());
        let proxy_uri = format!("{HTTP}{name}").parse::<Uri>();
        let proxy_uri = proxy_uri.map_err(|why| unreachable(&why))?;
        let connection = self.connect(proxy_uri, deadline).await;
        let (socket, _) = connection
            .map_err(|why| unreachable(root_cause(&why)))?
            .into_parts();
        let target = uri.authority().map_or("", Authority::as_str);
        let socket = proxy_tunnel::open(socket, proxy, target).await?;
        Ok(Connection::new(uri, socket))
    }
}

/// Tries one address after another. Each gets its share of the remaining time, so that an address
/// that never answers leaves time for the others.
async fn first_open(
    addresses: impl ExactSizeIterator<Item = SocketAddr>,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut last = ConnectError::NoRecords;
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(why)) => ConnectError::Io(why),
            Err(_) => timed_out(),
        };
    }
    Err(last)
}

type Plain = Connection<Uri, PeekingTcpStream>;

#[derive(Debug, thiserror::Error)]
#[error("no name server answered in time")]
struct DnsTimeoutError;

fn timed_out() -> ConnectError {
    ConnectError::Io(io::ErrorKind::TimedOut.into())
}

fn wrap<Io: ByteStream + 'static>(connection: Connection<Uri, Io>) -> Connected {
    let (io, uri) = connection.into_parts();
    Connection::new(uri, AwcResponseFix::new(Box::new(io)))
}

/// The innermost cause, because the outer ones say only that something failed.
pub fn root_cause<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_https_url_becomes_http_with_the_same_port_and_host() {
        for (url, uri, authority) in [
            (
                "https://acme.acquire.io/api/v1?x=1",
                "http://acme.acquire.io:443/api/v1?x=1",
                "acme.acquire.io",
            ),
            (
                "https://acme.acquire.io:8443/a",
                "http://acme.acquire.io:8443/a",
                "acme.acquire.io:8443",
            ),
            ("http://127.0.0.1/a", "http://127.0.0.1:80/a", "127.0.0.1"),
        ] {
            let target = OutboundUrl::of(url).expect("it is a URL");
            assert_eq!(target.uri.to_string(), uri);
            assert_eq!(target.authority, authority);
        }
        for no_url in ["", "/path", "https://", "https://a b/", "acme.acquire.io"] {
            assert!(OutboundUrl::of(no_url).is_none(), "{no_url:?}");
        }
    }
}
