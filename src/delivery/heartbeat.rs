//! The heartbeat of the delivery worker; the systemd watchdog reads it.
//!
//! Whether the worker is stuck is decided in `app/systemd/watchdog.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// The interval between two ticks of the run loop while it waits.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Updated on each turn of the worker's run loop, whether or not its requests succeed.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<Mutex<Instant>>);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heartbeat {
    /// Records a tick, and returns when the next one is due.
    pub async fn tick(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        clock::pause(HEARTBEAT_INTERVAL).await;
    }

    /// The time since the last tick.
    pub fn age(&self) -> Duration {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.elapsed()
    }
}
