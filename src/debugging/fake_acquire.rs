//! A fake Acquire, with faults: for `demo`, `replay --offline`, `sink`, and tests.
//!
//! It accepts a POST on any path, answers as Acquire does or with a configured fault, and retains the
//! requests. It does not validate them.

mod reply;
mod request;
mod server;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use self::state::{FakeAcquireState, lock};
use super::fake_server::FakeServer;

pub use reply::{ParseReplyError, Reply, Share};
pub use request::CapturedRequest;
pub use state::{Faults, Retain, TextFault};

/// A running fake Acquire; it stops when this is dropped.
#[derive(Debug)]
pub struct FakeAcquire {
    state: Arc<FakeAcquireState>,
    server: FakeServer,
}

impl FakeAcquire {
    /// Binds `listen` (port 0 for a free port) and serves on its own threads.
    pub fn start(listen: SocketAddr, faults: Faults, retain: Retain) -> io::Result<Self> {
        let state = Arc::new(FakeAcquireState::new(faults, retain));
        let server = server::start(listen, &state)?;
        Ok(Self { state, server })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// The `acquire.base_url` of a bridge that sends here.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Answers the next requests with these replies, before the rest of the script.
    pub fn answers(&self, next: impl IntoIterator<Item = Reply>) {
        let mut faults = lock(&self.state.faults);
        let rest = std::mem::take(&mut faults.script);
        faults.script = next.into_iter().chain(rest).collect();
    }

    /// Replaces the faults.
    pub fn behaves(&self, faults: Faults) {
        *lock(&self.state.random) = fastrand::Rng::with_seed(faults.seed);
        *lock(&self.state.faults) = faults;
    }

    /// The number of requests so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.state.count.borrow()
    }

    /// The largest number of requests in progress at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        lock(&self.state.answering).most
    }

    /// Waits until `count` requests have arrived.
    pub async fn reached(&self, count: u64) {
        let mut arrived = self.state.count.subscribe();
        // The sender lives in `self`, so waiting cannot end in an error.
        let _ = arrived.wait_for(|arrived| *arrived >= count).await;
    }

    /// All requests so far, with [`Retain::All`].
    #[must_use]
    pub fn received(&self) -> Vec<CapturedRequest> {
        lock(&self.state.received).clone()
    }

    /// The `CallId` of each request so far, with [`Retain::CallIds`] or [`Retain::All`].
    #[must_use]
    pub fn call_ids(&self) -> Vec<String> {
        match self.state.retain {
            Retain::All => lock(&self.state.received)
                .iter()
                .filter_map(|received| received.field("CallId"))
                .collect(),
            _ => lock(&self.state.call_ids).clone(),
        }
    }
}
