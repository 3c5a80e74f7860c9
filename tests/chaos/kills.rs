//! `kill -9` at random moments under load; at the end nothing that was promised is missing.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::{
    CapturedRequest, FakeAcquire, Faults, Reply, Retain, Share,
};
use twilio_acquire_bridge::store::{ListFilter, ReadStore as _, SqliteReader, State};
use twilio_acquire_bridge::twilio::CallSid;

use crate::support::ledger::{Balance, Ledger};
use crate::support::process::{self, Addresses, Serve};
use crate::support::sender::{ACCOUNT, Call, ask, send};
use crate::{number, pause};

/// Callbacks offered per second, new calls only.
const RATE: u64 = 250;

const SENDERS: usize = 8;

/// The longest time from the first answer to the kill.
const LONGEST_LIFE: Duration = Duration::from_millis(600);

/// How long the delivery of all requests may take after the last kill.
const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// Calls of the one who kills are counted from here, so that no sender has the same.
const KILLERS_CALLS: u64 = 1 << 40;

/// What a run is made of, from the environment that `tests/run chaos` sets.
struct Plan {
    kills: u64,
    seed: u64,
}

impl Plan {
    fn from_environment() -> Self {
        Self {
            kills: number("CHAOS_KILLS", 25),
            seed: number("CHAOS_SEED", 1),
        }
    }
}

#[test]
fn nothing_that_was_answered_is_lost_through_kills() {
    let plan = Plan::from_environment();
    let started = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let ledger = Arc::new(Ledger::default());
    let (acquire, arrivals) = acquire(&plan, Arc::clone(&ledger));
    let bridge = Arc::new(Bridge::default());
    let senders = start_senders(&plan, &bridge, &ledger);

    let mut starts = Vec::new();
    let mut chance = fastrand::Rng::with_seed(plan.seed);
    for kill in 0..plan.kills {
        let mut serve = Serve::spawn(command(&database, &acquire));
        if chance.f64() < 0.1 {
            // While it starts: on opening, migrating, binding.
            pause(Duration::from_micros(chance.u64(..40_000)));
            serve.kill();
            continue;
        }
        starts.push(answers(
            &mut serve,
            &bridge,
            &ledger,
            &Call::new(plan.seed, KILLERS_CALLS + kill),
        ));
        pause(LONGEST_LIFE.mul_f64(chance.f64()));
        serve.kill();
        bridge.is_gone();
    }

    let mut serve = Serve::spawn(command(&database, &acquire));
    answers(
        &mut serve,
        &bridge,
        &ledger,
        &Call::new(plan.seed, KILLERS_CALLS + plan.kills),
    );
    bridge.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("a sender ends");
    }
    comes_to_rest(&database);
    acquire.behaves(Faults::default());
    a_fresh_call_passes(&plan, &bridge, &ledger, &database);
    let admin = bridge.addresses().expect("it serves").admin;
    let until = Instant::now() + WAIT_LIMIT;
    loop {
        let (_, metrics) = ask(admin, "/metrics").expect("an answer");
        if metrics.contains("bridge_calls{state=\"claimed\"} 0") {
            break;
        }
        assert!(Instant::now() < until, "{metrics}");
        pause(Duration::from_millis(20));
    }
    assert!(serve.stop().success(), "{:?}", serve.log());
    drop(acquire);
    arrivals.join().expect("all arrivals are noted");

    let balance = ledger.balance(&parked(&database));
    report(&plan, &balance, starts, started.elapsed());
    assert_eq!(balance.wrong, Vec::<String>::new(), "seed {}", plan.seed);
    assert_eq!(
        ledger.report_errors(&report_of(&database)),
        Vec::<String>::new(),
        "seed {}",
        plan.seed
    );
    let reader = SqliteReader::open_read_only(&database).expect("a store");
    assert_eq!(
        reader.verify_consistency().expect("readable"),
        Vec::<String>::new()
    );
}

/// What the bridge reports of the calls of this database, without a process that serves it.
pub fn report_of(database: &Path) -> serde_json::Value {
    let mut command = std::process::Command::new(process::PROGRAM);
    process::configure(&mut command, database, "http://127.0.0.1:9");
    process::report(&mut command)
}

/// Where the bridge listens, while it does.
#[derive(Default)]
pub struct Bridge {
    addresses: Mutex<Option<Addresses>>,
    pub stop: AtomicBool,
}

impl Bridge {
    pub fn addresses(&self) -> Option<Addresses> {
        *self.addresses.lock().expect("no thread panics with it")
    }

    pub fn is_at(&self, addresses: Addresses) {
        *self.addresses.lock().expect("no thread panics with it") = Some(addresses);
    }

    pub fn is_gone(&self) {
        *self.addresses.lock().expect("no thread panics with it") = None;
    }
}

fn command(database: &Path, acquire: &FakeAcquire) -> std::process::Command {
    let mut command = process::serve(database, &acquire.base_url());
    command
        .env(
            "BRIDGE__DELIVERY__SCHEDULE",
            format!("20ms 50ms 100ms{}", " 300ms".repeat(90)),
        )
        .env("BRIDGE__ACQUIRE__UNCLEAR_TRIES", "90");
    command
}

/// A fake Acquire that often fails and now and then refuses, and the thread that notes what arrives.
fn acquire(plan: &Plan, ledger: Arc<Ledger>) -> (FakeAcquire, JoinHandle<()>) {
    let share = |reply, part| Share { reply, part };
    let faults = Faults {
        shares: vec![
            share(Reply::Status(503), 0.05),
            share(Reply::Reset, 0.02),
            share(Reply::SuccessFalse, 0.01),
            share(Reply::Duplicate, 0.01),
            share(Reply::Invalid, 0.01),
        ],
        seed: plan.seed,
        ..Faults::default()
    };
    let (to_book, arrivals) = sync_channel(1024);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let sink = FakeAcquire::start(listen, faults, Retain::Pass(to_book)).expect("a free port");
    let notes = thread::spawn(move || {
        for request in arrivals {
            ledger.arrived(&request);
        }
    });
    (sink, notes)
}

/// Sends one call as soon as it serves; the time from its start to that answer.
fn answers(serve: &mut Serve, bridge: &Bridge, ledger: &Ledger, call: &Call) -> Duration {
    let started = Instant::now();
    let addresses = serve.addresses();
    ledger.sends(call);
    let status = send(addresses.public, call).expect("it answers when it serves");
    ledger.answered(call, status);
    let took = started.elapsed();
    bridge.is_at(addresses);
    took
}

fn start_senders(plan: &Plan, bridge: &Arc<Bridge>, ledger: &Arc<Ledger>) -> Vec<JoinHandle<()>> {
    let next = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let sender = |number: usize| {
        let (next, bridge, ledger) = (Arc::clone(&next), Arc::clone(bridge), Arc::clone(ledger));
        let seed = plan.seed;
        let mut chance = fastrand::Rng::with_seed(seed.wrapping_add(number as u64));
        move || {
            while !bridge.stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = started + Duration::from_nanos(number * 1_000_000_000 / RATE);
                pause(due.saturating_duration_since(Instant::now()));
                rings(&Call::new(seed, number), &bridge, &ledger, &mut chance);
            }
        }
    };
    (0..SENDERS)
        .map(|number| thread::spawn(sender(number)))
        .collect()
}

/// Sends a call as Twilio does: once; some twice, as Twilio does where it lost the connection.
fn rings(call: &Call, bridge: &Bridge, ledger: &Ledger, chance: &mut fastrand::Rng) {
    let mut tries = 1 + usize::from(chance.f64() < 0.03);
    while tries > 0 {
        let Some(Addresses { public, .. }) = bridge.addresses() else {
            if bridge.stop.load(Ordering::Relaxed) {
                return;
            }
            pause(Duration::from_millis(1));
            continue;
        };
        tries -= 1;
        ledger.sends(call);
        match send(public, call) {
            Ok(status) => ledger.answered(call, status),
            // Not known whether it was kept.
            Err(_) if chance.f64() < 0.5 => tries = 1,
            Err(_) => {}
        }
    }
}

pub fn comes_to_rest(database: &Path) {
    let until = Instant::now() + WAIT_LIMIT;
    while !in_state(database, State::Pending, 1).is_empty() {
        assert!(
            Instant::now() < until,
            "calls are still pending after {WAIT_LIMIT:?}"
        );
        pause(Duration::from_millis(50));
    }
}

/// After the fake Acquire has become healthy, so that it is not refused by chance.
fn a_fresh_call_passes(plan: &Plan, bridge: &Bridge, ledger: &Ledger, database: &Path) {
    let call = Call::new(plan.seed, u64::MAX);
    ledger.sends(&call);
    let public = bridge.addresses().expect("it serves").public;
    let status = send(public, &call).expect("an answer");
    assert_eq!(status, 204);
    ledger.answered(&call, status);
    comes_to_rest(database);
    let sid = CallSid::parse(&call.sid).expect("a CallSid");
    let reader = SqliteReader::open_read_only(database).expect("a store");
    let call = reader.get(&sid).expect("readable").expect("recorded");
    assert_eq!(call.summary.state, State::Delivered);
}

fn in_state(database: &Path, state: State, limit: usize) -> Vec<CallSid> {
    let reader = SqliteReader::open_read_only(database).expect("a store");
    let state = Some(state);
    let calls = reader.list(ListFilter { state, limit }).expect("readable");
    calls.into_iter().map(|call| call.sid).collect()
}

pub fn parked(database: &Path) -> HashSet<String> {
    let calls = in_state(database, State::Parked, usize::MAX);
    calls.iter().map(|sid| sid.as_str().to_owned()).collect()
}

fn report(plan: &Plan, balance: &Balance, mut starts: Vec<Duration>, took: Duration) {
    starts.sort_unstable();
    let start = |part: usize| {
        starts
            .get(starts.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    let lost = balance
        .wrong
        .iter()
        .filter(|wrong| wrong.ends_with("is lost"))
        .count();
    println!(
        "kills {}, seed {}, {took:.0?}: {} callbacks sent ({:.0}/s), {} answered 2xx, lost {lost}, \
         wrong {}, parked {}, delivered though never answered {}, repeats per 10,000 {:.1}, \
         start to first answer p50 {:.0?} p99 {:.0?}",
        plan.kills,
        plan.seed,
        balance.sent,
        f64::from(u32::try_from(balance.sent).unwrap_or(u32::MAX)) / took.as_secs_f64(),
        balance.accepted,
        balance.wrong.len(),
        balance.parked,
        balance.delivered_unanswered,
        balance.repeats_per_10_000(),
        start(50),
        start(99),
    );
}

#[test]
fn the_ledger_finds_each_kind_of_error() {
    let arrival = |call: &Call, body: String, reply| CapturedRequest {
        time: twilio_acquire_bridge::clock::Millis(0),
        method: "POST".to_owned(),
        path: call.sid.clone(),
        headers: Vec::new(),
        body,
        reply,
    };
    let ledger = Ledger::default();
    let calls: Vec<Call> = (0..5).map(|number| Call::new(1, number)).collect();
    let [lost, delivered, changed, given_up, stranger] = &calls[..] else {
        panic!("five calls");
    };
    for call in [lost, delivered, changed, given_up] {
        ledger.sends(call);
        ledger.answered(call, 204);
    }
    ledger.arrived(&arrival(
        delivered,
        delivered.expected.to_string(),
        Reply::Saved,
    ));
    ledger.arrived(&arrival(
        delivered,
        delivered.expected.to_string(),
        Reply::Saved,
    ));
    ledger.arrived(&arrival(
        changed,
        lost.expected.to_string(),
        Reply::Status(503),
    ));
    ledger.arrived(&arrival(
        stranger,
        stranger.expected.to_string(),
        Reply::Saved,
    ));
    let other = changed.expected.to_string().replace("+1202", "+1203");
    ledger.arrived(&arrival(changed, other, Reply::Saved));
    let balance = ledger.balance(&HashSet::from([given_up.sid.clone()]));
    assert_eq!(balance.repeats, 1);
    ledger.arrived(&arrival(
        given_up,
        given_up.expected.to_string(),
        Reply::Invalid,
    ));
    let sums = |in_time: u64| {
        let skipped = serde_json::Map::new();
        serde_json::json!({
            "received": 3, "in_time": in_time, "late": 0, "waiting": 0, "skipped": skipped,
            "parked": 1, "dismissed": 0, "expired": 0, "erased": 0,
        })
    };
    let report = |days: &[u64], total: u64| {
        let days: Vec<_> = days.iter().map(|in_time| sums(*in_time)).collect();
        let accounts = serde_json::json!({ ACCOUNT: sums(2) });
        ledger.report_errors(&serde_json::json!({
            "days": days, "accounts": accounts, "total": sums(total),
        }))
    };
    assert_eq!(report(&[2], 2), Vec::<String>::new());
    for (days, total) in [(&[2][..], 1), (&[1], 2), (&[2, 0], 2), (&[], 2)] {
        assert_eq!(report(days, total).len(), 1, "{days:?} {total}");
    }
    let mut wrong = balance.wrong;
    wrong.sort();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    let errors = wrong.join("\n");
    for words in [
        "arrived and was never sent",
        " was expected",
        "is parked and was never refused",
    ] {
        assert!(errors.contains(words), "{words} in {errors}");
    }
    assert!(
        errors.contains(&format!("{} is lost", lost.sid)),
        "{errors}"
    );
}
