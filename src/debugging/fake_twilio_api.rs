//! A fake of Twilio's REST API, with a clock that tests advance: lists of calls, recordings, numbers,
//! call events and alerts, as Twilio's own records of what it did.
//!
//! Its ordinary answers have every property of Twilio's specification (`tests/it/twilio_api.rs`
//! validates them); its deviations and faults are those that were seen at Twilio, see [`Deviation`] and
//! [`ApiFault`].

mod rows;
mod server;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::fake_server::FakeServer;
use crate::clock::{Clock, Millis};

pub use rows::{FakeAlert, FakeCall, FakeRecording};

/// How the answers deviate from the ordinary, in ways that were seen at Twilio or that its documentation
/// allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// Fields that are null are left out.
    AbsentFields,
    /// SIDs that are null are empty texts.
    EmptySids,
    /// A duration is a number.
    NumericDuration,
    /// The oldest row comes first.
    OldestFirst,
    /// The rows come in a random order, which is the same for each request.
    Shuffled,
    /// The time of day of a filter is observed, not only its day.
    FilterByTime,
    /// The list of alerts is refused, as beyond 10,000 alerts.
    TooManyAlerts,
    /// Filters by time are ignored.
    IgnoredFilter,
    /// `next_page_uri` names another host.
    ForeignNextPage,
    /// `next_page_uri` names the same page for ever.
    RepeatingNextPage,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// 429, code 20429, with `Retry-After: 0`.
    TooMany,
    /// 401 without a missing permission, as Twilio's network may answer for a moment.
    Unauthorized,
    /// 401, code 70051, which names a permission.
    PermissionMissing,
    /// 500, code 20500, for pages of more rows than this.
    FailsAbove(usize),
    /// The body ends early.
    CutBody,
}

/// The records and behaviour of a fake Twilio.
#[derive(Debug, Default)]
pub struct FakeRecords {
    pub calls: Vec<FakeCall>,
    pub recordings: Vec<FakeRecording>,
    pub alerts: Vec<FakeAlert>,
    /// Phone numbers with the URL of their `StatusCallback`.
    pub numbers: Vec<(String, String)>,
    pub deviations: Vec<Deviation>,
    /// One for each of the next requests, before the records are looked at.
    pub faults: VecDeque<ApiFault>,
    /// The accounts that each API key may read; any key may read all if there is none.
    pub keys: HashMap<String, Vec<String>>,
    /// Calls that are listed, or have changed, after the next answers: one after each.
    pub arriving: VecDeque<FakeCall>,
    /// Wait before each answer.
    pub delay: Duration,
    /// The target of each request, in order.
    pub requests: Vec<String>,
}

impl FakeRecords {
    fn deviates(&self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }
}

/// A running fake Twilio API; it stops when this is dropped.
#[derive(Debug)]
pub struct FakeTwilioApi {
    shared: Arc<Shared>,
    server: FakeServer,
}

#[derive(Debug)]
struct Shared {
    records: Mutex<FakeRecords>,
    clock: Clock,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, FakeRecords> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }
}

impl FakeTwilioApi {
    /// Binds `listen` (port 0 for a free port) and serves on its own threads. A record is listed from its
    /// time on, by `clock`.
    pub fn start(listen: SocketAddr, clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            records: Mutex::default(),
            clock,
        });
        let server = server::start(listen, &shared)?;
        Ok(Self { shared, server })
    }

    /// The `twilio.api_url` and `twilio.monitor_url` of a bridge that reads here.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Changes or reads the records.
    pub fn with<T>(&self, change: impl FnOnce(&mut FakeRecords) -> T) -> T {
        change(&mut self.shared.lock())
    }

    /// The answer to a GET of `target`, without HTTP: for the test of the specification.
    pub fn answer(&self, target: &str) -> Value {
        server::answer(&self.shared.lock(), target, "SK", self.shared.now()).1
    }
}
