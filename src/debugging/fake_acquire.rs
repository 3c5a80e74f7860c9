//! A stand-in for Acquire, with faults: for `demo`, the command `sink`, and tests.
//!
//! It takes a POST on any path, answers as Acquire does or as it was told, and keeps what it was
//! told to keep. It checks nothing of what it is sent.

mod reply;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::Millis;

pub use reply::{ParseReplyError, Reply, Share};

/// How the stand-in answers.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next answers, one each; used up before anything else counts.
    pub script: VecDeque<Reply>,
    /// Answers given to a share of the requests.
    pub shares: Vec<Share>,
    /// All other answers.
    pub default_reply: Reply,
    /// Waited before each answer.
    pub delay: Duration,
    /// What the shares' chance begins with, so that a run can be repeated.
    pub seed: u64,
}

/// What is done with each request once it is answered; only `All` and `CallIds` take memory.
#[derive(Clone, Debug, Default)]
pub enum Retain {
    #[default]
    All,
    CallIds,
    /// Requests are counted and forgotten.
    Nothing,
    /// Requests go to someone else; the server waits while the channel is full.
    Pass(SyncSender<CapturedRequest>),
}

/// One request, and what it was answered.
#[derive(Clone, Debug, Serialize)]
pub struct CapturedRequest {
    #[serde(serialize_with = "as_rfc_3339")]
    pub time: Millis,
    pub method: String,
    /// With the query, as it was sent.
    pub path: String,
    /// Names in lower case; one sent twice stands twice, in JSON once with both values.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(String, String)>,
    pub body: String,
    #[serde(skip)]
    pub reply: Reply,
}

impl CapturedRequest {
    /// The first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(header, value)| (header == name).then_some(value.as_str()))
    }

    /// A member of the body, if that is a JSON object and the member a string.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(body.get(name)?.as_str()?.to_owned())
    }
}

/// A running stand-in; it stops when this is dropped.
#[derive(Debug)]
pub struct FakeAcquire {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl FakeAcquire {
    /// Binds `listen` (port 0 for a free one) and serves on threads of its own.
    pub fn start(listen: SocketAddr, faults: Faults, keep: Retain) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(faults, keep));
        let (addr, server, thread) = server::start(listen, &shared)?;
        Ok(Self {
            addr,
            shared,
            server,
            thread: Some(thread),
        })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What `acquire.base_url` must be for requests to arrive here.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Puts these answers next, before what else is left of the script.
    pub fn answers(&self, next: impl IntoIterator<Item = Reply>) {
        let mut faults = lock(&self.shared.faults);
        let left = std::mem::take(&mut faults.script);
        faults.script = next.into_iter().chain(left).collect();
    }

    /// From now on all answers are as these faults say.
    pub fn behaves(&self, faults: Faults) {
        *lock(&self.shared.chance) = fastrand::Rng::with_seed(faults.seed);
        *lock(&self.shared.faults) = faults;
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.shared.count.borrow()
    }

    /// The most requests that were being answered at one moment.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        lock(&self.shared.answering).most
    }

    /// Returns once so many requests have arrived.
    pub async fn reached(&self, count: u64) {
        let mut arrived = self.shared.count.subscribe();
        // The sender lives in `self`, so waiting cannot end in an error.
        let _ = arrived.wait_for(|arrived| *arrived >= count).await;
    }

    /// All requests so far, with [`Retain::All`].
    #[must_use]
    pub fn received(&self) -> Vec<CapturedRequest> {
        lock(&self.shared.received).clone()
    }

    /// The `CallId` of each request so far, with [`Retain::CallIds`] or [`Retain::All`].
    #[must_use]
    pub fn call_ids(&self) -> Vec<String> {
        match self.shared.keep {
            Retain::All => lock(&self.shared.received)
                .iter()
                .filter_map(|received| received.field("CallId"))
                .collect(),
            _ => lock(&self.shared.call_ids).clone(),
        }
    }
}

impl Drop for FakeAcquire {
    fn drop(&mut self) {
        // The order is given at once; the future only waits for its end, as joining does.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// What the handle and the server's threads share.
#[derive(Debug)]
struct Shared {
    faults: Mutex<Faults>,
    chance: Mutex<fastrand::Rng>,
    keep: Retain,
    count: watch::Sender<u64>,
    answering: Mutex<Answering>,
    received: Mutex<Vec<CapturedRequest>>,
    call_ids: Mutex<Vec<String>>,
}

/// How many requests are being answered.
#[derive(Debug, Default)]
struct Answering {
    now: usize,
    most: usize,
}

/// Counts a request for as long as it is being answered.
struct OneAnswering<'a>(&'a Mutex<Answering>);

impl Drop for OneAnswering<'_> {
    fn drop(&mut self) {
        lock(self.0).now -= 1;
    }
}

impl Shared {
    fn answering(&self) -> OneAnswering<'_> {
        let mut answering = lock(&self.answering);
        answering.now += 1;
        answering.most = answering.most.max(answering.now);
        OneAnswering(&self.answering)
    }

    fn new(faults: Faults, keep: Retain) -> Self {
        Self {
            chance: Mutex::new(fastrand::Rng::with_seed(faults.seed)),
            faults: Mutex::new(faults),
            keep,
            count: watch::Sender::new(0),
            answering: Mutex::default(),
            received: Mutex::default(),
            call_ids: Mutex::default(),
        }
    }

    /// The next answer, and the wait before it.
    fn next(&self) -> (Reply, Duration) {
        let mut faults = lock(&self.faults);
        let reply = match faults.script.pop_front() {
            Some(reply) => reply,
            None => self.by_chance(&faults),
        };
        (reply, faults.delay)
    }

    fn by_chance(&self, faults: &Faults) -> Reply {
        if faults.shares.is_empty() {
            return faults.default_reply.clone();
        }
        let mut chance = lock(&self.chance).f64();
        for share in &faults.shares {
            if chance < share.part {
                return share.reply.clone();
            }
            chance -= share.part;
        }
        faults.default_reply.clone()
    }
}

/// What is kept is whole after each step, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn as_rfc_3339<S: serde::Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn as_map<S: serde::Serializer>(
    headers: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in headers {
        map.entry(name).or_default().push(value);
    }
    serializer.collect_map(map.iter().map(|(name, values)| (name, values.join(", "))))
}
