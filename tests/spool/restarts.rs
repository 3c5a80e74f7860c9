//! The database goes and comes back, again and again, under load: no request fails, and at the end
//! nothing that was promised is missing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};

use crate::support::http::ask_admin;
use crate::support::ledger::Ledger;
use crate::support::postgres_server::Server;
use crate::support::sender::{Call, send};
use crate::support::serve::Serve;
use crate::{Fault, pause, serve, until};

const RESTARTS: usize = 6;
const SEED: u64 = 1;

/// Callbacks per second.
const RATE: u64 = 100;
const SENDERS: usize = 8;

/// The longest outage of the database, and the longest time between outages.
const LONGEST: Duration = Duration::from_millis(2_500);

#[test]
fn no_request_fails_and_nothing_is_lost_through_restarts_of_the_database() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Arc::new(Ledger::default());
    let (to_book, arrivals) = sync_channel(1024);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let acquire =
        FakeAcquire::start(listen, Faults::default(), Retain::Pass(to_book)).expect("a port");
    let notes = thread::spawn({
        let ledger = Arc::clone(&ledger);
        move || arrivals.iter().for_each(|request| ledger.arrived(&request))
    });
    let spool = folder.path().join("spool.db");
    let bridge = Serve::by(serve(&server, &spool, &acquire.base_url()));

    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let rings = || {
        let mut slowest = Duration::ZERO;
        while !enough.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = started + Duration::from_nanos(number * 1_000_000_000 / RATE);
            pause(due.saturating_duration_since(Instant::now()));
            let call = Call::new(SEED, number);
            ledger.sends(&call);
            let asked = Instant::now();
            let status = send(bridge.public, &call).expect("an answer");
            slowest = slowest.max(asked.elapsed());
            assert_eq!(status, 204);
            ledger.answered(&call, status);
        }
        slowest
    };
    let ways: [(Fault, Fault); 3] = [
        (Server::stop, Server::start_again),
        (Server::crash, Server::start_again),
        (Server::freeze, Server::thaw),
    ];
    let slowest = thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(rings)).collect();
        let mut chance = fastrand::Rng::with_seed(SEED);
        for (goes, returns) in ways.iter().cycle().take(RESTARTS) {
            pause(LONGEST.mul_f64(chance.f64()));
            goes(&server);
            pause(LONGEST.mul_f64(chance.f64()));
            returns(&server);
        }
        enough.store(true, Ordering::Relaxed);
        let slowest = senders.into_iter().map(thread::ScopedJoinHandle::join);
        slowest.map(|slowest| slowest.expect("204 only")).max()
    });
    let lasted = started.elapsed();

    let metrics = || ask_admin(bridge.admin, "/metrics", &[]).body;
    until("the spool is empty", || {
        metrics().contains("bridge_spooled_callbacks 0\n")
    });
    until("nothing is pending", || {
        server.sql("SELECT count(*) FROM call WHERE state = 'pending'") == "0"
    });
    bridge.signal("-TERM");
    assert_eq!(bridge.ends().0, Some(0));
    drop(acquire);
    notes.join().expect("all arrivals are noted");
    let balance = ledger.balance(&HashSet::new());
    println!(
        "{RESTARTS} restarts of the database in {lasted:.0?}: {} callbacks sent, {} answered 2xx, \
         wrong {}, repeats {}, the slowest answer {:.0?}",
        balance.sent,
        balance.accepted,
        balance.wrong.len(),
        balance.repeats,
        slowest.unwrap_or_default(),
    );
    assert_eq!(balance.wrong, Vec::<String>::new());
    assert_eq!(balance.accepted, balance.sent);
}
