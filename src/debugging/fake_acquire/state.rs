//! The faults of the fake Acquire and the requests it retains.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::reply::{Reply, Share};
use super::request::CapturedRequest;

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
pub(super) struct FakeAcquireState {
    pub faults: Mutex<Faults>,
    pub random: Mutex<fastrand::Rng>,
    pub retain: Retain,
    pub count: watch::Sender<u64>,
    pub answering: Mutex<Answering>,
    pub received: Mutex<Vec<CapturedRequest>>,
    pub call_ids: Mutex<Vec<String>>,
}

/// The number of requests that are being answered.
#[derive(Debug, Default)]
pub(super) struct Answering {
    now: usize,
    pub most: usize,
}

/// Counts a request while it is being answered.
pub(super) struct AnsweringGuard<'a>(&'a Mutex<Answering>);

impl Drop for AnsweringGuard<'_> {
    fn drop(&mut self) {
        lock(self.0).now -= 1;
    }
}

impl FakeAcquireState {
    pub fn answering(&self) -> AnsweringGuard<'_> {
        let mut answering = lock(&self.answering);
        answering.now += 1;
        answering.most = answering.most.max(answering.now);
        AnsweringGuard(&self.answering)
    }

    pub fn new(faults: Faults, retain: Retain) -> Self {
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
    pub fn next(&self, body: &[u8]) -> (Reply, Duration) {
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
    pub fn retain(&self, request: impl FnOnce() -> CapturedRequest) {
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
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
