//! Follows the requests of one connection, on the thread that serves it.
//!
//! actix does not say whether its buffer has the beginning of another request when an answer is
//! finished. Such a connection waits for its client and is not idle. So the bytes are counted here:
//! those after the end of a head must be the body, and nothing more.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use super::slot::Slot;
use super::{ConnectionState, OpenConnections};

/// Line ends that end a head.
const END_OF_HEAD: [u8; 4] = *b"\r\n\r\n";

/// The most that actix, TLS and a handler keep of one connection. Of a client that does not wait for
/// answers, the sum of all requests would be more.
const MAX_BUFFERED: usize = 256 * 1024;

/// One connection of a listener. Dropped with the connection.
#[derive(Debug)]
pub struct Tracker {
    list: Arc<OpenConnections>,
    slot: Arc<Slot>,
    framing: Cell<Framing>,
    /// The last bytes that arrived.
    tail: Cell<[u8; 4]>,
    /// Bytes that arrived since the connection was idle, also encrypted ones.
    received: Cell<usize>,
    is_blocked: Cell<bool>,
}

/// How far a request has arrived.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// With this number of line ends in a row.
    Head { line_ends: u8 },
    /// The head is complete. More bytes came after it.
    AfterHead { bytes: usize },
    /// As before, with a handler that has the request, and the length of its body.
    Body { bytes: usize, length: usize },
    /// The end is unknown: the body is chunked, or the client sent a request before the last answer.
    Unknown,
}

impl Tracker {
    /// Adds a connection to the list; see [`OpenConnections`]. `None` if there is no room, because all
    /// connections are being answered.
    pub fn new(list: &Arc<OpenConnections>) -> Option<Self> {
        Some(Self {
            slot: list.add()?,
            list: Arc::clone(list),
            framing: Cell::new(Framing::Head { line_ends: 0 }),
            tail: Cell::default(),
            received: Cell::new(0),
            is_blocked: Cell::new(false),
        })
    }

    /// Counts the connection as one of its client. False if the client has too many.
    pub fn assign(&self, client: IpAddr) -> bool {
        self.list.assign(&self.slot, client)
    }

    /// Whether the bridge has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }

    pub fn wake_when_closed(&self, waker: &Waker) {
        self.slot.wake_when_closed(waker);
    }

    /// Bytes came from the client, encrypted or not.
    pub fn received(&self, bytes: usize) {
        if self.is(ConnectionState::Idle) {
            self.set(ConnectionState::Reading);
        }
        self.buffers((self.received.get() + bytes).min(MAX_BUFFERED));
    }

    /// Bytes came from the client, decrypted.
    pub fn read(&self, bytes: &[u8]) {
        let mut tail = self.tail.get();
        for byte in &bytes[bytes.len().saturating_sub(tail.len())..] {
            tail.rotate_left(1);
            tail[3] = *byte;
        }
        self.tail.set(tail);
        let mut is_complete = false;
        let framing = match self.framing.get() {
            Framing::Head { line_ends } => head(line_ends, bytes),
            Framing::AfterHead { bytes: before } => Framing::AfterHead {
                bytes: before + bytes.len(),
            },
            Framing::Body {
                bytes: before,
                length,
            } => {
                let bytes = before + bytes.len();
                is_complete = before < length && bytes >= length;
                Framing::Body { bytes, length }
            }
            Framing::Unknown => Framing::Unknown,
        };
        self.framing.set(framing);
        if is_complete {
            self.completed();
        }
    }

    /// A handler gets a request with a body of this length; `None` if it is unknown.
    pub fn request(&self, length: Option<usize>) {
        let (framing, is_complete) = match (self.framing.get(), length) {
            (Framing::AfterHead { bytes }, Some(length)) => {
                (Framing::Body { bytes, length }, bytes >= length)
            }
            (_, length) => (Framing::Unknown, length == Some(0)),
        };
        self.framing.set(framing);
        if is_complete {
            self.completed();
        } else if !self.is(ConnectionState::Reading) {
            self.set(ConnectionState::Reading);
        }
    }

    /// The request is complete and will be answered.
    pub fn completed(&self) {
        self.set(ConnectionState::Busy);
        if let Framing::Body { bytes, length } = self.framing.get() {
            // The beginning of the next request.
            self.buffers(bytes.saturating_sub(length).min(MAX_BUFFERED));
        }
    }

    /// The answer is complete.
    pub fn answered(&self) {
        self.is_blocked.set(false);
        let all_used = match self.framing.get() {
            Framing::Body { bytes, length } => bytes == length,
            // Else the bytes end within a head or a body.
            Framing::Unknown => self.tail.get() == END_OF_HEAD,
            Framing::Head { .. } | Framing::AfterHead { .. } => false,
        };
        if all_used {
            self.framing.set(Framing::Head { line_ends: 0 });
            self.buffers(0);
            self.set(ConnectionState::Idle);
        } else {
            self.framing.set(Framing::Unknown);
            self.set(ConnectionState::Reading);
        }
    }

    /// The client does not read its answer: the connection counts as idle until it does.
    pub fn write_blocked(&self) {
        if self.is(ConnectionState::Busy) {
            self.is_blocked.set(true);
            self.set(ConnectionState::Idle);
        }
    }

    pub fn written(&self) {
        if self.is_blocked.replace(false) {
            self.set(ConnectionState::Busy);
        }
    }

    fn is(&self, state: ConnectionState) -> bool {
        self.slot
            .state()
            .is_some_and(|(current, _)| current == state)
    }

    fn set(&self, state: ConnectionState) {
        self.slot.set(state, self.list.now());
    }

    fn buffers(&self, bytes: usize) {
        self.received.set(bytes);
        self.list.buffer(&self.slot, bytes);
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.list.remove(&self.slot);
    }
}

/// Looks for the empty line that ends a head. Carriage returns are optional, as in actix.
fn head(mut line_ends: u8, bytes: &[u8]) -> Framing {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if line_ends == 1 => {
                return Framing::AfterHead {
                    bytes: bytes.len() - at - 1,
                };
            }
            b'\n' => line_ends = 1,
            b'\r' => {}
            _ => line_ends = 0,
        }
    }
    Framing::Head { line_ends }
}
