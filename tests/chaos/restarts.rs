//! Restarts on sockets that systemd holds: a client that connects meanwhile sees only a delay.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};

use crate::kills::comes_to_rest;
use crate::manager::Manager;
use crate::support::ledger::Ledger;
use crate::support::process::{Addresses, Serve};
use crate::support::sender::{Call, ask, send, send_slowly};
use crate::{number, pause};

/// Enough for all who wait while none accepts.
const SENDERS: usize = 500;

/// The longest time from ready to the next stop.
const LONGEST_LIFE: Duration = Duration::from_millis(400);

/// The longest silence of a client that has connected.
const LONGEST_SILENCE: Duration = Duration::from_millis(400);

/// What all who send have in common.
struct Crowd {
    addresses: Addresses,
    seed: u64,
    started: Instant,
    /// Callbacks per second, each on a connection of its own.
    rate: u64,
    next: AtomicU64,
    stop: AtomicBool,
    ledger: Arc<Ledger>,
    failed: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

#[test]
fn no_request_fails_through_restarts() {
    let (restarts, seed) = (number("CHAOS_RESTARTS", 10), number("CHAOS_SEED", 1));
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let manager = Manager::listens(folder.path());
    let ledger = Arc::new(Ledger::default());
    let (acquire, arrivals) = acquire(&ledger);
    let start = || {
        let serve = Serve::spawn(manager.command("public:admin", &database, &acquire.base_url()));
        manager.hears("READY=1");
        serve
    };
    let mut serve = start();
    let crowd = Arc::new(Crowd {
        addresses: manager.addresses(),
        seed,
        started: Instant::now(),
        // What a debug build answers also on a part of two processors.
        rate: 200,
        next: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        ledger: Arc::clone(&ledger),
        failed: Mutex::default(),
        slowest: Mutex::default(),
    });
    let senders = crowd.calls();

    let mut chance = fastrand::Rng::with_seed(seed);
    let mut took = Vec::new();
    for _ in 0..restarts {
        pause(LONGEST_LIFE.mul_f64(chance.f64()));
        let started = Instant::now();
        assert!(serve.stop().success(), "{:?}", serve.log());
        manager.hears("STOPPING=1");
        serve = start();
        took.push(started.elapsed());
    }
    crowd.stop.store(true, Ordering::Relaxed);
    let lasted = crowd.started.elapsed();
    for sender in senders {
        sender.join().expect("a sender ends");
    }
    comes_to_rest(&database);
    assert!(serve.stop().success(), "{:?}", serve.log());
    drop(acquire);
    arrivals.join().expect("all arrivals are noted");

    let balance = ledger.balance(&HashSet::new());
    let failed = crowd.failed.lock().expect("no thread panics with it");
    took.sort_unstable();
    let sent = f64::from(u32::try_from(balance.sent).unwrap_or(u32::MAX));
    println!(
        "restarts {restarts}, seed {seed}, {lasted:.0?}: {} callbacks sent ({:.0}/s), {} answered 2xx, failed {}, \
         wrong {}, repeats {}, a restart took p50 {:.0?} and at most {:.0?}, the slowest answer {:.0?}",
        balance.sent,
        sent / lasted.as_secs_f64(),
        balance.accepted,
        failed.len(),
        balance.wrong.len(),
        balance.repeats,
        took[took.len() / 2],
        took[took.len() - 1],
        crowd.slowest.lock().expect("no thread panics with it"),
    );
    assert_eq!(*failed, Vec::<String>::new(), "seed {seed}");
    assert_eq!(balance.wrong, Vec::<String>::new(), "seed {seed}");
    assert_eq!(balance.accepted, balance.sent);
    // No request to Acquire was cut off either.
    assert_eq!(balance.repeats, 0);
}

impl Crowd {
    fn calls(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let sender = |crowd: Arc<Self>| {
            move || {
                while !crowd.stop.load(Ordering::Relaxed) {
                    let number = crowd.next.fetch_add(1, Ordering::Relaxed);
                    let due =
                        crowd.started + Duration::from_nanos(number * 1_000_000_000 / crowd.rate);
                    pause(due.saturating_duration_since(Instant::now()));
                    crowd.rings(number);
                }
            }
        };
        (0..SENDERS)
            .map(|_| thread::spawn(sender(Arc::clone(self))))
            .collect()
    }

    /// One callback, by a client of one of several tempers; some send to the admin listener too.
    fn rings(&self, number: u64) {
        let call = Call::new(self.seed, number);
        let mut chance = fastrand::Rng::with_seed(self.seed ^ number);
        let Addresses { public, admin } = self.addresses;
        self.ledger.sends(&call);
        let started = Instant::now();
        let answer = if chance.f64() < 0.2 {
            let silence = LONGEST_SILENCE.mul_f64(chance.f64());
            send_slowly(public, &call, silence)
        } else {
            send(public, &call)
        };
        let took = started.elapsed();
        match answer {
            Ok(204) => self.ledger.answered(&call, 204),
            answer => self.notes(format!("{} after {took:.0?}: {answer:?}", call.sid)),
        }
        if chance.f64() < 0.1 {
            match ask(admin, "/livez") {
                Ok((200, _)) => {}
                answer => self.notes(format!("/livez: {answer:?}")),
            }
        }
        let mut slowest = self.slowest.lock().expect("no thread panics with it");
        *slowest = took.max(*slowest);
    }

    fn notes(&self, failure: String) {
        let mut failed = self.failed.lock().expect("no thread panics with it");
        failed.push(failure);
    }
}

fn acquire(ledger: &Arc<Ledger>) -> (FakeAcquire, JoinHandle<()>) {
    let (to_book, arrivals) = sync_channel(1024);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let faults = Faults {
        delay: Duration::from_millis(50),
        ..Faults::default()
    };
    let sink = FakeAcquire::start(listen, faults, Retain::Pass(to_book)).expect("a free port");
    let ledger = Arc::clone(ledger);
    let notes = thread::spawn(move || {
        for request in arrivals {
            ledger.arrived(&request);
        }
    });
    (sink, notes)
}
