//! A server of scripted bytes: the test has its script.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One thing to do on a connection. At the end of its script the connection is closed.
pub enum Step {
    /// Reads one whole request.
    Request,
    /// Waits for the first byte of what comes.
    FirstByte,
    Send(String),
    /// Sends this repeatedly until the client closes.
    Endless(&'static str),
    /// Sends these bytes one by one, with a pause between, until the client closes.
    Drip(&'static str, Duration),
    /// Waits until the client closes.
    Hold,
    /// Closes while the request is unread, which resets the connection.
    Reset,
}

/// Serves one script for each connection, in order.
pub struct Raw {
    pub addr: SocketAddr,
    closed: UnboundedReceiver<usize>,
}

impl Raw {
    pub fn start(scripts: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::serve(scripts, Ok)
    }

    pub fn start_tls(
        config: Arc<ServerConfig>,
        scripts: impl IntoIterator<Item = Vec<Step>>,
    ) -> Self {
        Self::serve(scripts, move |stream| {
            let tls = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            Ok(StreamOwned::new(tls, stream))
        })
    }

    fn serve<S: Read + Write>(
        scripts: impl IntoIterator<Item = Vec<Step>>,
        wrap: impl Fn(TcpStream) -> io::Result<S> + Send + 'static,
    ) -> Self {
        let scripts: Vec<Vec<Step>> = scripts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let addr = listener.local_addr().expect("the listener is bound");
        let (report, closed) = unbounded_channel();
        std::thread::spawn(move || play_all(&listener, scripts, wrap, &report));
        Self { addr, closed }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Waits until the next connection is closed, and says how many requests it brought.
    pub async fn closed(&mut self) -> usize {
        self.closed.recv().await.expect("a script is left")
    }
}

fn play_all<S: Read + Write>(
    listener: &TcpListener,
    scripts: Vec<Vec<Step>>,
    wrap: impl Fn(TcpStream) -> io::Result<S>,
    report: &UnboundedSender<usize>,
) {
    for script in scripts {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        let mut requests = 0;
        // The client may leave at any time, as a test wants it to.
        let _ = wrap(stream).and_then(|stream| play(stream, script, &mut requests));
        let _ = report.send(requests);
    }
}

fn play(mut stream: impl Read + Write, script: Vec<Step>, requests: &mut usize) -> io::Result<()> {
    for step in script {
        match step {
            Step::Request => {
                read_request(&mut stream)?;
                *requests += 1;
            }
            Step::FirstByte => stream.read_exact(&mut [0])?,
            Step::Send(text) => send(&mut stream, text.as_bytes())?,
            Step::Endless(text) => loop {
                send(&mut stream, text.as_bytes())?;
            },
            Step::Drip(text, pause) => {
                for byte in text.as_bytes() {
                    send(&mut stream, &[*byte])?;
                    std::thread::park_timeout(pause);
                }
            }
            Step::Hold => while stream.read(&mut [0; 1024])? > 0 {},
            Step::Reset => {
                stream.read_exact(&mut [0])?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn send(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

fn read_request(stream: &mut impl Read) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    stream.read_exact(&mut vec![0; length])
}
