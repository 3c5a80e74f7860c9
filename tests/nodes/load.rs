//! Sends callbacks to the balancer at a constant rate, as Twilio does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Connections};
use crate::pause;
use crate::support::ledger::Ledger;
use crate::support::sender::Call;

/// Calls per second.
const RATE: u64 = 200;

/// Enough for all requests that wait while the nodes detect an outage of the database.
const SENDERS: u64 = 64;

pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    seed: u64,
    ledger: Arc<Ledger>,
    started: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    results: Mutex<Results>,
}

/// The responses so far.
#[derive(Clone, Default)]
pub struct Results {
    pub requests: u64,
    /// One sentence for each request that was not answered 204.
    pub failed: Vec<String>,
    pub slowest: Duration,
    pub duration: Duration,
}

impl Load {
    pub fn start(to: SocketAddr, seed: u64, ledger: &Arc<Ledger>) -> Self {
        let shared = Arc::new(Shared {
            to,
            seed,
            ledger: Arc::clone(ledger),
            started: Instant::now(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            results: Mutex::default(),
        });
        let sender = |number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.send_calls(number))
        };
        let senders = (0..SENDERS).map(sender).collect();
        Self { shared, senders }
    }

    /// Stops sending, and waits for the last responses.
    pub fn stop(self) -> Results {
        self.shared.stop.store(true, Ordering::Relaxed);
        let duration = self.shared.started.elapsed();
        for sender in self.senders {
            sender.join().expect("a sender ends");
        }
        let results = self.shared.results.lock().expect("no sender panicked");
        Results {
            duration,
            ..results.clone()
        }
    }
}

impl Results {
    pub fn rate(&self) -> f64 {
        let requests = u32::try_from(self.requests).unwrap_or(u32::MAX);
        f64::from(requests) / self.duration.as_secs_f64()
    }
}

impl Shared {
    fn send_calls(&self, sender: u64) {
        let mut chance = fastrand::Rng::with_seed(self.seed.wrapping_add(sender));
        let connections = if sender.is_multiple_of(2) {
            Connections::PerRequest
        } else {
            Connections::KeepAlive
        };
        let mut client = Client::new(self.to, connections);
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.started + Duration::from_nanos(number * 1_000_000_000 / RATE);
            pause(due.saturating_duration_since(Instant::now()));
            self.send_call(&Call::new(self.seed, number), &mut client, &mut chance);
        }
    }

    /// Sends a callback once, as Twilio does; some twice, also after a failure.
    fn send_call(&self, call: &Call, client: &mut Client, chance: &mut fastrand::Rng) {
        let mut tries = 1 + usize::from(chance.f64() < 0.03);
        self.ledger.sends(call);
        while tries > 0 {
            tries -= 1;
            let started = Instant::now();
            let response = client.send(call);
            let took = started.elapsed();
            let mut results = self.results.lock().expect("no sender panicked");
            results.requests += 1;
            results.slowest = results.slowest.max(took);
            match response {
                Ok(204) => self.ledger.answered(call, 204),
                failure => {
                    let at = self.started.elapsed();
                    let failed = format!("{} at {at:.1?} after {took:.0?}: {failure:?}", call.sid);
                    results.failed.push(failed);
                    if chance.f64() < 0.5 {
                        tries = 1;
                    }
                }
            }
        }
    }
}
