//! One open connection, as its own thread and the list of its listener both see it.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

use super::ConnectionState;

/// The time of the last change of state in microseconds, then the connection's number.
pub(super) type Age = (u64, u64);

/// The two low bits of a [`Slot`]'s state, as the numbers of [`ConnectionState`].
const CLOSED: u64 = 3;

/// A connection. Its thread changes the state without a lock; the list changes all else, locked.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    /// Microseconds of the last change, above the two bits of the state.
    state: AtomicU64,
    /// The place in the list.
    placed: AtomicU64,
    client: OnceLock<IpAddr>,
    /// Bytes that count towards the memory for incomplete requests.
    buffered: AtomicUsize,
    /// Of the connection's task, while it waits for its client.
    waker: AtomicWaker,
}

impl Slot {
    pub fn new(id: u64, now: u64) -> Self {
        Self {
            id,
            state: AtomicU64::new(now << 2 | ConnectionState::Reading as u64),
            placed: AtomicU64::new(now),
            client: OnceLock::new(),
            buffered: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// The state, and since when; `None` once the bridge has closed the connection.
    pub fn state(&self) -> Option<(ConnectionState, u64)> {
        let packed = self.state.load(Ordering::Acquire);
        let state = ConnectionState::ALL.get((packed & 3) as usize)?;
        Some((*state, packed >> 2))
    }

    /// Changes the state, unless the bridge has closed the connection.
    pub fn set(&self, state: ConnectionState, since: u64) {
        let change = |packed| (packed & 3 != CLOSED).then_some(since << 2 | state as u64);
        // An error means that it is closed.
        let _ = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
    }

    /// Closes the connection, unless it is being answered or closed already.
    pub fn close(&self) -> bool {
        let change = |packed| (packed & 3 < ConnectionState::Busy as u64).then_some(CLOSED);
        let closes = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
            .is_ok();
        if closes {
            self.waker.wake();
        }
        closes
    }

    pub fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & 3 == CLOSED
    }

    /// Wakes the task when the bridge closes the connection.
    pub fn wake_when_closed(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub fn age(&self) -> Age {
        (self.placed.load(Ordering::Relaxed), self.id)
    }

    pub fn place(&self, since: u64) {
        self.placed.store(since, Ordering::Relaxed);
    }

    pub fn client(&self) -> Option<IpAddr> {
        self.client.get().copied()
    }

    pub fn assign(&self, client: IpAddr) {
        // A connection is assigned once.
        let _ = self.client.set(client);
    }

    pub fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }

    /// Returns the number before.
    pub fn buffer(&self, bytes: usize) -> usize {
        self.buffered.swap(bytes, Ordering::Relaxed)
    }
}
