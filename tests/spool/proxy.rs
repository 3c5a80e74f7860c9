//! A network between a bridge and its database, with the faults of one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use crate::pause;
use crate::support::postgres_server::Server;

/// The treatment of sent bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    Through,
    /// Connections stay open and carry nothing, new ones too.
    Nowhere,
    /// The next callback arrives, in the one statement that commits it, and no answer from then on.
    MuteFromCallback,
    /// Only towards the database.
    Mute,
}

pub struct Proxy {
    address: SocketAddr,
    way: Arc<AtomicU8>,
}

/// Between two checks whether bytes can be forwarded.
const LOOK: Duration = Duration::from_millis(5);

impl Proxy {
    pub fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let way = Arc::new(AtomicU8::new(Way::Through as u8));
        let (ways, server) = (Arc::clone(&way), server.address());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(database) = TcpStream::connect(&server) else {
                    continue;
                };
                let (back, forth) = (client.try_clone(), database.try_clone());
                let (from, to) = (back.expect("a socket"), forth.expect("a socket"));
                let (there, here) = (Arc::clone(&ways), Arc::clone(&ways));
                thread::spawn(move || carry(client, database, &there, Direction::ToDatabase));
                thread::spawn(move || carry(to, from, &here, Direction::ToBridge));
            }
        });
        Self { address, way }
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    pub fn turns(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToDatabase,
    ToBridge,
}

/// Forwards bytes until one end closes, or a mute connection could forward again what it kept back.
fn carry(mut from: TcpStream, mut to: TcpStream, way: &AtomicU8, direction: Direction) {
    let is = |other: Way| way.load(Ordering::SeqCst) == other as u8;
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let bytes = &bytes[..length];
        while is(Way::Nowhere) {
            pause(LOOK);
        }
        let keeps = bytes.windows(8).any(|word| word == b"CallSid=");
        if direction == Direction::ToDatabase && keeps && is(Way::MuteFromCallback) {
            way.store(Way::Mute as u8, Ordering::SeqCst);
        }
        if direction == Direction::ToBridge && is(Way::Mute) {
            while is(Way::Mute) {
                pause(LOOK);
            }
            break;
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    for end in [from, to] {
        // It may be closed already.
        let _ = end.shutdown(std::net::Shutdown::Both);
    }
}
