//! A fake of Twilio's API: gives one recording to a client with the key, or fails in a chosen way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ACCOUNT, KEY_SECRET, KEY_SID, RECORDING, WAIT_LIMIT};

/// The response instead of a recording, or its form.
#[derive(Clone, Debug)]
pub enum Gives {
    /// Type and bytes, whole or a range.
    Recording(&'static str, Vec<u8>),
    /// A head without a body.
    Head(&'static str),
    /// No byte at all.
    Nothing,
    /// The beginning, and then no more.
    Beginning,
    /// The beginning, and then the end of the connection; with a length or in chunks.
    Broken(&'static str),
    /// Pieces for ever.
    NoEnd,
}

/// What one connection asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub headers: Vec<String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    gives: Gives,
    asked: Mutex<Vec<Asked>>,
    page: Mutex<String>,
    stopped: AtomicBool,
    /// Bytes of bodies that never end.
    written: AtomicU64,
    /// Connections that the other side closed while more was to be written or waited for.
    left: AtomicU64,
}

impl Api {
    pub fn start(gives: Gives) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            gives,
            asked: Mutex::default(),
            page: Mutex::default(),
            stopped: AtomicBool::new(false),
            written: AtomicU64::new(0),
            left: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, serving) = (stream.expect("a connection"), Arc::clone(&serving));
                std::thread::spawn(move || serving.answer(stream));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic").clone()
    }

    /// Serves this page at `/page`.
    pub fn shows(&self, page: String) {
        *self.shared.page.lock().expect("no panic") = page;
    }

    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::SeqCst)
    }

    pub fn left(&self) -> u64 {
        self.shared.left.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) {
        stream
            .set_read_timeout(Some(WAIT_LIMIT))
            .expect("a TCP socket");
        let mut lines = BufReader::new(stream.try_clone().expect("a TCP socket")).lines();
        let Some(Ok(line)) = lines.next() else { return };
        let headers = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let asked = Asked { line, headers };
        self.asked.lock().expect("no panic").push(asked.clone());
        // The client may have disconnected; the test checks that.
        let _ = self.write(&asked, stream);
    }

    fn write(&self, asked: &Asked, mut stream: TcpStream) -> std::io::Result<()> {
        if asked.line.starts_with("GET /page") {
            let page = self.page.lock().expect("no panic").clone();
            return whole(&mut stream, "200 OK", "text/html", page.as_bytes());
        }
        if asked.line.starts_with("GET /outcome") {
            return whole(&mut stream, "200 OK", "text/plain", b"");
        }
        match &self.gives {
            Gives::Recording(kind, bytes) => recording(asked, kind, bytes, &mut stream),
            Gives::Head(head) => {
                write!(stream, "HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")
            }
            Gives::Nothing => self.waits(stream),
            Gives::Beginning => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: audio/x-wav\r\n")?;
                stream.write_all(b"Content-Length: 1000\r\n\r\n0123456789")?;
                self.waits(stream)
            }
            Gives::Broken(rest) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: audio/x-wav\r\n")?;
                stream.write_all(rest.as_bytes())
            }
            Gives::NoEnd => self.pours(stream),
        }
    }

    /// Until the other side closes.
    fn waits(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let end = stream.read(&mut [0; 1]);
        self.left.fetch_add(1, Ordering::SeqCst);
        end.map(|_| ())
    }

    fn pours(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: audio/x-wav\r\n")?;
        stream.write_all(b"Transfer-Encoding: chunked\r\n\r\n")?;
        let piece = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat();
        loop {
            if let Err(why) = stream.write_all(&piece) {
                self.left.fetch_add(1, Ordering::SeqCst);
                return Err(why);
            }
            self.written.fetch_add(0x2000, Ordering::SeqCst);
        }
    }
}

fn whole(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

fn recording(
    asked: &Asked,
    kind: &str,
    bytes: &[u8],
    stream: &mut TcpStream,
) -> std::io::Result<()> {
    let key = STANDARD.encode(format!("{KEY_SID}:{KEY_SECRET}"));
    if asked.header("authorization") != Some(&format!("Basic {key}")) {
        return whole(stream, "401 Unauthorized", "application/json", b"{}");
    }
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Recordings/{RECORDING}");
    let (method, rest) = asked.line.split_once(' ').expect("a method");
    let (target, _) = rest.split_once(' ').expect("a target");
    if ![path.clone(), format!("{path}.mp3")].contains(&target.to_owned()) {
        return whole(stream, "404 Not Found", "application/json", b"{}");
    }
    let size = bytes.len();
    let is_current = asked.header("if-range").is_none_or(|tag| tag == "\"one\"");
    let range = asked.header("range").filter(|_| is_current);
    let (status, range, part) = match range.map(|text| within(text, size)) {
        None => ("200 OK", String::new(), bytes),
        Some(None) => {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\nContent-Length: 0\r\n\r\n"
            );
        }
        Some(Some((first, last))) => (
            "206 Partial Content",
            format!("Content-Range: bytes {first}-{last}/{size}\r\n"),
            &bytes[first..=last],
        ),
    };
    let length = part.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{range}\
         Accept-Ranges: bytes\r\nETag: \"one\"\r\nX-Twilio-Host: secret\r\nConnection: close\r\n\r\n"
    )?;
    if method == "HEAD" {
        return Ok(());
    }
    stream.write_all(part)
}

fn within(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = last.parse().unwrap_or(size - 1).min(size - 1);
    (first <= last).then_some((first, last))
}
