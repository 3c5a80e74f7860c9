//! Connections that the bridge opens, to Acquire and to Twilio: TCP, and TLS with verified
//! certificates.
//!
//! awc is given plain streams only: TLS is made here, below it, so that `FinalAnswers` stands
//! between the two.

mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_service::{Service as _, fn_service};
use actix_tls::connect::rustls_0_23::TlsConnector;
use actix_tls::connect::{self as tcp, ConnectError, ConnectInfo, Connection};
use awc::Connector;
use awc::http::Uri;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use self::wire::FinalAnswers;

const HTTP: &str = "http://";

/// Where one request goes, in the form that awc wants for a plain stream.
pub struct Target {
    /// `http://` always, and with the port of the true scheme.
    pub uri: Uri,
    /// Host and port as the URL has them, for the `Host` header and for people.
    pub authority: String,
}

impl Target {
    #[must_use]
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

/// A connection's bytes, plain for us, whatever is beneath.
pub type Stream = Box<dyn Bytes>;

pub trait Bytes: AsyncRead + AsyncWrite + Unpin + fmt::Debug {}

impl<Io: AsyncRead + AsyncWrite + Unpin + fmt::Debug> Bytes for Io {}

/// The TLS handshake did not succeed; carried through awc inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("TLS handshake failed")]
pub struct HandshakeFailed(pub io::Error);

/// How long an unused connection is kept. Many servers close theirs after 5 s: one that the peer
/// has closed is noticed when it is taken from the pool, and leaving earlier than the peer makes it
/// rare that it closes just while a request is under way (that one attempt ends as a reset).
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// awc over TLS where `tls` is given, in the clear otherwise: no redirects, and no time limit but
/// that of its user beyond `timeout` for connecting.
#[must_use]
pub fn http_client(tls: Option<Arc<ClientConfig>>, timeout: Duration) -> awc::Client {
    let connector = Connector::new()
        .connector(fn_service(move |to| connect(to, tls.clone())))
        .timeout(timeout)
        .conn_keep_alive(KEEP_ALIVE)
        .limit(0);
    let client = awc::Client::builder()
        .connector(connector)
        .disable_redirects()
        .disable_timeout()
        .no_default_headers();
    client.finish()
}

async fn connect(
    to: ConnectInfo<Uri>,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Connection<Uri, FinalAnswers<Stream>>, ConnectError> {
    let connection = tcp::Connector::default().service().call(to).await?;
    // Requests are small and whole: waiting for more to send only delays them.
    connection
        .io_ref()
        .set_nodelay(true)
        .map_err(ConnectError::Io)?;
    let Some(tls) = tls else {
        return Ok(wrap(connection));
    };
    TlsConnector::service(tls)
        .call(connection)
        .await
        .map(wrap)
        .map_err(|error| ConnectError::Io(io::Error::other(HandshakeFailed(error))))
}

fn wrap<Io: Bytes + 'static>(
    connection: Connection<Uri, Io>,
) -> Connection<Uri, FinalAnswers<Stream>> {
    let (io, uri) = connection.into_parts();
    Connection::new(uri, FinalAnswers::new(Box::new(io)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_plain_but_keeps_its_port_and_name() {
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
            let target = Target::of(url).expect("it is a URL");
            assert_eq!(target.uri.to_string(), uri);
            assert_eq!(target.authority, authority);
        }
        for no_url in ["", "/path", "https://", "https://a b/", "acme.acquire.io"] {
            assert!(Target::of(no_url).is_none(), "{no_url:?}");
        }
    }
}
