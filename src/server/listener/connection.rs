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
}

/// A stream of decrypted bytes, which its tracker reads too.
pub(super) struct RequestStream<IO> {
    io: IO,
    tracker: Rc<Tracker>,
}

impl ClientConnection {
    pub fn new(tcp: TcpStream, client: Option<SocketAddr>, tracker: Tracker) -> Self {
        Self {
            tcp,
            client,
            tracker: Rc::new(tracker),
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
    pub fn new(io: IO, tracker: Rc<Tracker>) -> Self {
        Self { io, tracker }
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
        Pin::new(&mut self.io).poll_write(context, bytes)
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
