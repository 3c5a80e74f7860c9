//! A TCP stream that reports a close by its peer at once.
//!
//! It does not open connections.

use std::io::{self, ErrorKind, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop;

/// A TCP stream that asks the kernel before it reports that nothing can be read.
///
/// tokio learns of a close only when it polls the kernel. Until then awc would reuse a closed
/// connection from its pool, and the request on it would fail.
#[derive(Debug)]
pub struct PeekingTcpStream(pub TcpStream);

impl AsyncRead for PeekingTcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.0).poll_read(cx, buf) {
            return Poll::Ready(read);
        }
        // Without this budget a peer that never stops sending could block the thread.
        let turn = ready!(coop::poll_proceed(cx));
        // The socket is non-blocking, and tokio's poll above has registered the waker.
        let read = match (&*SockRef::from(&self.0)).read(buf.initialize_unfilled()) {
            Err(none) if none.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            read => read,
        };
        turn.made_progress();
        Poll::Ready(read.map(|read| buf.advance(read)))
    }
}

impl AsyncWrite for PeekingTcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl ActixStream for PeekingTcpStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.0, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.0, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::FutureExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_close_is_seen_before_the_runtime_polls_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let mut peer = std::net::TcpStream::connect(addr).expect("it listens");
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut socket = PeekingTcpStream(stream);

        peer.write_all(b"answer").expect("sent");
        let mut answer = [0; 16];
        assert_eq!(socket.read(&mut answer).await.expect("an answer"), 6);
        assert!(socket.read(&mut answer).now_or_never().is_none(), "quiet");

        drop(peer);
        // No await in between, so the runtime cannot poll the kernel.
        let mut ended = None;
        for _ in 0..1_000_000 {
            ended = socket.read(&mut answer).now_or_never();
            if ended.is_some() {
                break;
            }
        }
        assert_eq!(ended.expect("the close is seen").expect("an end"), 0);
    }
}
