//! How many callbacks a second the store keeps, durable and with repeats recognised.
//!
//! Prints rows per second at 32 and at 64 rows a commit over 640,000 rows of 600-byte forms, each of
//! a new call, into a file of its own below the current directory (so on the disk that is meant).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use actix_web::web::Bytes;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::sqlite::SqliteStore;
use twilio_acquire_bridge::store::{NewCallback, Recorded, SignedRequest, Store, StoreError};
use twilio_acquire_bridge::twilio::callback;

const ROWS: usize = 640_000;

fn main() {
    for per_commit in [32, 64] {
        let folder = tempfile::tempdir_in(".").expect("the current directory can be written");
        let store =
            SqliteStore::open(&folder.path().join("bench.db")).expect("a new file can be opened");
        let body = Bytes::from(vec![b'x'; 600]);
        let cpu_before = cpu_seconds();
        let started = Instant::now();
        let mut slowest = 0.0_f64;
        // While one group is committed the next one waits, as under load: each commit has a group.
        let mut before: Option<(Instant, Group<'_>)> = None;
        for batch in 0..ROWS / per_commit {
            let now = Millis(1_800_000_000_000 + i64::try_from(batch).expect("few batches"));
            let submitted = Instant::now();
            let group = submit((0..per_commit).map(|_| store.record(callback(&body), now)));
            if let Some((submitted, group)) = before.replace((submitted, group)) {
                wait_for_all(group);
                slowest = slowest.max(submitted.elapsed().as_secs_f64());
            }
        }
        if let Some((_, group)) = before {
            wait_for_all(group);
        }
        let took = started.elapsed().as_secs_f64();
        let rows = f64::from(u32::try_from(ROWS).expect("few rows"));
        println!(
            "{per_commit} a commit: {:.0} rows/s, {:.1} us of CPU a row, slowest answer {:.1} ms",
            rows / took,
            (cpu_seconds() - cpu_before) * 1e6 / rows,
            slowest * 1e3,
        );
    }
}

/// A callback of a new call.
fn callback(body: &Bytes) -> NewCallback {
    let form = format!(
        "CallSid=CA{:032x}&AccountSid=AC{:032}&CallStatus=completed&From=&To=",
        fastrand::u128(..),
        1
    );
    let url = "https://bridge.example.com/twilio/voice/status".to_owned();
    let callback = callback::read(form.as_bytes(), &url).expect("a callback");
    let request = SignedRequest {
        url,
        headers: "x-twilio-signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        body: body.clone(),
    };
    NewCallback::of(callback, request)
}

type Recording<'a> = Pin<Box<dyn Future<Output = Result<Recorded, StoreError>> + Send + 'a>>;
type Group<'a> = Vec<Recording<'a>>;

/// A future's first poll submits it.
fn submit<'a>(recordings: impl Iterator<Item = Recording<'a>>) -> Group<'a> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    recordings
        .filter_map(|mut recording| {
            match recording.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(recorded) => {
                    assert_new(recorded);
                    None
                }
                Poll::Pending => Some(recording),
            }
        })
        .collect()
}

fn wait_for_all(group: Group<'_>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    for mut recording in group {
        loop {
            match recording.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(recorded) => {
                    assert_new(recorded);
                    break;
                }
                Poll::Pending => thread::park(),
            }
        }
    }
}

fn assert_new(recorded: Result<Recorded, StoreError>) {
    assert_eq!(recorded.expect("the disk has room"), Recorded::New);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// CPU time of this process (Linux: `/proc/self/stat` in hundredths).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
