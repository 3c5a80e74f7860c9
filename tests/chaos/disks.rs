//! Bad disks: full, read-only, broken, stalling. No wrong 204, nothing lost, back by itself.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use twilio_acquire_bridge::store::{ReadStore as _, SqliteReader};

use crate::kills::comes_to_rest;
use crate::mount::{Mount, repair};
use crate::support::ledger::Ledger;
use crate::support::process::{self, Addresses, Serve};
use crate::support::sender::{Call, ask, send};
use crate::synced::{has_strace, strace};
use crate::{left_out, pause};

/// From the repair to the first 204.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Far longer than any fault lasts.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

const SENDERS: u64 = 4;

/// A healthy Acquire that notes what arrives.
pub struct Acquire {
    pub sink: FakeAcquire,
    notes: JoinHandle<()>,
    pub ledger: Arc<Ledger>,
}

impl Acquire {
    pub fn start() -> Self {
        let (to_book, arrivals) = sync_channel(1024);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sink = FakeAcquire::start(listen, Faults::default(), Retain::Pass(to_book));
        let ledger = Arc::new(Ledger::default());
        let notes = thread::spawn({
            let ledger = Arc::clone(&ledger);
            move || {
                for request in arrivals {
                    ledger.arrived(&request);
                }
            }
        });
        Self {
            sink: sink.expect("a free port"),
            notes,
            ledger,
        }
    }

    /// No call is due, and every call is accounted for.
    pub fn settles(self, database: &Path) {
        drop(self.sink);
        self.notes.join().expect("all arrivals are noted");
        let balance = self.ledger.balance(&HashSet::new());
        assert!(balance.accepted > 0);
        println!("{} sent, {} answered 2xx", balance.sent, balance.accepted);
        assert_eq!(balance.wrong, Vec::<String>::new());
        let reader = SqliteReader::open_read_only(database).expect("a store");
        let disagreements = reader.verify_consistency().expect("readable");
        assert_eq!(disagreements, Vec::<String>::new());
    }
}

/// Sends calls one after the other until `enough`; the status and time of each answer.
fn rings(
    ledger: &Arc<Ledger>,
    bridge: Addresses,
    seed: u64,
    mut enough: impl FnMut(u16) -> bool,
) -> Vec<(u16, Instant)> {
    let mut answers = Vec::new();
    for number in 0.. {
        let call = Call::new(seed, number);
        ledger.sends(&call);
        let status = send(bridge.public, &call).expect("an answer, whatever the disk does");
        ledger.answered(&call, status);
        answers.push((status, Instant::now()));
        if enough(status) {
            break;
        }
        pause(Duration::from_millis(5));
    }
    answers
}

fn is_ready(bridge: Addresses) -> bool {
    let (status, _) = ask(bridge.admin, "/readyz").expect("an answer");
    status == 200
}

#[test]
fn a_full_disk_is_reported_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mount) = Mount::tmpfs(&folder.path().join("disk")) else {
        return left_out("a full disk: mounting a tmpfs needs root");
    };
    let database = mount.0.join("bridge.db");
    let acquire = Acquire::start();
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    let bridge = serve.addresses();
    let ledger = &acquire.ledger;
    assert!(is_ready(bridge));
    let mut taken = 0;
    rings(ledger, bridge, 1, |status| {
        taken += 1;
        assert_eq!(status, 204);
        taken == 40
    });

    let filler = mount.fill();
    rings(ledger, bridge, 2, |status| status == 503);
    assert!(!is_ready(bridge), "/readyz is red");
    let (live, _) = ask(bridge.admin, "/livez").expect("an answer");
    assert_eq!(live, 200);

    std::fs::remove_file(filler).expect("removed");
    let repaired = Instant::now();
    let answers = rings(ledger, bridge, 3, |status| status == 204);
    let (_, back) = answers[answers.len() - 1];
    println!("full disk: back {:.0?} after the repair", back - repaired);
    assert!(back - repaired < BACK_WITHIN, "{:?}", back - repaired);
    assert!(is_ready(bridge));
    taken = 0;
    rings(ledger, bridge, 4, |status| {
        taken += 1;
        assert_eq!(status, 204, "it stays so");
        taken == 40
    });

    comes_to_rest(&database);
    assert!(serve.stop().success());
    acquire.settles(&database);
}

#[test]
fn a_file_system_that_turns_read_only_is_reported_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (image, at) = (folder.path().join("image"), folder.path().join("disk"));
    let Some(mount) = Mount::ext4(&image, 32, &at) else {
        return left_out("a file system that turns read-only: a loop mount of ext4 needs root");
    };
    let database = at.join("bridge.db");
    let acquire = Acquire::start();
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    let bridge = serve.addresses();
    let ledger = &acquire.ledger;
    let mut taken = 0;
    rings(ledger, bridge, 1, |status| {
        taken += 1;
        assert_eq!(status, 204);
        taken == 50
    });

    mount.breaks();
    rings(ledger, bridge, 2, |status| status == 503);
    let mut refused = 0;
    rings(ledger, bridge, 3, |status| {
        refused += 1;
        assert_eq!(status, 503, "nothing can be kept");
        refused == 50
    });
    assert!(!is_ready(bridge), "/readyz is red");
    serve.stop();

    // Linux mounts it for writing again only once no process uses it.
    drop(mount);
    repair(&image);
    let _mount = Mount::ext4(&image, 32, &at).expect("it is whole again");
    let repaired = Instant::now();
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    let bridge = serve.addresses();
    rings(ledger, bridge, 4, |status| status == 204);
    assert!(repaired.elapsed() < BACK_WITHIN, "{:?}", repaired.elapsed());
    println!(
        "read-only: back {:.0?} after the repair",
        repaired.elapsed()
    );
    comes_to_rest(&database);
    assert!(serve.stop().success());
    acquire.settles(&database);
}

#[test]
fn a_call_that_cannot_be_settled_is_not_sent_repeatedly() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mount) = Mount::tmpfs(&folder.path().join("disk")) else {
        return left_out("settling on a full disk: mounting a tmpfs needs root");
    };
    let database = mount.0.join("bridge.db");
    let acquire = Acquire::start();
    acquire.sink.behaves(Faults {
        delay: Duration::from_millis(200),
        ..Faults::default()
    });
    let mut command = process::serve(&database, &acquire.sink.base_url());
    command
        .env("BRIDGE__DELIVERY__CONCURRENCY", "2")
        .env("BRIDGE__DELIVERY__TIMEOUT", "1s")
        .env("BRIDGE__DELIVERY__LEASE", "2s");
    let mut serve = Serve::spawn(command);
    let bridge = serve.addresses();
    let ledger = &acquire.ledger;
    let mut waiting = 0;
    rings(ledger, bridge, 1, |status| {
        waiting += u32::from(status == 204);
        waiting == 40
    });
    let filler = mount.fill();
    rings(ledger, bridge, 2, |status| status == 503);
    let before = acquire.sink.count();
    pause(Duration::from_secs(9));
    let sent = acquire.sink.count() - before;
    std::fs::remove_file(filler).expect("removed");
    println!("{sent} requests while nothing could be settled");
    assert!(sent < 10, "{sent} requests for what cannot be settled");
    comes_to_rest(&database);
    assert!(serve.stop().success());
    acquire.settles(&database);
}

#[test]
fn a_disk_that_fails_loses_nothing_and_is_forgotten() {
    for (call, fault) in [
        ("pwrite64", "error=EROFS:when=400..460"),
        ("pwrite64", "error=ENOSPC:when=400..460"),
        ("pwrite64", "error=EIO:when=400..460"),
        ("fsync", "error=EIO:when=60..90"),
    ] {
        // Until some were refused, and some were accepted since.
        let turns = Mutex::new((0, 0));
        let is_over = move |status| {
            let (refused, taken) = &mut *turns.lock().expect("no thread panics with it");
            match status {
                503 => (*refused, *taken) = (*refused + 1, 0),
                _ => *taken += 1,
            }
            *refused > 0 && *taken > 200
        };
        let Some(answers) = under(call, fault, is_over) else {
            return;
        };
        let refused = answers.iter().filter(|(status, _)| *status == 503);
        let (_, last) = refused.max_by_key(|(_, at)| *at).expect("some are refused");
        let after = answers
            .iter()
            .filter(|(status, at)| *status == 204 && at > last);
        let (_, first) = after.min_by_key(|(_, at)| *at).expect("it is back");
        let back = *first - *last;
        println!("{call} {fault}: back {back:.0?} after the last fault");
        assert!(back < BACK_WITHIN, "{call} {fault}: {back:?}");
    }
}

#[test]
fn a_sync_that_stalls_delays_answers_and_loses_nothing() {
    const STALL: Duration = Duration::from_secs(1);
    let latest = Mutex::new((Instant::now(), false));
    // All wait for a sync that stalls: no request is answered meanwhile.
    let is_over = move |_| {
        let (last, has_stalled) = &mut *latest.lock().expect("no thread panics with it");
        *has_stalled |= last.elapsed() > STALL.mul_f64(0.9);
        *last = Instant::now();
        *has_stalled
    };
    let fault = format!("delay_enter={}:when=60..61", STALL.as_micros());
    let Some(answers) = under("fsync", &fault, is_over) else {
        return;
    };
    let refused = answers.iter().filter(|(status, _)| *status != 204).count();
    assert_eq!(refused, 0, "who waits is answered in the end");
}

/// Runs with writes to the log that fail in one way for a while; returns the answers until that is over;
/// `None` without `strace`.
fn under(
    call: &str,
    fault: &str,
    is_over: impl Fn(u16) -> bool + Send + Sync + 'static,
) -> Option<Vec<(u16, Instant)>> {
    if !has_strace() {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("bridge.db");
    let log = folder.path().join("bridge.db-wal");
    let acquire = Acquire::start();
    let options = [
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-P",
        log.to_str().expect("text"),
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={call}:{fault}"),
    ];
    let command = strace(&options, &database, &acquire.sink.base_url());
    let mut serve = Serve::spawn(command);
    let bridge = serve.addresses();
    let is_over = Arc::new(is_over);
    let until = Instant::now() + WAIT_LIMIT;
    let senders: Vec<_> = (0..SENDERS)
        .map(|seed| {
            let ledger = Arc::clone(&acquire.ledger);
            let is_over = Arc::clone(&is_over);
            let enough = move |status| is_over(status) || Instant::now() > until;
            thread::spawn(move || rings(&ledger, bridge, 10 + seed, enough))
        })
        .collect();
    let answers = senders
        .into_iter()
        .flat_map(|sender| sender.join().expect("it ends"));
    let answers: Vec<_> = answers.collect();
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    println!("{call} {fault}: {refused} of {} refused", answers.len());
    assert!(is_ready(bridge), "it is ready again");
    comes_to_rest(&database);
    assert!(serve.stop().success(), "{call} {fault}: {:?}", serve.log());
    acquire.settles(&database);
    Some(answers)
}
