//! An HTTP client that sends callbacks to the balancer, as Twilio does.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::sender::Call;

/// Twilio's.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// A new one for each request.
    PerRequest,
    /// One for as long as the balancer keeps it open.
    KeepAlive,
}

pub struct Client {
    to: SocketAddr,
    connections: Connections,
    open: Option<TcpStream>,
}

impl Client {
    pub fn new(to: SocketAddr, connections: Connections) -> Self {
        Self {
            to,
            connections,
            open: None,
        }
    }

    /// Sends a callback, and returns the HTTP status of the response.
    pub fn send(&mut self, call: &Call) -> io::Result<u16> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let connection = match self.connections {
            Connections::PerRequest => "close",
            Connections::KeepAlive => "keep-alive",
        };
        stream.write_all(&call.request(connection))?;
        let head = read_head(&mut stream)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        // Bodies are not read, so only a 204 leaves the connection usable.
        if self.connections == Connections::KeepAlive
            && status == 204
            && !head.contains("connection: close")
        {
            self.open = Some(stream);
        }
        Ok(status)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.to, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }
}

/// Reads the head of the response, in lower case.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => head.extend_from_slice(&part[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&head).to_lowercase())
}
