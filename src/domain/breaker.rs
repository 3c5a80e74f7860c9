//! When Acquire is left alone, when it is asked again, and how calmly the calls that waited follow.
//!
//! One breaker for each of Acquire's accounts. It counts answers and adds time; it sends nothing.

use std::time::Duration;

use crate::acquire::{AcquireResponse, DeliveryFault, Outcome};
use crate::clock::Millis;

/// So many failures in a row open it.
const FAILURES: u32 = 5;

/// From opening to the first probe; doubled after each probe that fails, up to a maximum.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// The operator's choices.
#[derive(Clone, Copy, Debug)]
pub struct BreakerLimits {
    /// The longest wait between two probes (`delivery.probe_max`).
    pub probe_max: Duration,
    /// The most requests at once (`delivery.concurrency`), reached again step by step.
    pub concurrency: usize,
}

/// What an answer tells of Acquire, whatever it means for its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It answers; a refusal or an unclear answer concerns the one call.
    Good,
    Bad,
    /// A setting is wrong: the next request would fare no better.
    Misconfigured,
}

impl Signal {
    #[must_use]
    pub fn of(answer: &AcquireResponse) -> Self {
        match answer.outcome {
            Outcome::Retry { fault, .. } => match fault {
                DeliveryFault::Configuration | DeliveryFault::ProxyRefused => Self::Misconfigured,
                fault if fault.is_unclear() => Self::Good,
                _ => Self::Bad,
            },
            Outcome::Accepted | Outcome::AcceptedAsRepeat | Outcome::Refused => Self::Good,
        }
    }
}

/// What a report led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Opened,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// When it last closed.
    closed: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
        /// How many requests may be under way.
        room: usize,
        /// Good answers since `room` last changed.
        good: usize,
    },
    Open {
        probe_at: Millis,
        wait: Duration,
    },
}

impl Breaker {
    #[must_use]
    pub fn new(limits: BreakerLimits) -> Self {
        Self {
            limits,
            state: State::Closed {
                failures: 0,
                room: limits.concurrency,
                good: 0,
            },
            closed: None,
        }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Closed and back at its full rate: nothing needs to be asked or told.
    #[must_use]
    pub fn is_fully_closed(&self) -> bool {
        matches!(self.state, State::Closed { room, .. } if room == self.limits.concurrency)
    }

    /// How many more requests may begin at `now` beside those under way.
    #[must_use]
    pub fn permits(&self, under_way: usize, now: Millis) -> usize {
        match self.state {
            State::Closed { room, .. } => room.saturating_sub(under_way),
            State::Open { probe_at, .. } => usize::from(under_way == 0 && now >= probe_at),
        }
    }

    /// When the next probe is due, while open.
    #[must_use]
    pub fn probe_at(&self) -> Option<Millis> {
        match self.state {
            State::Open { probe_at, .. } => Some(probe_at),
            State::Closed { .. } => None,
        }
    }

    /// When a call that Acquire failed at `tried` is due: at `due`, or when Acquire came back.
    #[must_use]
    pub fn retry_now(&self, tried: Millis, due: Millis) -> Millis {
        match self.closed {
            Some(closed) if tried < closed => due.min(closed),
            _ => due,
        }
    }

    /// Takes the answer of `now` to a request that was sent at `sent`.
    pub fn report(&mut self, sign: Signal, sent: Millis, now: Millis) -> Change {
        match (sign, self.state) {
            (Signal::Good, State::Open { .. }) => self.close(now),
            (Signal::Good, State::Closed { room, good, .. }) => {
                self.state = self.after_good(room, good + 1);
                Change::None
            }
            (_, State::Open { probe_at, wait }) => {
                // What was sent before tells nothing new.
                if sent >= probe_at {
                    let wait = (wait * 2).min(self.limits.probe_max);
                    self.open(wait, now);
                }
                Change::None
            }
            (Signal::Misconfigured, State::Closed { .. }) => self.open(FIRST_PROBE, now),
            (Signal::Bad, State::Closed { .. }) if self.closed.is_some_and(|at| sent < at) => {
                Change::None
            }
            (Signal::Bad, State::Closed { failures, room, .. }) => {
                let failures = failures + 1;
                if failures >= FAILURES {
                    return self.open(FIRST_PROBE, now);
                }
                // At the full rate a failure is that call's own until there are more.
                let room = if self.is_fully_closed() {
                    room
                } else {
                    (room / 2).max(1)
                };
                self.state = State::Closed {
                    failures,
                    room,
                    good: 0,
                };
                Change::None
            }
        }
    }

    fn open(&mut self, wait: Duration, now: Millis) -> Change {
        let wait = wait.min(self.limits.probe_max);
        self.state = State::Open {
            probe_at: now.plus(wait),
            wait,
        };
        Change::Opened
    }

    fn close(&mut self, now: Millis) -> Change {
        self.closed = Some(now);
        self.state = State::Closed {
            failures: 0,
            room: 1,
            good: 0,
        };
        Change::Closed
    }

    /// Room doubles once as many were answered well as may be under way.
    fn after_good(&self, room: usize, good: usize) -> State {
        let (room, good) = if good >= room {
            ((room * 2).min(self.limits.concurrency), 0)
        } else {
            (room, good)
        };
        State::Closed {
            failures: 0,
            room,
            good,
        }
    }
}

#[cfg(test)]
mod tests;
