//! A fake Acquire, with faults: for `demo`, `replay --offline`, `sink`, and tests.
//!
//! It accepts a POST on any path, answers as Acquire does or with a configured fault, and retains the
//! requests. It does not validate them.

mod reply;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::fake_server::FakeServer;
use crate::clock::Millis;

pub use reply::{ParseReplyError, Reply, Share};

/// A running fake Acquire; it stops when this is dropped.
#[derive(Debug)]
pub struct FakeAcquire {
    state: Arc<FakeAcquireState>,
    server: FakeServer,
}

impl FakeAcquire {
    /// Binds `listen` (port 0 for a free port) and serves on its own threads.
    pub fn start(listen: SocketAddr, faults: Faults, retain: Retain) -> io::Result<Self> {
        let state = Arc::new(FakeAcquireState::new(faults, retain));
        let server = server::start(listen, &state)?;
        Ok(Self { state, server })
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// The `acquire.base_url` of a bridge that sends here.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Answers the next requests with these replies, before the rest of the script.
    pub fn answers(&self, next: impl IntoIterator<Item = Reply>) {
        let mut faults = lock(&self.state.faults);
        let rest = std::mem::take(&mut faults.script);
        faults.script = next.into_iter().chain(rest).collect();
    }

    /// Replaces the faults.
    pub fn behaves(&self, faults: Faults) {
        *lock(&self.state.random) = fastrand::Rng::with_seed(faults.seed);
        *lock(&self.state.faults) = faults;
    }

    /// The number of requests so far.
    pub fn count(&self) -> u64 {
        *self.state.count.borrow()
    }

    /// The largest number of requests in progress at the same time.
    pub fn most_at_once(&self) -> usize {
        lock(&self.state.answering).most
    }

    /// Waits until `count` requests have arrived.
    pub async fn reached(&self, count: u64) {
        let mut arrived = self.state.count.subscribe();
        // The sender lives in `self`, so waiting cannot end in an error.
        let _ = arrived.wait_for(|arrived| *arrived >= count).await;
    }

    /// All requests so far, with [`Retain::All`].
    pub fn received(&self) -> Vec<CapturedRequest> {
        lock(&self.state.received).clone()
    }

    /// The `CallId` of each request so far, with [`Retain::CallIds`] or [`Retain::All`].
    pub fn call_ids(&self) -> Vec<String> {
        match self.state.retain {
            Retain::All => lock(&self.state.received)
                .iter()
                .filter_map(|received| received.field("CallId"))
                .collect(),
            _ => lock(&self.state.call_ids).clone(),
        }
    }
}

/// One request, and the reply to it.
#[derive(Clone, Debug, Serialize)]
pub struct CapturedRequest {
    #[serde(serialize_with = "as_rfc_3339")]
    pub time: Millis,
    pub method: String,
    /// With the query, as received.
    pub path: String,
    /// Names in lower case. A repeated header is repeated here; in JSON its values are joined.
    #[serde(serialize_with = "as_map")]
    pub headers: Vec<(String, String)>,
    pub body: String,
    #[serde(skip)]
    pub reply: Reply,
}

impl CapturedRequest {
    /// The first value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(header, value)| (header == name).then_some(value.as_str()))
    }

    /// A string member of the JSON body.
    pub fn field(&self, name: &str) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(body.get(name)?.as_str()?.to_owned())
    }
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

/// How the fake Acquire answers.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The replies to the next requests; they come before all other faults.
    pub script: VecDeque<Reply>,
    /// Replies to a share of the requests, chosen at random.
    pub shares: Vec<Share>,
    /// Replies to the requests that contain a text; they come before the shares.
    pub texts: Vec<TextFault>,
    /// The reply to all other requests.
    pub default_reply: Reply,
    /// Wait before each reply.
    pub delay: Duration,
    /// Seed of the random choice, so that a run can be repeated.
    pub seed: u64,
}

/// The reply to the requests that contain a text, and the wait before it.
#[derive(Clone, Debug)]
pub struct TextFault {
    pub text: &'static str,
    pub reply: Reply,
    pub delay: Duration,
}

/// How much of the requests is kept; only `All` and `CallIds` use memory.
#[derive(Clone, Debug, Default)]
pub enum Retain {
    #[default]
    All,
    CallIds,
    /// Requests are only counted.
    Nothing,
    /// Requests are sent to this channel; the server waits while it is full.
    Pass(SyncSender<CapturedRequest>),
}

/// What the handle and the server's threads share.
#[derive(Debug)]
struct FakeAcquireState {
    faults: Mutex<Faults>,
    random: Mutex<fastrand::Rng>,
    retain: Retain,
    count: watch::Sender<u64>,
    answering: Mutex<Answering>,
    received: Mutex<Vec<CapturedRequest>>,
    call_ids: Mutex<Vec<String>>,
}

/// The number of requests that are being answered.
#[derive(Debug, Default)]
struct Answering {
    now: usize,
    most: usize,
}

/// Counts a request while it is being answered.
struct AnsweringGuard<'a>(&'a Mutex<Answering>);

impl Drop for AnsweringGuard<'_> {
    fn drop(&mut self) {
        lock(self.0).now -= 1;
    }
}

impl FakeAcquireState {
    fn answering(&self) -> AnsweringGuard<'_> {
        let mut answering = lock(&self.answering);
        answering.now += 1;
        answering.most = answering.most.max(answering.now);
        AnsweringGuard(&self.answering)
    }

    fn new(faults: Faults, retain: Retain) -> Self {
        Self {
            random: Mutex::new(fastrand::Rng::with_seed(faults.seed)),
            faults: Mutex::new(faults),
            retain,
            count: watch::Sender::new(0),
            answering: Mutex::default(),
            received: Mutex::default(),
            call_ids: Mutex::default(),
        }
    }

    /// The reply to the next request, which has this body, and the wait before it.
    fn next(&self, body: &[u8]) -> (Reply, Duration) {
        let mut faults = lock(&self.faults);
        if let Some(reply) = faults.script.pop_front() {
            return (reply, faults.delay);
        }
        if !faults.texts.is_empty() {
            let body = String::from_utf8_lossy(body);
            let mut texts = faults.texts.iter();
            if let Some(fault) = texts.find(|fault| body.contains(fault.text)) {
                return (fault.reply.clone(), fault.delay);
            }
        }
        (self.random_reply(&faults), faults.delay)
    }

    /// Counts a request and keeps what [`Retain`] asks for.
    ///
    /// `request` is not built if nothing is retained, so that a benchmark measures the bridge.
    fn retain(&self, request: impl FnOnce() -> CapturedRequest) {
        match &self.retain {
            Retain::All => lock(&self.received).push(request()),
            Retain::CallIds => lock(&self.call_ids).extend(request().field("CallId")),
            Retain::Nothing => {}
            // Sending fails once the receiver is dropped: the requests are then only counted.
            Retain::Pass(channel) => drop(channel.send(request())),
        }
        self.count.send_modify(|count| *count += 1);
    }

    fn random_reply(&self, faults: &Faults) -> Reply {
        if faults.shares.is_empty() {
            return faults.default_reply.clone();
        }
        // The shares divide the range from 0 to 1; the rest is the default reply.
        let mut draw = lock(&self.random).f64();
        for share in &faults.shares {
            if draw < share.part {
                return share.reply.clone();
            }
            draw -= share.part;
        }
        faults.default_reply.clone()
    }
}

/// Ignores poisoning: each change of the state is complete after one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
