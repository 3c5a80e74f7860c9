//! Hands a call that was just recorded to the delivery worker, claimed in the same commit, so that the worker
//! need not search for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::Claimed;

/// A claimed call, and the permit for its request.
pub type HandedCall = (Claimed, OwnedSemaphorePermit);

/// Open while the worker has room and no due call waits. With several accounts it stays closed, because the
/// worker divides its permits among them.
#[derive(Debug)]
pub struct HandOver {
    /// For how long a call is claimed, in milliseconds; 0 while it is closed.
    lease_ms: AtomicU64,
    /// Those of the worker.
    permits: Arc<Semaphore>,
    due: Arc<Notify>,
    calls: mpsc::UnboundedSender<HandedCall>,
}

/// The worker's side.
#[derive(Debug)]
pub struct HandedCalls {
    /// None at first: the worker adds them.
    pub permits: Arc<Semaphore>,
    calls: mpsc::UnboundedReceiver<HandedCall>,
}

impl HandedCalls {
    pub async fn next(&mut self) -> Option<HandedCall> {
        self.calls.recv().await
    }

    /// Takes no more; those that wait are left to [`Self::next`].
    pub fn close(&mut self) {
        self.calls.close();
    }

    /// For a worker that searches for all its calls.
    pub fn never(self) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
            ..self
        }
    }
}

impl HandOver {
    /// A closed one, and the worker's side. `due` wakes the worker.
    pub fn new(due: Arc<Notify>) -> (Self, HandedCalls) {
        let permits = Arc::new(Semaphore::new(0));
        let (sender, calls) = mpsc::unbounded_channel();
        let hand_over = Self {
            lease_ms: AtomicU64::new(0),
            permits: Arc::clone(&permits),
            due,
            calls: sender,
        };
        (hand_over, HandedCalls { permits, calls })
    }

    pub fn open(&self, lease: Duration) {
        let lease = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.lease_ms.store(lease, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.lease_ms.store(0, Ordering::Relaxed);
    }

    /// Room for one call; None if the worker has to search.
    pub fn offer(&self) -> Option<Offer> {
        let lease = self.lease_ms.load(Ordering::Relaxed);
        if lease == 0 {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Offer {
            lease: Duration::from_millis(lease),
            permit: Some(permit),
            calls: self.calls.clone(),
            due: Arc::clone(&self.due),
        })
    }
}

/// Room for one call. Dropped without a call, it lets the worker search.
#[derive(Debug)]
pub struct Offer {
    pub(super) lease: Duration,
    permit: Option<OwnedSemaphorePermit>,
    calls: mpsc::UnboundedSender<HandedCall>,
    due: Arc<Notify>,
}

impl Offer {
    /// Hands over a call that is claimed. A worker that has stopped leaves it to the end of its lease.
    pub(super) fn hand_over(mut self, call: Claimed) {
        if let Some(permit) = self.permit.take() {
            let _ = self.calls.send((call, permit));
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.permit.take().is_some() {
            self.due.notify_one();
        }
    }
}
