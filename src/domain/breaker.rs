//! Decides when deliveries to an account of Acquire pause, when they are probed, and how fast they
//! resume.
//!
//! Each account has one breaker. It counts answers and adds time; it sends nothing.

use std::time::Duration;

use crate::acquire::{AcquireResponse, DeliveryFault, Outcome};
use crate::clock::Millis;
use crate::domain::failing_calls::FailureCause;

/// The number of failures in a row that open a breaker.
const OPEN_AFTER_FAILURES: u32 = 5;

/// The time from opening to the first probe; doubled after each failed probe, up to a maximum.
const FIRST_PROBE_DELAY: Duration = Duration::from_secs(1);

/// The settings of a breaker.
#[derive(Clone, Copy, Debug)]
pub struct BreakerLimits {
    /// The longest wait between two probes (`delivery.probe_max`).
    pub probe_max: Duration,
    /// The number of requests at once (`delivery.concurrency`); after an outage the breaker returns to it
    /// step by step.
    pub concurrency: usize,
}

/// What an answer shows about Acquire, apart from its meaning for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Acquire works; a refusal or an unclear answer concerns only the one call.
    Good,
    Bad,
    /// A setting is wrong: the next request would fail too.
    Misconfigured,
    /// The call's own data is at fault, which shows nothing about Acquire.
    OwnData,
}

/// The call that a probe takes. Probes alternate, so that neither failing calls nor an account without new
/// calls can keep a breaker open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeCall {
    /// One that has not failed yet, if there is one.
    Unfailed,
    LongestDue,
}

impl Signal {
    pub fn of(answer: &AcquireResponse, cause: FailureCause) -> Self {
        match answer.outcome {
            Outcome::Retry { .. } if cause == FailureCause::OwnData => Self::OwnData,
            Outcome::Retry { fault, .. } => match fault {
                DeliveryFault::Configuration | DeliveryFault::ProxyRefused => Self::Misconfigured,
                fault if fault.is_unclear() => Self::Good,
                _ => Self::Bad,
            },
            Outcome::Accepted | Outcome::AcceptedAsRepeat | Outcome::Refused => Self::Good,
        }
    }
}

/// The change of a breaker after an answer.
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
        /// The number of requests that may be in flight.
        permits: usize,
        /// Good answers since `permits` last changed.
        good: usize,
    },
    Open {
        probe_at: Millis,
        wait: Duration,
        probe: ProbeCall,
    },
}

impl Breaker {
    pub fn new(limits: BreakerLimits) -> Self {
        Self {
            limits,
            state: State::Closed {
                failures: 0,
                permits: limits.concurrency,
                good: 0,
            },
            closed: None,
        }
    }

    /// A closed breaker after a reload at `now`: answers to earlier requests show nothing about the new
    /// settings.
    pub fn reloaded(limits: BreakerLimits, now: Millis) -> Self {
        Self {
            closed: Some(now),
            ..Self::new(limits)
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether the breaker is closed and back at its full rate.
    pub fn is_fully_closed(&self) -> bool {
        matches!(self.state, State::Closed { permits, .. } if permits == self.limits.concurrency)
    }

    /// The number of requests that may start at `now` beside those in flight.
    pub fn permits(&self, in_flight: usize, now: Millis) -> usize {
        match self.state {
            State::Closed { permits, .. } => permits.saturating_sub(in_flight),
            // One probe at a time, once the requests from before the outage have ended.
            State::Open { .. } => {
                usize::from(in_flight == 0 && self.probe_at(now).is_some_and(|at| now >= at))
            }
        }
    }

    /// When the next probe is due, while open. It is due at once if it is further away than it was ever to be:
    /// the clock was set back since.
    pub fn probe_at(&self, now: Millis) -> Option<Millis> {
        match self.state {
            State::Open { probe_at, wait, .. } if probe_at > now.plus(wait) => Some(now),
            State::Open { probe_at, .. } => Some(probe_at),
            State::Closed { .. } => None,
        }
    }

    /// The call that the next probe takes, while open.
    pub fn probe(&self) -> Option<ProbeCall> {
        match self.state {
            State::Open { probe, .. } => Some(probe),
            State::Closed { .. } => None,
        }
    }

    /// Evaluates an answer that arrived at `now` for a request sent at `sent`.
    pub fn report(&mut self, signal: Signal, sent: Millis, now: Millis) -> Change {
        match (signal, self.state) {
            (Signal::Good, State::Open { .. }) => self.close(now),
            (Signal::Good, State::Closed { permits, good, .. }) => {
                self.state = self.after_good(permits, good + 1);
                Change::None
            }
            // Only a probe shows the present state; an older request says nothing new.
            (_, State::Open { probe_at, wait, .. })
                if sent < probe_at && probe_at <= now.plus(wait) =>
            {
                Change::None
            }
            (signal, State::Open { wait, probe, .. }) => {
                let wait = if signal == Signal::OwnData {
                    wait
                } else {
                    wait * 2
                };
                let next = match probe {
                    ProbeCall::Unfailed => ProbeCall::LongestDue,
                    ProbeCall::LongestDue => ProbeCall::Unfailed,
                };
                self.open(wait, next, now);
                Change::None
            }
            (Signal::OwnData, State::Closed { .. }) => Change::None,
            // Sent before the breaker closed: it shows an outage that is over.
            // A later time than now is one from before the clock was set back.
            (_, State::Closed { .. }) if self.closed.is_some_and(|at| sent < at && at <= now) => {
                Change::None
            }
            (Signal::Misconfigured, State::Closed { .. }) => {
                self.open(FIRST_PROBE_DELAY, ProbeCall::Unfailed, now)
            }
            (
                Signal::Bad,
                State::Closed {
                    failures, permits, ..
                },
            ) => {
                let failures = failures + 1;
                if failures >= OPEN_AFTER_FAILURES {
                    return self.open(FIRST_PROBE_DELAY, ProbeCall::Unfailed, now);
                }
                // At the full rate one failure may be the call's own, so only a series counts.
                let permits = if self.is_fully_closed() {
                    permits
                } else {
                    // While the rate rises, a failure may mean too much load.
                    (permits / 2).max(1)
                };
                self.state = State::Closed {
                    failures,
                    permits,
                    good: 0,
                };
                Change::None
            }
        }
    }

    fn open(&mut self, wait: Duration, probe: ProbeCall, now: Millis) -> Change {
        let wait = wait.min(self.limits.probe_max);
        self.state = State::Open {
            probe_at: now.plus(wait),
            wait,
            probe,
        };
        Change::Opened
    }

    fn close(&mut self, now: Millis) -> Change {
        self.closed = Some(now);
        self.state = State::Closed {
            failures: 0,
            permits: 1,
            good: 0,
        };
        Change::Closed
    }

    /// Doubles the permits once as many answers were good as requests may be in flight.
    fn after_good(&self, permits: usize, good: usize) -> State {
        let (permits, good) = if good >= permits {
            ((permits * 2).min(self.limits.concurrency), 0)
        } else {
            (permits, good)
        };
        State::Closed {
            failures: 0,
            permits,
            good,
        }
    }
}

#[cfg(test)]
mod tests;
