//! An accepted connection: a TCP stream with its client's address and its guard.
//!
//! The PROXY header is parsed in `proxy_protocol`, and connections are counted in `drain`.

use std::io::{IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use actix_web::dev::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::drain::ConnectionGuard;

/// Implements the traits that actix needs of a stream by delegating to the TCP stream.
pub(super) struct ClientConnection {
    tcp: TcpStream,
    client: Option<SocketAddr>,
    guard: Rc<ConnectionGuard>,
}

impl ClientConnection {
    pub fn new(tcp: TcpStream, client: Option<SocketAddr>, guard: ConnectionGuard) -> Self {
        Self {
            tcp,
            client,
            guard: Rc::new(guard),
        }
    }

    /// The address from the PROXY header, or of the TCP peer.
    pub fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    /// Makes the guard known to the requests of this connection.
    pub fn store_in(&self, data: &mut Extensions) {
        data.insert(Rc::clone(&self.guard));
    }

    fn tcp(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().tcp)
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        part: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.tcp().poll_read(context, part)
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.tcp().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.tcp().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.tcp().poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.tcp().poll_write_vectored(context, slices)
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
