//! Makes of a byte stream one on which awc reads each answer rightly.
//!
//! awc 3.11 takes an interim (1xx) answer for the final one and gives the connection back, so that
//! the next request would read the answer meant for this one; and it reads a body that is ended
//! by closing the connection as empty. Both are put right here, before awc sees the bytes: interim
//! heads are dropped, and a final head that tells no length is shown as HTTP/1.0, whose bodies awc
//! reads until the connection closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A head longer than this, in bytes, is an error.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 96;

/// An HTTP/1.1 connection, as a client sees it, on which every answer is final and has an end.
#[derive(Debug)]
pub struct FinalAnswers<Io> {
    io: Io,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// Bytes pass as they come: they belong to a body, or to nothing.
    Through,
    /// A request was written; the head of its answer is gathered here.
    Head(Vec<u8>),
    /// The final head, and what came with it, on its way to awc; so many bytes are handed over.
    Handing(Vec<u8>, usize),
}

impl<Io> FinalAnswers<Io> {
    pub fn new(io: Io) -> Self {
        Self {
            io,
            reading: Reading::Through,
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for FinalAnswers<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.reading {
                Reading::Through => return Pin::new(&mut this.io).poll_read(cx, buf),
                Reading::Head(bytes) => {
                    if begins_with_final_head(bytes)? {
                        this.reading = Reading::Handing(std::mem::take(bytes), 0);
                        continue;
                    }
                    if ready!(fill(&mut this.io, cx, bytes))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Reading::Handing(bytes, handed) => {
                    let next = &bytes[*handed..];
                    let next = &next[..next.len().min(buf.remaining())];
                    buf.put_slice(next);
                    *handed += next.len();
                    if *handed == bytes.len() {
                        this.reading = Reading::Through;
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Reads once and says how many bytes came; none at the end of the stream.
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

/// Drops interim heads from the front; true once the whole final head is there.
fn begins_with_final_head(bytes: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let blank = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        bytes.drain(..blank);
        match Head::parse(bytes)? {
            None if bytes.len() > MAX_HEAD => return Err(broken("its head is too long")),
            None => return Ok(false),
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
                return Ok(true);
            }
        }
    }
}

struct Head {
    status: u16,
    /// In bytes, the empty line included.
    length: usize,
    body: Body,
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(PartialEq, Eq)]
enum Body {
    Told,
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
        let told = has("content-length", "") || has("transfer-encoding", "chunked");
        // awc would take the body that follows an offer of WebSocket for another protocol.
        let body = match status {
            204 | 304 => Body::Told,
            _ if told && !has("upgrade", "websocket") => Body::Told,
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
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for FinalAnswers<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.reading, Reading::Through) {
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

/// awc asks for this trait but moves bytes only; readiness may be claimed when there is none.
impl<Io: AsyncRead + AsyncWrite + Unpin> ActixStream for FinalAnswers<Io> {
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

    /// What awc would read when the answer to its request arrives in pieces of `step` bytes.
    async fn read(answer: &str, step: usize) -> io::Result<String> {
        let (ours, theirs) = tokio::io::duplex(step);
        let mut stream = FinalAnswers::new(ours);
        let (mut from, mut to) = tokio::io::split(theirs);
        stream.write_all(b"!").await?;
        from.read_u8().await?;
        let mut text = String::new();
        let write = async {
            to.write_all(answer.as_bytes()).await?;
            to.shutdown().await
        };
        let (read, _) = tokio::join!(stream.read_to_string(&mut text), write);
        read.map(|_| text)
    }

    #[tokio::test]
    async fn interim_answers_are_dropped_however_they_are_cut() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        for step in [1, 2, 7, 50, 10_000] {
            let answer = format!("{interim}{WITH_LENGTH}");
            assert_eq!(read(&answer, step).await.expect("it is HTTP"), WITH_LENGTH);
        }
    }

    #[tokio::test]
    async fn a_head_that_tells_no_length_becomes_http_1_0() {
        let closed = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nok";
        let shown = "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nok";
        assert_eq!(read(closed, 5).await.expect("it is HTTP"), shown);
        for untouched in [
            WITH_LENGTH,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ] {
            assert_eq!(read(untouched, 5).await.expect("it is HTTP"), untouched);
        }
    }

    #[tokio::test]
    async fn a_body_that_looks_like_an_answer_passes() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(read(answer, 3).await.expect("it is HTTP"), answer);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * MAX_HEAD));
        for broken in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            &endless,
        ] {
            let error = read(broken, 1_000).await.expect_err("it is no answer");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
