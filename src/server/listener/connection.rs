//! An accepted connection: a TCP stream with its client's address, followed by its tracker.
//!
//! The PROXY header is parsed in `proxy_protocol`, and connections are listed in `connections`.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::connections::tracker::Tracker;

/// A TCP stream that fails once the bridge closes the connection.
pub(super) struct ClientConnection {
    tcp: TcpStream,
    /// The address from the PROXY header, or of the TCP peer.
    pub client: Option<SocketAddr>,
    pub tracker: Rc<Tracker>,
    /// The largest buffer that a read may fill; a larger one is an error.
    pub max_read: usize,
}

/// A stream of decrypted bytes, which its tracker reads too.
pub(super) struct RequestStream<IO> {
    io: IO,
    tracker: Rc<Tracker>,
    /// Called with the status of an answer to a request that no handler gets.
    on_unhandled: Box<dyn Fn(u16)>,
}

impl ClientConnection {
    pub fn new(tcp: TcpStream, client: Option<SocketAddr>, tracker: Tracker) -> Self {
        Self {
            tcp,
            client,
            tracker: Rc::new(tracker),
            max_read: usize::MAX,
        }
    }

    fn tcp(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().tcp)
    }

    fn check_open(&self) -> Result<()> {
        if self.tracker.is_closed() {
            return Err(Error::from(ErrorKind::ConnectionAborted));
        }
        Ok(())
    }

    /// Follows the client's reading of an answer.
    fn wrote<T>(&self, wrote: Poll<Result<T>>) -> Poll<Result<T>> {
        match wrote {
            Poll::Ready(_) => self.tracker.written(),
            Poll::Pending => self.tracker.write_blocked(),
        }
        wrote
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        part: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if part.remaining() > self.max_read {
            let limit = format!("it announces more than {} bytes", self.max_read);
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, limit)));
        }
        let before = part.filled().len();
        let read = self.as_mut().tcp().poll_read(context, part);
        if read.is_pending() {
            // Before the check: closed after it, the connection wakes the task.
            self.tracker.wake_when_closed(context.waker());
        }
        self.check_open()?;
        if part.filled().len() > before {
            self.tracker.received(part.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.check_open()?;
        let wrote = self.as_mut().tcp().poll_write(context, bytes);
        self.wrote(wrote)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.tcp().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.tcp().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.check_open()?;
        let wrote = self.as_mut().tcp().poll_write_vectored(context, slices);
        self.wrote(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

impl ActixStream for ClientConnection {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<Result<Ready>> {
        ActixStream::poll_read_ready(&self.tcp, context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<Result<Ready>> {
        ActixStream::poll_write_ready(&self.tcp, context)
    }
}

impl<IO> RequestStream<IO> {
    pub fn new(io: IO, tracker: Rc<Tracker>, on_unhandled: impl Fn(u16) + 'static) -> Self {
        Self {
            io,
            tracker,
            on_unhandled: Box::new(on_unhandled),
        }
    }

    pub fn tracker(&self) -> &Rc<Tracker> {
        &self.tracker
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for RequestStream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        part: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = part.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, part);
        self.tracker.read(&part.filled()[before..]);
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for RequestStream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(context, bytes);
        if let (Poll::Ready(Ok(_)), Some(status)) = (&wrote, unhandled(bytes)) {
            (self.on_unhandled)(status);
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl<IO: ActixStream> ActixStream for RequestStream<IO> {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<Result<Ready>> {
        self.io.poll_read_ready(context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<Result<Ready>> {
        self.io.poll_write_ready(context)
    }
}

/// The status of an answer to a request that is malformed, late or too large. actix makes these answers
/// itself and reports only some of them; in contrast to those of the handlers they have no body.
fn unhandled(answer: &[u8]) -> Option<u16> {
    let (line, rest) =
        answer.split_at_checked(answer.iter().position(|byte| *byte == b'\n')? + 1)?;
    let status = match line.strip_prefix(b"HTTP/1.1 ")?.get(..3)? {
        b"400" => 400,
        b"408" => 408,
        b"431" => 431,
        _ => return None,
    };
    rest.starts_with(b"content-length: 0\r\n").then_some(status)
}
