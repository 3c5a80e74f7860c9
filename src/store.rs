//! Where callbacks and calls are kept: the [`Store`] trait, its words and its states.
//!
//! A store knows how to keep and to hand out. What a call needs is decided in [`crate::domain::plan`], and
//! time comes in as an argument.

mod columns;
mod consistency;
mod counters;
pub mod disk;
mod error;
mod open;
pub mod postgres;
mod reader;
mod refused;
pub mod spool;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::twilio::{AccountSid, CallSid, Callback, CallbackKey};

pub use error::{OpenError, StoreError};
pub use open::{Migrated, fsync_latency, migrate, open, open_to_read, open_to_serve};
pub use reader::{CallPredicate, ReadStore};
pub use refused::{
    Refusals, RefusedCause, RefusedFilter, RefusedLimits, RefusedRequest, StoredRefusedRequest,
};
pub use sqlite::SqliteReader;

/// Where a call stands. The same words are in the database, metrics, console and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Something is owed to Acquire, due at a time. Left by `claim` when due.
    Pending,
    /// A worker has it until its lease ends. Left by `settle`, or by any `claim` after the lease.
    Claimed,
    /// Acquire took all that was owed so far. Left by a callback that owes more, by a requeue, by
    /// purge after `store.retention`.
    Delivered,
    /// Nothing to send so far, with the reason. Left as `Delivered` is.
    Skipped,
    /// Something was given up, with the reason, and nothing else is owed: a person decides. Left by
    /// a callback that owes something else, by a requeue, by purge after `store.parked_retention`.
    Parked,
}

impl State {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Claimed,
        Self::Delivered,
        Self::Skipped,
        Self::Parked,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verified request as Twilio sent it: what was signed, not what was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The public URL with the raw request target.
    pub url: String,
    /// The headers that matter, `name: value` a line.
    pub headers: String,
    /// The raw form.
    pub body: Bytes,
}

impl SignedRequest {
    /// The URL's query, without its `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }
}

/// A callback to record.
#[derive(Clone, Debug)]
pub struct NewCallback {
    pub account: AccountSid,
    pub call: CallSid,
    pub leg: CallSid,
    pub key: CallbackKey,
    pub request: SignedRequest,
}

impl NewCallback {
    /// What `callback` says of itself, with the request that brought it.
    #[must_use]
    pub fn of(callback: Callback, request: SignedRequest) -> Self {
        Self {
            call: callback.call().clone(),
            key: callback.key(),
            account: callback.account,
            leg: callback.leg,
            request,
        }
    }
}

/// Whether a callback was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    New,
    /// Same leg, kind and status: nothing was stored.
    Repeated,
}

impl Recorded {
    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Repeated => "repeated",
        }
    }
}

/// A callback as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCallback {
    pub received: Millis,
    pub request: SignedRequest,
}

/// The right to settle a claimed call, good until another claims it, from which the lease keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The call's row.
    pub(crate) call: i64,
    /// Told to this claim alone.
    pub(crate) claim: i64,
    /// The newest callback that was handed out with the claim.
    pub(crate) newest_callback: i64,
    /// How often the call had been requeued.
    pub(crate) requeue_count: i64,
}

/// A call that is due, with all that is known of it.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub ticket: Ticket,
    pub sid: CallSid,
    pub account: AccountSid,
    /// In the order of arrival; those of a call that was taken over come after those before.
    pub callbacks: Vec<StoredCallback>,
    /// How many of `callbacks`, from the first, the last settled claim had.
    pub planned_callbacks: usize,
    /// Those made since the call was last requeued, oldest first.
    pub attempts: Vec<Attempt>,
}

/// What a claim asks for.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The most calls.
    pub limit: usize,
    pub whose: AccountFilter,
    pub order: ListOrder,
}

impl ClaimRequest {
    /// Up to `limit` calls, whosever they are.
    #[must_use]
    pub fn any(limit: usize) -> Self {
        Self {
            limit,
            whose: AccountFilter::All,
            order: ListOrder::FreshFirst,
        }
    }
}

/// The accounts whose calls are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccountFilter {
    All,
    Only(Vec<AccountSid>),
    AllBut(Vec<AccountSid>),
}

impl AccountFilter {
    #[must_use]
    pub fn has(&self, account: &AccountSid) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.contains(account),
            Self::AllBut(accounts) => !accounts.contains(account),
        }
    }
}

/// Calls that have been due for longer are a backlog: claims hand out fresh calls before them.
pub const BACKLOG: Duration = Duration::from_secs(120);

/// Since when a call that is requeued at `now` is due: part of the backlog, so that any number of
/// requeued calls does not delay fresh ones.
fn due_of_requeued(now: Millis) -> Millis {
    now.minus(BACKLOG + Duration::from_millis(1))
}

/// Which calls come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// Those due longest; where they have been due for [`BACKLOG`], those that fell due last.
    FreshFirst,
    /// Those due longest.
    LongestDueFirst,
}

/// What a claim brought.
#[derive(Clone, Debug, Default)]
pub struct ClaimedCalls {
    pub calls: Vec<Claimed>,
    /// When the next call will be due, those claimed left out; it may be sooner than that if much
    /// had to be passed over.
    pub next_due: Option<Millis>,
}

/// What a worker did with a claimed call and where the call stands now.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub attempt: Option<Attempt>,
    pub rest: NextState,
}

/// Where a settled call rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextState {
    PendingAt(Millis),
    Delivered,
    Skipped(String),
    Parked(String),
}

/// One line about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSummary {
    pub sid: CallSid,
    pub account: AccountSid,
    pub state: State,
    /// When something is due, while pending.
    pub due: Option<Millis>,
    /// Why the call is skipped or parked, or why it is pending without a time.
    pub reason: Option<String>,
    pub first_received: Millis,
    /// When the state was last written.
    pub changed: Millis,
}

/// A call with its whole story.
#[derive(Clone, Debug)]
pub struct StoredCall {
    pub summary: CallSummary,
    /// In the order of arrival.
    pub callbacks: Vec<StoredCallback>,
    /// All of them, oldest first.
    pub attempts: Vec<Attempt>,
    /// How many of `attempts` came before the last requeue and no longer count.
    pub attempts_before_requeue: usize,
}

/// Which calls to list: those first seen last come first; pending ones by when they are due, soonest
/// first; those of one resting state (delivered, skipped, parked) by when they came to rest, latest
/// first.
#[derive(Clone, Copy, Debug)]
pub struct ListFilter {
    pub state: Option<State>,
    pub limit: usize,
}

/// How many calls there are, for metrics and for the conservation check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls ever seen.
    pub seen: u64,
    /// Calls removed after their retention.
    pub purged: u64,
    pub pending: u64,
    pub claimed: u64,
    pub delivered: u64,
    pub skipped: u64,
    pub parked: u64,
    /// The due time of the pending call that has been due longest, claimed ones included.
    pub oldest_due: Option<Millis>,
}

impl Counts {
    #[must_use]
    pub fn in_state(&self, state: State) -> u64 {
        match state {
            State::Pending => self.pending,
            State::Claimed => self.claimed,
            State::Delivered => self.delivered,
            State::Skipped => self.skipped,
            State::Parked => self.parked,
        }
    }
}

/// Calls last changed before these times are purged.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    pub delivered_and_skipped: Millis,
    pub parked: Millis,
}

/// Keeps callbacks, calls and attempts. Each verb is one durable transaction.
#[async_trait]
pub trait Store: Refusals + Send + Sync {
    /// Keeps a callback and makes its call due at `now`; returns after the commit. The call is that
    /// of which its parent is a leg, if one is known. A call that was begun by a leg whose parent was
    /// not yet known becomes a part of the parent's call, and is then skipped; while it is claimed, that
    /// waits until it is settled or the claim has ended, also with the process.
    async fn record(&self, callback: NewCallback, now: Millis) -> Result<Recorded, StoreError>;

    /// Hands out calls that are due, for `lease`.
    async fn claim(
        &self,
        now: Millis,
        lease: Duration,
        wanted: ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError>;

    /// Makes up to `limit` calls due at `now` that would be tried again later; returns how many.
    async fn retry_now(
        &self,
        whose: AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// Ends a claim: the attempt and the state it led to, in one commit. A callback that was
    /// recorded, or a requeue that was asked for, since the claim makes the call due now instead.
    /// Returns when the call is due next, if it is pending.
    async fn settle(
        &self,
        ticket: Ticket,
        settlement: Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError>;

    /// The call that `sid` names, or of which it names a leg.
    async fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError>;

    async fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError>;

    /// Makes all requests of a call owed again, at once and behind fresh calls, as if it had been due
    /// for [`BACKLOG`]; false if there is no such call. `sid` as for `get`.
    async fn requeue(&self, sid: &CallSid, now: Millis) -> Result<bool, StoreError>;

    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Removes up to `limit` expired calls, those longest at rest first; returns how many.
    async fn purge(&self, expiry: Expiry, limit: usize) -> Result<usize, StoreError>;

    /// Whether a callback could be kept now: a write reaches the disk.
    async fn ping(&self) -> Result<(), StoreError>;

    /// How many callbacks wait in a spool until the database is back; `None` without a spool.
    fn spooled(&self) -> Option<u64> {
        None
    }
}
