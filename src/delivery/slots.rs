//! The slots for requests to Acquire, of all accounts and across reloads.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The right to have one request to Acquire open.
pub type Permit = OwnedSemaphorePermit;

/// A number of permits that a reload can change: requests in flight keep theirs.
#[derive(Debug)]
pub struct Slots {
    pub(super) semaphore: Arc<Semaphore>,
    count: Cell<usize>,
}

impl Slots {
    /// Adds the permits to a semaphore, which others may take them from.
    pub fn new(semaphore: Arc<Semaphore>, count: usize) -> Self {
        semaphore.add_permits(count);
        Self {
            semaphore,
            count: Cell::new(count),
        }
    }

    pub fn count(&self) -> usize {
        self.count.get()
    }

    /// Takes all free permits.
    pub fn take_free(&self) -> Vec<Permit> {
        std::iter::from_fn(|| Arc::clone(&self.semaphore).try_acquire_owned().ok()).collect()
    }

    /// Changes the number. Permits beyond it end with their requests.
    pub fn resize(&self, count: usize) {
        let old = self.count.replace(count);
        self.semaphore.add_permits(count.saturating_sub(old));
        let surplus = u32::try_from(old.saturating_sub(count)).unwrap_or(u32::MAX);
        if surplus > 0 {
            let semaphore = Arc::clone(&self.semaphore);
            tokio::task::spawn_local(async move {
                if let Ok(permits) = semaphore.acquire_many_owned(surplus).await {
                    permits.forget();
                }
            });
        }
    }
}
