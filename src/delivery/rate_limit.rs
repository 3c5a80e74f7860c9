//! Spaces requests out, where `delivery.max_rate` asks for it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::MAX_RATE_LIMIT_WAIT;

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

    /// How many of `most` calls may be claimed at once.
    #[must_use]
    pub fn claims(&self, most: usize) -> usize {
        self.rate
            .map_or(most, |rate| rate.saturating_mul(ahead()).min(most))
    }

    /// Returns when the next request may leave.
    pub async fn wait(&self) {
        let Some(rate) = self.rate else {
            return;
        };
        let now = Instant::now();
        let turn = self.next.get().max(now);
        let gap = Duration::from_secs_f64(1.0 / f64::from(u32::try_from(rate).unwrap_or(u32::MAX)));
        self.next.set(turn + gap);
        if turn > now {
            clock::pause(turn - now).await;
        }
    }
}

/// In seconds.
fn ahead() -> usize {
    usize::try_from(MAX_RATE_LIMIT_WAIT.as_secs()).unwrap_or(usize::MAX)
}
