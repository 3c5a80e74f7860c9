//! Opens a tunnel through a forward proxy: HTTP CONNECT (RFC 9110, section 9.3.6).
//!
//! It uses a connection that is open already, and knows nothing of TLS inside the tunnel.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::proxy::Proxy;

/// The longest head of a proxy's response, in bytes; a longer one is an error.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 96;

/// Why the proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum ProxyTunnelError {
    #[error("the proxy {0} cannot be reached: {1}")]
    Unreachable(String, String),
    #[error("the proxy {0} opened no tunnel within {1:?}")]
    TimeOut(String, Duration),
    #[error("the proxy {0} wants credentials, or others than it was given ({1})")]
    WantsCredentials(String, u16),
    #[error("the proxy {0} refuses to connect to {1} ({2})")]
    Refuses(String, String, u16),
    #[error("the proxy {0} cannot connect to {1} ({2})")]
    CannotConnect(String, String, u16),
    #[error("the proxy {0} broke off: {1}")]
    BrokeOff(String, io::Error),
    #[error("the answer of the proxy {0} cannot be read: {1}")]
    Unreadable(String, &'static str),
}

impl ProxyTunnelError {
    /// Whether the proxy refuses by its rules: a retry fails until a setting changes.
    pub fn is_by_rule(&self) -> bool {
        matches!(self, Self::WantsCredentials(..) | Self::Refuses(..))
    }
}

/// Turns a connection to `proxy` into one to `target` (host and port).
pub async fn open<Io>(mut io: Io, proxy: &Proxy, target: &str) -> Result<Io, ProxyTunnelError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let name = proxy.authority();
    let broke_off = |why| ProxyTunnelError::BrokeOff(name.clone(), why);
    let request = request(proxy, target);
    io.write_all(request.as_bytes()).await.map_err(broke_off)?;
    io.flush().await.map_err(broke_off)?;
    match status(&mut io, &name).await? {
        200..=299 => Ok(io),
        // tinyproxy 1.11 answers wrong credentials with 401.
        status @ (401 | 407) => Err(ProxyTunnelError::WantsCredentials(name, status)),
        status @ (408 | 425 | 429 | 500..) => Err(ProxyTunnelError::CannotConnect(
            name,
            target.to_owned(),
            status,
        )),
        status => Err(ProxyTunnelError::Refuses(name, target.to_owned(), status)),
    }
}

fn request(proxy: &Proxy, target: &str) -> String {
    let authorization = proxy.credentials.as_ref().map_or_else(String::new, |pair| {
        let pair = STANDARD.encode(pair.expose_secret());
        format!("Proxy-Authorization: Basic {pair}\r\n")
    });
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
}

/// Reads the status of the final response. After a 2xx no byte may follow, because the server
/// speaks first neither in TLS nor in HTTP. After another status the rest is not read.
async fn status(io: &mut (impl AsyncRead + Unpin), name: &str) -> Result<u16, ProxyTunnelError> {
    let unreadable = |why| ProxyTunnelError::Unreadable(name.to_owned(), why);
    let mut head = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer
            .parse(&head)
            .map_err(|_| unreadable("it is not HTTP"))?;
        match (parsed, answer.code) {
            (httparse::Status::Complete(length), Some(100..=199)) => {
                head.drain(..length);
                continue;
            }
            (httparse::Status::Complete(length), Some(status)) => {
                if status < 300 && head.len() > length {
                    return Err(unreadable("something follows it"));
                }
                return Ok(status);
            }
            _ if head.len() > MAX_HEAD_BYTES => return Err(unreadable("it is too long")),
            _ => {}
        }
        let mut chunk = [0; 1024];
        let read = io.read(&mut chunk).await;
        let read = read.map_err(|why| ProxyTunnelError::BrokeOff(name.to_owned(), why))?;
        if read == 0 {
            let ended = io::ErrorKind::UnexpectedEof.into();
            return Err(ProxyTunnelError::BrokeOff(name.to_owned(), ended));
        }
        head.extend_from_slice(&chunk[..read]);
    }
}
