//! Bad disks: full, read-only, broken, stalling. No wrong 204, nothing lost, back by itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::sink::{Faults, Keep, Sink};
use twilio_acquire_bridge::store::SqliteReader;

use crate::book::Book;
use crate::kills::comes_to_rest;
use crate::process::{self, Addresses, Serve};
use crate::sender::{Call, ask, send};
use crate::synced::{has_strace, strace};
use crate::{left_out, pause};

/// From the repair to the first 204.
const BACK_WITHIN: Duration = Duration::from_secs(5);

const SENDERS: u64 = 4;

/// A healthy Acquire that notes what arrives.
pub struct Acquire {
    pub sink: Sink,
    notes: JoinHandle<()>,
    pub book: Arc<Book>,
}

impl Acquire {
    pub fn start() -> Self {
        let (to_book, arrivals) = sync_channel(1024);
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let sink = Sink::start(listen, Faults::default(), Keep::Pass(to_book));
        let book = Arc::new(Book::default());
        let notes = thread::spawn({
            let book = Arc::clone(&book);
            move || {
                for request in arrivals {
                    book.arrived(&request);
                }
            }
        });
        Self {
            sink: sink.expect("a free port"),
            notes,
            book,
        }
    }

    /// Every debt is paid, and the store agrees with itself.
    pub fn settles(self, database: &Path) {
        drop(self.sink);
        self.notes.join().expect("all arrivals are noted");
        let balance = self.book.balance(&HashSet::new());
        assert!(balance.debts > 0);
        println!("{} sent, {} answered 2xx", balance.sent, balance.debts);
        assert_eq!(balance.wrong, Vec::<String>::new());
        let reader = SqliteReader::open_read_only(database).expect("a store");
        let disagreements = reader.verify_conservation().expect("readable");
        assert_eq!(disagreements, Vec::<String>::new());
    }
}

/// Sends calls one after the other until `enough`; the status and time of each answer.
fn rings(
    book: &Arc<Book>,
    bridge: Addresses,
    seed: u64,
    enough: impl Fn(u16) -> bool,
) -> Vec<(u16, Instant)> {
    let mut answers = Vec::new();
    for number in 0.. {
        let call = Call::new(seed, number);
        book.sends(&call);
        let status = send(bridge.public, &call).expect("an answer, whatever the disk does");
        book.answered(&call, status);
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

/// A small file system in memory; unmounted when dropped.
pub struct Mount(pub PathBuf);

impl Mount {
    pub fn new(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|mounted| mounted.status.success())
            .then(|| Self(at.to_owned()))
    }

    /// Takes all the room there is.
    pub fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = File::create(&path).expect("a file");
        for size in [64 * 1024, 4096, 1] {
            let block = vec![1; size];
            while filler.write_all(&block).is_ok() {}
        }
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_forgotten_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mount) = Mount::new(&folder.path().join("disk")) else {
        return left_out("a full disk: mounting a tmpfs needs root");
    };
    let database = mount.0.join("bridge.db");
    let acquire = Acquire::start();
    let mut serve = Serve::spawn(process::serve(&database, &acquire.sink.base_url()));
    let bridge = serve.addresses();
    let book = &acquire.book;
    assert!(is_ready(bridge));
    assert_eq!(rings(book, bridge, 1, |_| true)[0].0, 204);

    let filler = mount.fill();
    rings(book, bridge, 2, |status| status == 503);
    assert!(!is_ready(bridge), "/readyz is red");
    let (live, _) = ask(bridge.admin, "/livez").expect("an answer");
    assert_eq!(live, 200);

    std::fs::remove_file(filler).expect("removed");
    let repaired = Instant::now();
    let answers = rings(book, bridge, 3, |status| status == 204);
    let (_, back) = answers[answers.len() - 1];
    println!("full disk: back {:.0?} after the repair", back - repaired);
    assert!(back - repaired < BACK_WITHIN, "{:?}", back - repaired);
    assert!(is_ready(bridge));

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
        let Some(answers) = under(call, fault) else {
            return;
        };
        let refused = answers.iter().filter(|(status, _)| *status == 503);
        let (_, last) = refused.max_by_key(|(_, at)| *at).expect("some are refused");
        let mut after = answers
            .iter()
            .filter(|(status, at)| *status == 204 && at > last);
        assert!(after.next().is_some(), "{call} {fault}: it is back");
    }
}

#[test]
fn a_sync_that_stalls_delays_answers_and_loses_nothing() {
    let begun = Instant::now();
    let Some(answers) = under("fsync", "delay_enter=2000000:when=60..61") else {
        return;
    };
    assert!(begun.elapsed() > Duration::from_secs(4), "it did stall");
    let refused = answers.iter().filter(|(status, _)| *status != 204).count();
    assert_eq!(refused, 0, "who waits is answered in the end");
}

/// A run whose writes to the log fail in one way for a while; `None` without `strace`.
fn under(call: &str, fault: &str) -> Option<Vec<(u16, Instant)>> {
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
    let until = Instant::now() + Duration::from_secs(3);
    let senders: Vec<_> = (0..SENDERS)
        .map(|seed| {
            let book = Arc::clone(&acquire.book);
            let enough = move |_| Instant::now() > until;
            thread::spawn(move || rings(&book, bridge, 10 + seed, enough))
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
