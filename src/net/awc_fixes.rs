//! Works around three faults of awc (seen in 3.11.0), by changing the bytes that awc reads.
//!
//! | fault of awc | work-around |
//! | --- | --- |
//! | An interim (1xx) response is returned as the final one, and the next request on the connection reads the final one ([actix-web #1775]). | Interim heads are dropped. |
//! | A body that ends when the connection closes is read as empty ([actix-web #2287]; the fix in [#3038] was not merged). | A final head without a length becomes HTTP/1.0; awc reads bodies of HTTP/1.0 until the connection closes. |
//! | A body that ends before its length, or before its last chunk, is returned as complete. No issue is known; [#3068] fixed the same fault in the server. | Such an end of the stream is an error. |
//!
//! It reads heads only; it does not change a body, a status or a header.
//!
//! [actix-web #1775]: https://github.com/actix/actix-web/issues/1775
//! [actix-web #2287]: https://github.com/actix/actix-web/issues/2287
//! [#3038]: https://github.com/actix/actix-web/pull/3038
//! [#3068]: https://github.com/actix/actix-web/pull/3068

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest head, in bytes; a longer one is an error.
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 96;

/// The client's side of an HTTP/1.1 connection, on which every response is final and has an end.
#[derive(Debug)]
pub struct AwcResponseFix<Io> {
    io: Io,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// Bytes pass unchanged: they belong to this body, or no response is expected.
    PassThrough(Body),
    /// A request was written; this is the part of the response's head that has arrived.
    Head(Vec<u8>),
    /// The final head and the bytes read with it, and how many of them awc has read.
    Deliver(Vec<u8>, usize, Body),
}

impl<Io> AwcResponseFix<Io> {
    pub fn new(io: Io) -> Self {
        Self {
            io,
            reading: Reading::PassThrough(Body::Framed),
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for AwcResponseFix<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.reading {
                Reading::PassThrough(body) => {
                    let before = buf.filled().len();
                    ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
                    let ended = buf.filled().len() == before;
                    if ended && *body == Body::Framed {
                        return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                    }
                    return Poll::Ready(Ok(()));
                }
                Reading::Head(bytes) => {
                    if let Some(body) = final_head(bytes)? {
                        this.reading = Reading::Deliver(std::mem::take(bytes), 0, body);
                        continue;
                    }
                    if ready!(fill(&mut this.io, cx, bytes))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Reading::Deliver(bytes, delivered, body) => {
                    let next = &bytes[*delivered..];
                    let next = &next[..next.len().min(buf.remaining())];
                    buf.put_slice(next);
                    *delivered += next.len();
                    if *delivered == bytes.len() {
                        this.reading = Reading::PassThrough(*body);
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Reads once and returns the number of bytes; 0 at the end of the stream.
fn fill<Io: AsyncRead + Unpin>(
    io: &mut Io,
    cx: &mut Context<'_>,
    bytes: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let mut chunk = [0; 4 * 1024];
    let mut chunk = ReadBuf::new(&mut chunk);
    ready!(Pin::new(io).poll_read(cx, &mut chunk))?;
    bytes.extend_from_slice(chunk.filled());
    Poll::Ready(Ok(chunk.filled().len()))
}

/// Drops interim heads; returns how the body ends once the whole final head has arrived.
fn final_head(bytes: &mut Vec<u8>) -> io::Result<Option<Body>> {
    loop {
        // RFC 9112, section 2.2: a robust parser ignores empty lines before a message.
        let blank = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        bytes.drain(..blank);
        match Head::parse(bytes)? {
            None if bytes.len() > MAX_HEAD_BYTES => return Err(broken("its head is too long")),
            None => return Ok(None),
            Some(Head { status: 101, .. }) => {
                return Err(broken("it switched protocols unasked"));
            }
            Some(Head {
                status: ..200,
                length,
                ..
            }) => {
                bytes.drain(..length);
            }
            Some(head) => {
                if head.body == Body::UntilClose {
                    // "HTTP/1.1" becomes "HTTP/1.0".
                    bytes[7] = b'0';
                }
                return Ok(Some(head.body));
            }
        }
    }
}

struct Head {
    status: u16,
    /// In bytes, with the empty line at the end.
    length: usize,
    body: Body,
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// By its length or its chunks, or there is no body.
    Framed,
    /// When the connection closes.
    UntilClose,
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .parse_response(&mut head, bytes)
            .map_err(|error| broken(&format!("it is not HTTP ({error})")))?;
        let (httparse::Status::Complete(length), Some(status)) = (parsed, head.code) else {
            return Ok(None);
        };
        let has = |name: &str, value: &str| {
            head.headers.iter().any(|header| {
                header.name.eq_ignore_ascii_case(name)
                    && String::from_utf8_lossy(header.value)
                        .to_ascii_lowercase()
                        .contains(value)
            })
        };
        let is_framed = has("content-length", "") || has("transfer-encoding", "chunked");
        // After an offer of WebSocket, awc would read the body as another protocol.
        let body = match status {
            204 | 304 => Body::Framed,
            _ if is_framed && !has("upgrade", "websocket") => Body::Framed,
            _ => Body::UntilClose,
        };
        Ok(Some(Self {
            status,
            length,
            body,
        }))
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for AwcResponseFix<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.reading, Reading::PassThrough(_)) {
            this.reading = Reading::Head(Vec::new());
        }
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// awc requires this trait, but only reads and writes; a wrong readiness does no harm.
impl<Io: AsyncRead + AsyncWrite + Unpin> ActixStream for AwcResponseFix<Io> {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::ALL))
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::ALL))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const WITH_LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// The bytes that awc reads when the response arrives in pieces of `step` bytes, and how the
    /// stream ends.
    async fn read(answer: &str, step: usize) -> (String, Result<(), ErrorKind>) {
        let (ours, theirs) = tokio::io::duplex(step);
        let mut stream = AwcResponseFix::new(ours);
        let (mut from, mut to) = tokio::io::split(theirs);
        stream.write_all(b"!").await.expect("the peer reads");
        from.read_u8().await.expect("a request arrives");
        let read = async {
            let mut bytes = Vec::new();
            let end = stream.read_to_end(&mut bytes).await;
            // The writer then gets an error instead of waiting.
            drop(stream);
            (bytes, end)
        };
        let write = async {
            to.write_all(answer.as_bytes()).await?;
            to.shutdown().await
        };
        let ((bytes, end), _) = tokio::join!(read, write);
        let text = String::from_utf8(bytes).expect("it is text");
        (text, end.map(drop).map_err(|error| error.kind()))
    }

    #[tokio::test]
    async fn interim_responses_are_dropped_however_they_are_cut() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        for step in [1, 2, 7, 50, 10_000] {
            let answer = format!("{interim}{WITH_LENGTH}");
            assert_eq!(read(&answer, step).await.0, WITH_LENGTH);
        }
    }

    #[tokio::test]
    async fn a_head_without_a_length_becomes_http_1_0() {
        let closed = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nok";
        let shown = "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nok";
        assert_eq!(read(closed, 5).await, (shown.to_owned(), Ok(())));
        for untouched in [
            WITH_LENGTH,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ] {
            assert_eq!(read(untouched, 5).await.0, untouched);
        }
    }

    #[tokio::test]
    async fn an_early_end_of_the_stream_is_an_error() {
        for (answer, end) in [
            ("HTTP/1.1 200 OK\r\n\r\no", Ok(())),
            ("HTTP/1.0 200 OK\r\n\r\no", Ok(())),
            (&WITH_LENGTH[..39], Err(ErrorKind::UnexpectedEof)),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no",
                Err(ErrorKind::UnexpectedEof),
            ),
        ] {
            assert_eq!(read(answer, 100).await.1, end, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_body_that_looks_like_a_response_passes() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(read(answer, 3).await.0, answer);
    }

    #[tokio::test]
    async fn bytes_that_are_no_response_are_an_error() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * MAX_HEAD_BYTES));
        for broken in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            &endless,
        ] {
            let read = read(broken, 1_000).await;
            assert_eq!(read, (String::new(), Err(ErrorKind::InvalidData)));
        }
    }
}
