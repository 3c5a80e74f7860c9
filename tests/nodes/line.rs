//! A client's connection to the balancer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::sender::Call;

/// As long as Twilio waits.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// A connection for each request.
    Closes,
    /// One connection for as long as the balancer lets it be.
    Keeps,
}

pub struct Line {
    to: SocketAddr,
    habit: Habit,
    open: Option<TcpStream>,
}

impl Line {
    pub fn new(to: SocketAddr, habit: Habit) -> Self {
        Self {
            to,
            habit,
            open: None,
        }
    }

    /// The status of the answer to a call's callback.
    pub fn sends(&mut self, call: &Call) -> io::Result<u16> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let connection = match self.habit {
            Habit::Closes => "close",
            Habit::Keeps => "keep-alive",
        };
        stream.write_all(&call.request(connection))?;
        let head = read_head(&mut stream)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        // What has a body is not read on.
        if self.habit == Habit::Keeps && status == 204 && !head.contains("connection: close") {
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

/// In lower case.
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
