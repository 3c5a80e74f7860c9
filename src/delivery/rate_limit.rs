//! Spaces requests out if `delivery.max_rate` is set; counts no requests in flight.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::MAX_RATE_LIMIT_WAIT;

/// Grants one request after another, at even intervals.
pub struct RateLimiter {
    /// Requests per second.
    rate: Option<usize>,
    next: Cell<Instant>,
}

impl RateLimiter {
    #[must_use]
    pub fn new(rate: Option<usize>) -> Self {
        Self {
            rate,
            next: Cell::new(Instant::now()),
        }
    }

    /// The number of calls, at most `limit`, that may be claimed at once: a claimed call must not wait
    /// for its request longer than its lease allows.
    #[must_use]
    pub fn claims(&self, limit: usize) -> usize {
        let seconds = usize::try_from(MAX_RATE_LIMIT_WAIT.as_secs()).unwrap_or(usize::MAX);
        self.rate
            .map_or(limit, |rate| rate.saturating_mul(seconds).min(limit))
    }

    /// Returns when the next request may be sent.
    pub async fn wait(&self) {
        let Some(rate) = self.rate else {
            return;
        };
        let now = Instant::now();
        // Unused slots are not saved up, so that no burst follows a pause.
        let turn = self.next.get().max(now);
        let gap = Duration::from_secs_f64(1.0 / f64::from(u32::try_from(rate).unwrap_or(u32::MAX)));
        self.next.set(turn + gap);
        if turn > now {
            clock::pause(turn - now).await;
        }
    }
}
