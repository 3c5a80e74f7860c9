//! Hours under load, with faults on both sides in turn: nothing is lost, and memory, descriptors, file sizes
//! and lag stay level.

mod faults;
mod figures;
mod sink;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::store::{ReadStore as _, SqliteReader};

use self::faults::{AcquireFault, BridgeFault};
use self::figures::Recorder;
use self::sink::Sink;
use crate::kills::{Bridge, comes_to_rest, parked, report_of};
use crate::mount::Mount;
use crate::support::ledger::{Balance, Ledger};
use crate::support::process::{self, Serve};
use crate::support::sender::{Call, ask, send};
use crate::{left_out, number, pause};

/// Enough for all requests that wait for an answer while the disk stalls.
const SENDERS: u64 = 32;

/// The time after the end of a fault within which no calls may be left from it.
const RECOVERS_WITHIN: Duration = Duration::from_secs(90);

/// Calls on their way at any time.
const UNDER_WAY: f64 = 50.0;

const RELOADED: &str = "the configuration was reloaded";
const NOT_RELOADED: &str = "the configuration stays as it was";

/// What a run is made of, from the environment that `tests/run soak` sets.
#[derive(Clone, Copy)]
struct Plan {
    length: Duration,
    /// New calls per second, each on a connection of its own.
    rate: u64,
    seed: u64,
}

impl Plan {
    fn from_environment() -> Self {
        Self {
            length: Duration::from_secs(number("SOAK_SECONDS", 120)),
            rate: number("SOAK_RATE", 300),
            seed: number("SOAK_SEED", 1),
        }
    }

    /// How long each fault lasts.
    fn fault(&self) -> Duration {
        (self.length / 240).clamp(Duration::from_secs(3), Duration::from_secs(15))
    }

    /// How long no fault lasts between two.
    fn calm(&self) -> Duration {
        (self.fault() / 3).max(Duration::from_millis(2_500))
    }
}

#[test]
#[ignore = "takes an hour: tests/run soak"]
fn a_bridge_under_load_and_faults_loses_nothing_and_stays_level() {
    let plan = Plan::from_environment();
    let mut soak = Soak::starts(plan);
    let senders = soak.start_senders();
    let recorder = Recorder::start(&soak);

    let mut chance = fastrand::Rng::with_seed(plan.seed);
    let (mut at_acquire, mut at_bridge) = (Vec::new(), Vec::new());
    while soak.started.elapsed() < plan.length {
        let acquire = next(&AcquireFault::ALL, &mut at_acquire, &mut chance);
        let mut bridge = next(&BridgeFault::ALL, &mut at_bridge, &mut chance);
        // So that the last two thirds are one process, in which a leak would show.
        if bridge == BridgeFault::Kill && soak.started.elapsed() > plan.length / 3 {
            bridge = BridgeFault::None;
        }
        soak.turn(acquire, bridge, &recorder);
    }
    soak.bridge.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("a sender ends");
    }
    soak.recovers("the end");
    let levels = recorder.ends(plan.length);
    soak.ends(&levels);
}

/// The next of a list in a random order; all come before the first comes again.
fn next<T: Copy>(all: &[T], rest: &mut Vec<T>, chance: &mut fastrand::Rng) -> T {
    if rest.is_empty() {
        rest.extend(all);
        chance.shuffle(rest);
    }
    rest.pop().expect("not empty")
}

/// The bridge under test and all around it. The order of the fields is that of their end.
struct Soak {
    serve: Serve,
    sink: Sink,
    disk: Option<Mount>,
    folder: tempfile::TempDir,
    plan: Plan,
    started: Instant,
    database: PathBuf,
    bridge: Arc<Bridge>,
    /// The id of the bridge's process, where one runs.
    process: Arc<Mutex<Option<u32>>>,
    ledger: Arc<Ledger>,
    notes: JoinHandle<()>,
    counts: Arc<Counts>,
    /// How often each fault occurred.
    turns: BTreeMap<&'static str, usize>,
    /// The longest time that a backlog took, and after what.
    slowest: (Duration, String),
    reloads: usize,
    broken_reloads: usize,
    log: Vec<String>,
}

/// Answers and failures of the senders.
#[derive(Default)]
struct Counts {
    unavailable: AtomicU64,
    no_answer: AtomicU64,
}

impl Soak {
    fn starts(plan: Plan) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("disk");
        let disk = Mount::ext4(&folder.path().join("image"), 1024, &at);
        if disk.is_none() {
            left_out("a full disk in the soak: mounting an image needs root");
            std::fs::create_dir_all(&at).expect("a folder");
        }
        if faults::clock_library().is_none() {
            left_out("clock jumps in the soak: apt-get install faketime");
        }
        let database = at.join("bridge.db");
        let ledger = Arc::new(Ledger::default());
        let (sink, notes) = Sink::start(&ledger);
        let mut soak = Self {
            serve: Serve::spawn(command(&folder, &database, &sink)),
            sink,
            disk,
            folder,
            plan,
            started: Instant::now(),
            database,
            bridge: Arc::default(),
            process: Arc::default(),
            ledger,
            notes,
            counts: Arc::default(),
            turns: BTreeMap::new(),
            slowest: (Duration::ZERO, String::new()),
            reloads: 0,
            broken_reloads: 0,
            log: Vec::new(),
        };
        soak.serves();
        println!(
            "soak: {:?}, {}/s, seed {}",
            plan.length, plan.rate, plan.seed
        );
        soak
    }

    fn serves(&mut self) {
        self.bridge.is_at(self.serve.addresses());
        *self.process.lock().expect("no panic") = Some(self.serve.id());
    }

    fn is_killed_and_restarts(&mut self) {
        *self.process.lock().expect("no panic") = None;
        self.bridge.is_gone();
        self.serve.kill();
        self.log.extend(self.serve.log());
        self.serve = Serve::spawn(command(&self.folder, &self.database, &self.sink));
        self.serves();
    }

    fn start_senders(&self) -> Vec<JoinHandle<()>> {
        let next = Arc::new(AtomicU64::new(0));
        let (plan, started) = (self.plan, self.started);
        let sender = |_| {
            let (next, bridge) = (Arc::clone(&next), Arc::clone(&self.bridge));
            let (ledger, counts) = (Arc::clone(&self.ledger), Arc::clone(&self.counts));
            thread::spawn(move || {
                while !bridge.stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let due = started + Duration::from_nanos(number * 1_000_000_000 / plan.rate);
                    pause(due.saturating_duration_since(Instant::now()));
                    let mut call = Call::new(plan.seed, number);
                    call.form.push_str(&timestamp());
                    ledger.sends(&call);
                    // As Twilio does: once, whatever the answer is.
                    let answer = bridge.addresses().map(|at| send(at.public, &call));
                    match answer {
                        Some(Ok(status)) => {
                            ledger.answered(&call, status);
                            let is_unavailable = u64::from(status == 503);
                            counts
                                .unavailable
                                .fetch_add(is_unavailable, Ordering::Relaxed);
                        }
                        _ => drop(counts.no_answer.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            })
        };
        (0..SENDERS).map(sender).collect()
    }

    /// A fault of each side at the same time, then none.
    fn turn(&mut self, acquire: AcquireFault, bridge: BridgeFault, recorder: &Recorder) {
        let name = format!("{} and {}", acquire.name(), bridge.name());
        *self.turns.entry(acquire.name()).or_default() += 1;
        *self.turns.entry(bridge.name()).or_default() += 1;
        self.sink.turns(acquire);
        self.suffers(bridge);
        self.sink.turns(AcquireFault::None);
        self.recovers(&name);
        // Those that waited are noted as under a fault.
        pause(Duration::from_secs(1));
        recorder.calm(|| pause(self.plan.calm()));
    }

    /// Waits until no calls are left from a fault.
    fn recovers(&mut self, after: &str) {
        let healed = Instant::now();
        while self.waiting() > UNDER_WAY {
            assert!(
                healed.elapsed() < RECOVERS_WITHIN,
                "{} calls wait {RECOVERS_WITHIN:?} after {after} (seed {})",
                self.waiting(),
                self.plan.seed
            );
            pause(Duration::from_millis(100));
        }
        if healed.elapsed() > self.slowest.0 {
            self.slowest = (healed.elapsed(), after.to_owned());
        }
    }

    fn waiting(&self) -> f64 {
        let metrics = self.metrics();
        let calls =
            |state| figures::metric(&metrics, &format!("bridge_calls{{state=\"{state}\"}}"));
        calls("pending").unwrap_or(f64::MAX) + calls("claimed").unwrap_or(f64::MAX)
    }

    fn metrics(&self) -> String {
        let admin = self.bridge.addresses().expect("it serves").admin;
        ask(admin, "/metrics").map_or_else(|_| String::new(), |(_, text)| text)
    }

    /// Stops everything and compares what was promised with what arrived.
    fn ends(mut self, levels: &[String]) {
        let took = self.started.elapsed();
        let jumps: f64 = ["jump-forward", "jump-back"]
            .map(|kind| format!("bridge_clock_events_total{{kind=\"{kind}\"}}"))
            .iter()
            .filter_map(|series| figures::metric(&self.metrics(), series))
            .sum();
        comes_to_rest(&self.database);
        assert!(self.serve.stop().success(), "{:?}", self.serve.log());
        self.log.extend(self.serve.log());
        drop(self.sink);
        self.notes.join().expect("all arrivals are noted");
        let balance = self.ledger.balance(&parked(&self.database));
        let unavailable = self.counts.unavailable.load(Ordering::Relaxed);
        let no_answer = self.counts.no_answer.load(Ordering::Relaxed);
        report(&balance, took, unavailable, no_answer);
        println!(
            "faults: {:?}; clock jumps noticed since the last start: {jumps}",
            self.turns
        );
        println!(
            "slowest recovery: {:.1?} after {}",
            self.slowest.0, self.slowest.1
        );

        assert_eq!(
            balance.wrong,
            Vec::<String>::new(),
            "seed {}",
            self.plan.seed
        );
        // Most calls are purged by now.
        let errors = self.ledger.report_errors(&report_of(&self.database));
        assert_eq!(errors, Vec::<String>::new(), "seed {}", self.plan.seed);
        let reader = SqliteReader::open_read_only(&self.database).expect("a store");
        let disagreements = reader.verify_consistency().expect("readable");
        assert_eq!(disagreements, Vec::<String>::new());
        assert_eq!(levels, Vec::<String>::new(), "seed {}", self.plan.seed);

        // The faults were real.
        let count = |words| self.log.iter().filter(|line| line.contains(words)).count();
        assert_eq!(count(RELOADED), self.reloads, "{:?}", self.log);
        assert_eq!(count(NOT_RELOADED), self.broken_reloads);
        assert!(self.disk.is_none() || unavailable > 0, "the disk was full");
        assert!(no_answer > 0, "it was killed");
        assert!(balance.parked > 0, "Acquire refused some");
        assert!(
            faults::clock_library().is_none() || jumps > 0.0,
            "the clock jumped"
        );
        let offered = figures::real(self.plan.rate) * self.plan.length.as_secs_f64();
        let sent = figures::real(balance.sent);
        assert!(sent > 0.9 * offered, "{sent} of {offered} were sent");
    }
}

/// Twilio's own time, which lets the purge go on after the bridge's clock was wrong.
fn timestamp() -> String {
    let now = jiff::Timestamp::from_millisecond(Clock::system().now().0).expect("a time");
    let text = now.strftime("%a, %d %b %Y %H:%M:%S").to_string();
    let text = text
        .replace(',', "%2C")
        .replace(':', "%3A")
        .replace(' ', "+");
    format!("&Timestamp={text}+%2B0000")
}

fn report(balance: &Balance, took: Duration, unavailable: u64, no_answer: u64) {
    println!(
        "soak of {took:.0?}: {} callbacks sent ({:.0}/s), {} answered 204, {unavailable} answered 503, \
         {no_answer} without an answer, of which {} delivered; parked {}, lost or wrong {}, repeats per \
         10,000 {:.1}",
        balance.sent,
        figures::real(balance.sent) / took.as_secs_f64(),
        balance.accepted,
        balance.delivered_unanswered,
        balance.parked,
        balance.wrong.len(),
        balance.repeats_per_10_000(),
    );
}

/// The bridge, with waits so short that no calls are left from a fault when the next begins.
fn command(folder: &tempfile::TempDir, database: &std::path::Path, sink: &Sink) -> Command {
    let mut command = process::serve(database, &format!("http://{}", sink.listen));
    let file = folder.path().join("bridge.toml");
    faults::write_config(&file, 32);
    command
        .env("BRIDGE_CONFIG", file)
        .env("BRIDGE__DELIVERY__TIMEOUT", "2s")
        .env(
            "BRIDGE__DELIVERY__SCHEDULE",
            format!("100ms 300ms 1s{}", " 2s".repeat(90)),
        )
        .env("BRIDGE__DELIVERY__PROBE_MAX", "2s")
        .env("BRIDGE__ACQUIRE__UNCLEAR_TRIES", "90")
        // The longest waits: a call that a wrong clock delays by more is due at once when it is right.
        .env("BRIDGE__DELIVERY__RETRY_AFTER_MAX", "5s")
        .env("BRIDGE__CALLS__WAIT", "1m")
        .env("BRIDGE__RECORDING__WAIT", "1s")
        // So short that the store has the same size after a few minutes as after an hour.
        .env("BRIDGE__STORE__RETENTION", "1m")
        .env("BRIDGE__STORE__CHECK_EVERY", "5m")
        .env(
            "BRIDGE__LOG__LEVEL",
            "error,twilio_acquire_bridge::cli=info,twilio_acquire_bridge::app::reload=info",
        );
    faults::turn_clock(folder.path(), 0);
    faults::fake_clock(&mut command, folder.path());
    command
}
