//! Spaces requests out if `delivery.max_rate` is set, and lets accounts take turns; counts no requests in
//! flight.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock;
use crate::config::MAX_RATE_LIMIT_WAIT;
use crate::domain::shares::Turns;

/// Grants one request after another, at even intervals.
#[derive(Debug)]
pub struct RateLimiter {
    /// Requests per second.
    rate: Cell<Option<usize>>,
    next: Cell<Instant>,
    turns: RefCell<Turns<oneshot::Sender<()>>>,
    is_granting: Cell<bool>,
}

impl RateLimiter {
    pub fn new(rate: Option<usize>) -> Self {
        Self {
            rate: Cell::new(rate),
            next: Cell::new(Instant::now()),
            turns: RefCell::default(),
            is_granting: Cell::new(false),
        }
    }

    /// Changes the rate, also for the requests that wait.
    pub fn set_rate(&self, rate: Option<usize>) {
        self.rate.set(rate);
    }

    /// The number of calls, at most `limit`, that may be claimed at once: a claimed call must not wait
    /// for its request longer than its lease allows.
    pub fn claims(&self, limit: usize) -> usize {
        let seconds = usize::try_from(MAX_RATE_LIMIT_WAIT.as_secs()).unwrap_or(usize::MAX);
        self.rate
            .get()
            .map_or(limit, |rate| rate.saturating_mul(seconds).min(limit))
    }

    /// Returns when the next request of `account` may be sent, and whether time has passed.
    pub async fn has_waited(self: &Rc<Self>, account: &str) -> bool {
        if self.rate.get().is_none() {
            return false;
        }
        let (turn, granted) = oneshot::channel();
        self.turns.borrow_mut().join(account, turn);
        if !self.is_granting.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).grant());
        }
        // Fails only if the thread ends.
        let _ = granted.await;
        true
    }

    /// Grants turns until none waits.
    async fn grant(self: Rc<Self>) {
        while !self.turns.borrow().is_empty() {
            let now = Instant::now();
            let at = self.next.get().max(now);
            if at > now {
                clock::pause(at - now).await;
            }
            // Chosen only now, so that a call of another account is not behind those that came earlier.
            let turn = self.turns.borrow_mut().take();
            if turn.is_some_and(|turn| turn.send(()).is_ok()) {
                self.next.set(at + self.gap());
            }
        }
        self.is_granting.set(false);
    }

    fn gap(&self) -> Duration {
        let rate = self.rate.get().and_then(|rate| u32::try_from(rate).ok());
        rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1))
    }
}
