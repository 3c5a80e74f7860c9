//! Raw servers in the place of Acquire that do not behave as it does.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use rcgen::CertifiedKey;
use rustls::{ServerConnection, StreamOwned};

use crate::support::certified::{self_signed, showing};

const SAVED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"success\":true}";

/// A server that accepts connections and never reads from them, until it is dropped.
pub fn silent() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    (listener.local_addr().expect("it is bound"), listener)
}

/// Serves each connection on a thread of its own.
pub fn serves(play: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let (addr, listener) = silent();
    let play = Arc::new(play);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let play = Arc::clone(&play);
            std::thread::spawn(move || play(stream));
        }
    });
    addr
}

/// What came of a head: all of it, or as much as came before the end.
pub fn read_head(stream: &mut impl std::io::Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).to_lowercase()
}

/// An Acquire that answers each request when the test allows it, and not sooner.
pub struct Held {
    address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    /// The bodies of all requests, in order.
    taken: Mutex<Vec<serde_json::Value>>,
    /// How many of them may be answered.
    answered: Mutex<usize>,
    opened: Condvar,
}

impl Held {
    pub fn start() -> Self {
        let gate = Arc::new(Gate::default());
        let serving = Arc::clone(&gate);
        let address = serves(move |mut stream| while serving.serves_one(&mut stream).is_some() {});
        Self { address, gate }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn taken(&self) -> Vec<serde_json::Value> {
        self.gate.taken.lock().expect("no panic").clone()
    }

    /// Answers the first `count` requests, those that are still to come among them.
    pub fn answers(&self, count: usize) {
        *self.gate.answered.lock().expect("no panic") = count;
        self.gate.opened.notify_all();
    }
}

impl Gate {
    /// `None` once the client has closed.
    fn serves_one(&self, stream: &mut TcpStream) -> Option<()> {
        let head = read_head(stream);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))?;
        let mut body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).ok()?;
        let number = {
            let mut taken = self.taken.lock().expect("no panic");
            taken.push(serde_json::from_slice(&body).expect("a JSON body"));
            taken.len()
        };
        let answered = self.answered.lock().expect("no panic");
        let waited = self.opened.wait_while(answered, |most| *most < number);
        drop(waited.expect("no panic"));
        stream.write_all(SAVED.as_bytes()).ok()
    }
}

/// Acquire, with a certificate that is not trusted.
pub fn untrusted() -> SocketAddr {
    let CertifiedKey { cert, signing_key } = self_signed("127.0.0.1");
    let config = showing(&cert, &signing_key);
    serves(move |stream| {
        let Ok(tls) = ServerConnection::new(Arc::clone(&config)) else {
            return;
        };
        let mut stream = StreamOwned::new(tls, stream);
        read_head(&mut stream);
        let _ = stream.write_all(SAVED.as_bytes());
    })
}

/// Starts each answer with `beginning` and sends until the bridge closes; counts the bytes.
pub fn floods(beginning: &'static str) -> (SocketAddr, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let more = match beginning {
        interim if interim.contains("102") => interim.repeat(1_000),
        chunked if chunked.contains("chunked") => {
            format!("{:x}\r\n{}\r\n", 32_768, "x".repeat(32_768))
        }
        _ => "x".repeat(32_768),
    };
    let addr = serves(move |mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(beginning.as_bytes());
        while stream.write_all(more.as_bytes()).is_ok() {
            count.fetch_add(more.len() as u64, Ordering::Relaxed);
        }
    });
    (addr, sent)
}
