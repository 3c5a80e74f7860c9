//! All who send callbacks to the balancer, at a steady rate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::line::{Habit, Line};
use crate::pause;
use crate::support::book::Book;
use crate::support::sender::Call;

/// Calls per second.
const RATE: u64 = 200;

/// Enough for all who wait while the nodes find out that the database is away.
const SENDERS: u64 = 64;

pub struct Crowd {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    seed: u64,
    book: Arc<Book>,
    begun: Instant,
    next: AtomicU64,
    stop: AtomicBool,
    noted: Mutex<Noted>,
}

/// What the crowd has seen.
#[derive(Clone, Default)]
pub struct Noted {
    pub requests: u64,
    /// One sentence for each request that was not answered 204.
    pub failed: Vec<String>,
    pub slowest: Duration,
    pub lasted: Duration,
}

impl Crowd {
    pub fn calls(to: SocketAddr, seed: u64, book: &Arc<Book>) -> Self {
        let shared = Arc::new(Shared {
            to,
            seed,
            book: Arc::clone(book),
            begun: Instant::now(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            noted: Mutex::default(),
        });
        let sender = |number| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.calls(number))
        };
        let senders = (0..SENDERS).map(sender).collect();
        Self { shared, senders }
    }

    pub fn goes_home(self) -> Noted {
        self.shared.stop.store(true, Ordering::Relaxed);
        let lasted = self.shared.begun.elapsed();
        for sender in self.senders {
            sender.join().expect("a sender ends");
        }
        let noted = self.shared.noted.lock().expect("nobody panics with it");
        Noted {
            lasted,
            ..noted.clone()
        }
    }
}

impl Noted {
    pub fn rate(&self) -> f64 {
        let requests = u32::try_from(self.requests).unwrap_or(u32::MAX);
        f64::from(requests) / self.lasted.as_secs_f64()
    }
}

impl Shared {
    fn calls(&self, sender: u64) {
        let mut chance = fastrand::Rng::with_seed(self.seed.wrapping_add(sender));
        let habit = [Habit::Closes, Habit::Keeps][usize::from(sender % 2 == 1)];
        let mut line = Line::new(self.to, habit);
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let due = self.begun + Duration::from_nanos(number * 1_000_000_000 / RATE);
            pause(due.saturating_duration_since(Instant::now()));
            self.rings(&Call::new(self.seed, number), &mut line, &mut chance);
        }
    }

    /// Sends a call as Twilio does: once; some twice, also where no answer came.
    fn rings(&self, call: &Call, line: &mut Line, chance: &mut fastrand::Rng) {
        let mut tries = 1 + usize::from(chance.f64() < 0.03);
        self.book.sends(call);
        while tries > 0 {
            tries -= 1;
            let begun = Instant::now();
            let answer = line.sends(call);
            let took = begun.elapsed();
            let mut noted = self.noted.lock().expect("nobody panics with it");
            noted.requests += 1;
            noted.slowest = noted.slowest.max(took);
            match answer {
                Ok(204) => self.book.answered(call, 204),
                failure => {
                    let at = self.begun.elapsed();
                    let told = format!("{} at {at:.1?} after {took:.0?}: {failure:?}", call.sid);
                    noted.failed.push(told);
                    if chance.f64() < 0.5 {
                        tries = 1;
                    }
                }
            }
        }
    }
}
