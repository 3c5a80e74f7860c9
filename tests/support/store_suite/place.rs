//! A place for one store, and helpers for its operations.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use twilio_acquire_bridge::acquire;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::attempt::{Attempt, Verdict};
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::domain::directory::Directory;
use twilio_acquire_bridge::domain::plan::ReportMode;
use twilio_acquire_bridge::store::hand_over::HandedCalls;
use twilio_acquire_bridge::store::{
    AccountFilter, ClaimRequest, Claimed, HandOver, ListOrder, NewCallback, NextState, ReadStore,
    Recorded, Settlement, SignedRequest, State, Store, StoredCallback, terms_of,
};
use twilio_acquire_bridge::twilio::{self, AccountSid, CallSid};

pub const LEASE: Duration = Duration::from_secs(60);

/// A way to open stores of one kind.
#[derive(Clone, Copy)]
pub struct Database {
    /// How many sequences of operations are tried on it.
    pub sequences: u32,
    /// Makes room at a new path, and removes it.
    pub make: fn(&Path),
    pub remove: fn(&Path),
    pub open: fn(&Path) -> Box<dyn Store>,
    pub read: fn(&Path) -> Box<dyn ReadStore>,
    /// Runs SQL, as another program would.
    pub sql: fn(&Path, &str),
}

/// Where a store is, closed or open.
pub struct Place {
    database: Database,
    folder: TempDir,
}

impl Place {
    pub fn new(database: Database) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Self { database, folder };
        (database.make)(&place.path());
        place
    }

    pub fn open(&self) -> Box<dyn Store> {
        (self.database.open)(&self.path())
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bridge.db")
    }

    /// As a command does, which waits for its answers: no runtime of a test would allow that.
    pub fn look<T: Send>(&self, look: impl FnOnce(&dyn ReadStore) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let looking = scope.spawn(|| look(&*(self.database.read)(&self.path())));
            looking.join().expect("no panic")
        })
    }

    /// Changes the database from outside.
    pub fn changes(&self, sql: &str) {
        (self.database.sql)(&self.path(), sql);
    }

    /// The consistency problems, in words.
    pub fn disagreements(&self) -> Vec<String> {
        self.look(|reader| reader.verify_consistency().expect("every row can be read"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.database.remove)(&self.path());
    }
}

pub fn sid(number: u32) -> CallSid {
    CallSid::parse(&format!("CA{number:032}")).expect("32 digits")
}

pub fn account(number: u32) -> AccountSid {
    AccountSid::parse(&format!("AC{number:032}")).expect("32 digits")
}

/// The phone of a leg, which differs from that of each other leg.
pub fn number_of(leg: &CallSid) -> String {
    format!("+1202555{}", &leg.as_str()[30..])
}

/// A status callback of account 1.
pub fn callback(call: &CallSid, leg: &CallSid, status: &str) -> NewCallback {
    of_account(1, call, leg, status)
}

pub fn of_account(number: u32, call: &CallSid, leg: &CallSid, status: &str) -> NewCallback {
    let parent = if leg == call {
        String::new()
    } else {
        format!("&ParentCallSid={call}")
    };
    let form = format!(
        "CallSid={leg}&AccountSid={}&From={}&To=client%3Aagent\
         &CallbackSource=call-progress-events{parent}&CallStatus={status}",
        account(number),
        number_of(leg).replace('+', "%2B")
    );
    let url = "https://bridge.example.com/twilio/voice/status".to_owned();
    let callback = twilio::callback::read(form.as_bytes(), &url).expect("a callback");
    let request = SignedRequest {
        url,
        headers: "i-twilio-idempotency-token: 1".to_owned(),
        body: form.into(),
    };
    NewCallback::of(callback, request)
}

/// Records the end of a call's first leg.
pub async fn record(store: &dyn Store, call: &CallSid, now: i64) -> Recorded {
    store
        .record(callback(call, call, "completed"), Millis(now))
        .await
        .expect("recorded")
}

pub async fn claim(store: &dyn Store, now: i64, limit: usize) -> Vec<Claimed> {
    let claims = store
        .claim(Millis(now), LEASE, longest_due_first(limit))
        .await;
    claims.expect("claimed").calls
}

pub fn longest_due_first(limit: usize) -> ClaimRequest {
    ClaimRequest {
        order: ListOrder::LongestDueFirst,
        ..ClaimRequest::any(limit)
    }
}

/// When the next call is due, by a claim of no calls.
pub async fn next_due(store: &dyn Store) -> Option<Millis> {
    let claims = store
        .claim(Millis(i64::MIN), LEASE, longest_due_first(1))
        .await;
    claims.expect("claimed").next_due
}

/// Claims the only call that is due.
pub async fn claim_one(store: &dyn Store, now: i64) -> Claimed {
    let mut claimed = claim(store, now, 10).await;
    assert_eq!(claimed.len(), 1, "one call is due");
    claimed.remove(0)
}

pub async fn settle(store: &dyn Store, claimed: &Claimed, next: NextState, now: i64) {
    let settlement = settlement(&claimed.sid, next, now);
    let settled = store.settle(claimed.ticket.clone(), settlement, Millis(now));
    settled.await.expect("settled");
}

/// Retries the calls of all accounts now.
/// A worker that has room.
pub struct Room {
    hand_over: HandOver,
    handed: RefCell<HandedCalls>,
    due: Arc<Notify>,
}

impl Room {
    pub fn new() -> Self {
        let due = Arc::new(Notify::new());
        let (hand_over, handed) = HandOver::new(Arc::clone(&due));
        handed.permits.add_permits(1);
        hand_over.open(LEASE);
        let handed = RefCell::new(handed);
        Self {
            hand_over,
            handed,
            due,
        }
    }

    /// Records with an offer. Either it returns the call that was handed over, or the worker was woken.
    pub async fn record(
        &self,
        store: &dyn Store,
        callback: NewCallback,
        now: i64,
    ) -> (Option<Claimed>, Recorded) {
        let offer = self.hand_over.offer().expect("there is room");
        assert!(self.hand_over.offer().is_none(), "for one call");
        let recorded = store.record_for(callback, Millis(now), offer).await;
        let handed = self.handed.borrow_mut().next().now_or_never().flatten();
        let is_woken = self.due.notified().now_or_never().is_some();
        assert_ne!(handed.is_some(), is_woken, "one of both");
        (
            handed.map(|(call, _)| call),
            recorded.expect("it is recorded"),
        )
    }
}

pub async fn retry_now(store: &dyn Store, now: i64) -> usize {
    let changed = store.retry_now(AccountFilter::All, Millis(now), 9);
    changed.await.expect("written")
}

/// A settlement with the attempt that may have led to it.
pub fn settlement(leg: &CallSid, next: NextState, now: i64) -> Settlement {
    let verdict = match &next {
        NextState::PendingAt(at) => Some(Verdict::Again(*at)),
        NextState::Delivered => Some(Verdict::Accepted),
        NextState::Skipped(..) => None,
        NextState::Parked(_, why) => Some(Verdict::GivenUp(why.clone())),
    };
    Settlement {
        class: match next {
            NextState::PendingAt(_) => Class::Waiting,
            NextState::Delivered => Class::InTime,
            NextState::Skipped(..) => Class::Skipped,
            NextState::Parked(..) => Class::Parked,
        },
        failing_since: matches!(next, NextState::PendingAt(_)).then_some(Millis(now)),
        attempt: verdict.map(|verdict| attempt(leg, verdict, now)),
        terms: terms_of(&[stored(leg)], None, &Directory::default()),
        next,
    }
}

/// A callback of a leg.
fn stored(leg: &CallSid) -> StoredCallback {
    StoredCallback {
        received: Millis(0),
        request: callback(leg, leg, "completed").request,
    }
}

pub fn attempt(leg: &CallSid, verdict: Verdict, now: i64) -> Attempt {
    Attempt {
        leg: leg.clone(),
        kind: acquire::RequestKind::CallEnd,
        report_mode: ReportMode::Legs,
        at: Millis(now),
        took: Duration::from_micros(1_234),
        sent: "{}".to_owned(),
        status: Some(200),
        verdict,
        fault: None,
        excerpt: String::new(),
    }
}

pub async fn state(store: &dyn Store, sid: &CallSid) -> State {
    let call = store.get(sid).await.expect("read");
    call.expect("the call is known").summary.state
}

pub fn sids(claimed: &[Claimed]) -> Vec<CallSid> {
    claimed.iter().map(|call| call.sid.clone()).collect()
}
