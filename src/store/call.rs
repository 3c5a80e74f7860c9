//! Calls as a store has them: what is recorded, claimed, settled, listed and purged.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::call_addresses::CallTerms;
use crate::domain::call_state::State;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::twilio::callback::CallbackParseError;
use crate::twilio::listed::{self, RequestSource};
use crate::twilio::{AccountSid, CallSid, Callback, CallbackKey};

/// A verified request as Twilio signed it, not yet parsed.
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
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// Reads a stored request, also one that was imported from Twilio's own records.
    pub fn read(&self) -> Result<Callback, CallbackParseError> {
        listed::read_stored(&self.url, &self.headers, &self.body)
    }

    pub fn source(&self) -> RequestSource {
        RequestSource::of(&self.headers)
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
    /// A parsed callback with its request.
    pub fn of(callback: Callback, request: SignedRequest) -> Self {
        Self {
            call: callback.call().clone(),
            key: callback.key(),
            account: callback.account,
            leg: callback.leg,
            request,
        }
    }

    /// Whether it was imported, and not signed for the bridge.
    pub(super) fn is_reconciled(&self) -> bool {
        self.request.source() != RequestSource::Signed
    }

    /// Since when its call is due: one that was imported does not delay fresh calls.
    pub(super) fn due(&self, now: Millis) -> Millis {
        if self.is_reconciled() {
            now.minus(REQUEUED_OVERDUE)
        } else {
            now
        }
    }
}

/// Whether a callback was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    New,
    /// Same leg, kind and status as a stored one, and no new field; or of a call that was removed.
    /// Nothing was stored.
    Repeated,
    /// Of a call that was erased. Nothing was stored.
    Erased,
}

impl Recorded {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Repeated => "repeated",
            Self::Erased => "erased",
        }
    }
}

/// A callback as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCallback {
    pub received: Millis,
    pub request: SignedRequest,
}

/// The right to settle a claimed call. It is valid until another claim gets the call, which can happen
/// after the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The call's row.
    pub(crate) call: i64,
    /// Unique to this claim.
    pub(crate) claim: i64,
    /// How many callbacks the claim returned.
    pub(crate) newest_callback: i64,
    /// How often the call had been requeued.
    pub(crate) requeue_count: i64,
    /// The call's `retry_now_at`.
    pub(crate) retry_now_at: Option<Millis>,
}

/// A claimed call with its callbacks and attempts.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub ticket: Ticket,
    pub sid: CallSid,
    pub account: AccountSid,
    /// In the order of arrival; those of a merged call come last.
    pub callbacks: Vec<StoredCallback>,
    /// How many of `callbacks`, from the first, the last settled claim had.
    pub planned_callbacks: usize,
    /// All of them: those before the last requeue, then the others, oldest first.
    pub attempts: Vec<Attempt>,
    /// How many of `attempts` came before the last requeue.
    pub attempts_before_requeue: usize,
    /// When [`Store::retry_now`](super::Store::retry_now) last applied to the call.
    pub retry_now_at: Option<Millis>,
    /// [`Settlement::failing_since`] of its last claim.
    pub failing_since: Option<Millis>,
    /// What became of it so far.
    pub class: Class,
}

impl Claimed {
    /// A new call, claimed with its first callback.
    pub(super) fn new(callback: &NewCallback, received: Millis, ticket: Ticket) -> Self {
        Self {
            ticket,
            sid: callback.call.clone(),
            account: callback.account.clone(),
            callbacks: vec![StoredCallback {
                received,
                request: callback.request.clone(),
            }],
            planned_callbacks: 0,
            attempts: Vec::new(),
            attempts_before_requeue: 0,
            retry_now_at: None,
            failing_since: None,
            class: Class::Waiting,
        }
    }
}

/// The calls to claim.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The most calls.
    pub limit: usize,
    pub accounts: AccountFilter,
    pub order: ListOrder,
}

impl ClaimRequest {
    /// Up to `limit` calls of any account.
    pub fn any(limit: usize) -> Self {
        Self {
            limit,
            accounts: AccountFilter::All,
            order: ListOrder::FreshFirst,
        }
    }
}

/// The clock that leases are measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseClock {
    /// The store's own: that of the database server, or the time since the file was opened. No wall
    /// clock of a node ends or extends a lease.
    Store,
    /// The caller's, which a test advances.
    Caller,
}

/// Selects accounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccountFilter {
    All,
    Only(Vec<AccountSid>),
    AllBut(Vec<AccountSid>),
}

impl AccountFilter {
    pub fn has(&self, account: &AccountSid) -> bool {
        match self {
            Self::All => true,
            Self::Only(accounts) => accounts.contains(account),
            Self::AllBut(accounts) => !accounts.contains(account),
        }
    }
}

/// Calls that have been due for longer are a backlog: claims hand out fresh calls before them. Without an
/// outage or a limit, no call waits as long as this.
pub const BACKLOG_AGE: Duration = Duration::from_secs(1);

/// A requeued call is due as if it had waited this long: part of the backlog, so that any number of
/// requeued calls does not delay fresh ones.
pub const REQUEUED_OVERDUE: Duration = Duration::from_secs(120);

/// The attempts of a call with its `requeue_count` of that time, in two parts: those before the last
/// requeue, then the others, the oldest first in each. Returns how many are in the first part.
pub(super) fn split_by_requeue(
    mut attempts: Vec<(i64, Attempt)>,
    requeue_count: i64,
) -> (Vec<Attempt>, usize) {
    // Those of a merged call come last in the database.
    attempts.sort_by_key(|(made_at, _)| *made_at >= requeue_count);
    let before = attempts.partition_point(|(made_at, _)| *made_at < requeue_count);
    let attempts = attempts.into_iter().map(|(_, attempt)| attempt);
    (attempts.collect(), before)
}

/// Which calls come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// The longest due; if there is a [`BACKLOG_AGE`], the most recently due.
    FreshFirst,
    /// Calls that have not failed yet, the most recently due first; then those that failed.
    UnfailedFirst,
    /// The longest due.
    LongestDueFirst,
}

/// The result of a claim.
#[derive(Clone, Debug, Default)]
pub struct ClaimedCalls {
    pub calls: Vec<Claimed>,
    /// When the next unclaimed call is due, or earlier if the search ended early.
    pub next_due: Option<Millis>,
}

/// The attempt that a worker made for a claimed call, and the next state of the call.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub attempt: Option<Attempt>,
    pub next: NextState,
    /// What has become of the call with it.
    pub class: Class,
    /// When the call first failed since Acquire last accepted a request of it. A failure that is not
    /// recorded as an attempt counts too.
    pub failing_since: Option<Millis>,
    /// The terms that the search index lacks.
    pub terms: CallTerms,
}

/// The state of a settled call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextState {
    PendingAt(Millis),
    Delivered,
    Skipped(Cause, String),
    Parked(Cause, String),
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
    /// The code of the reason, while the call is skipped or parked.
    pub cause: Option<Cause>,
    /// What became of it so far.
    pub class: Class,
    pub first_received: Millis,
    /// When the state was last written.
    pub changed: Millis,
}

/// A call with all its callbacks and attempts.
#[derive(Clone, Debug)]
pub struct StoredCall {
    pub summary: CallSummary,
    /// In the order of arrival.
    pub callbacks: Vec<StoredCallback>,
    /// All of them: those before the last requeue, then the others, oldest first.
    pub attempts: Vec<Attempt>,
    /// How many of `attempts` came before the last requeue.
    pub attempts_before_requeue: usize,
    /// When [`Store::retry_now`](super::Store::retry_now) last applied to the call.
    pub retry_now_at: Option<Millis>,
}

impl StoredCall {
    /// A call of which only the summary is read.
    pub(super) fn without_details(summary: CallSummary) -> Self {
        Self {
            summary,
            callbacks: Vec::new(),
            attempts: Vec::new(),
            attempts_before_requeue: 0,
            retry_now_at: None,
        }
    }
}

/// The calls to list. Order: newest first; of `pending`, the next due first; of `delivered`, `skipped`
/// and `parked`, the last to reach the state first.
#[derive(Clone, Copy, Debug)]
pub struct ListFilter {
    pub state: Option<State>,
    pub limit: usize,
}

impl ListFilter {
    /// All calls.
    pub const ALL: Self = Self {
        state: None,
        limit: usize::MAX,
    };
}

/// The numbers of calls, for metrics.
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
    /// The due time of the longest due call, pending or claimed.
    pub oldest_due: Option<Millis>,
}

impl Counts {
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

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Removed calls by the state that they were in.
    pub delivered: usize,
    pub skipped: usize,
    pub parked: usize,
    /// Calls that stay, because Twilio's Timestamp of a callback is later than the store's time. They
    /// are in their state since that time from now on.
    pub deferred: usize,
}

impl Purged {
    pub fn removed(&self) -> usize {
        self.delivered + self.skipped + self.parked
    }

    /// Counts a removed call.
    pub(super) fn add(&mut self, state: State) {
        match state {
            State::Delivered => self.delivered += 1,
            State::Skipped => self.skipped += 1,
            State::Parked => self.parked += 1,
            State::Pending | State::Claimed => {}
        }
    }
}

/// Calls last changed before these times are purged.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// The current time.
    pub now: Millis,
    pub delivered_and_skipped: Millis,
    /// Calls removed before this time are forgotten too, by whole days.
    pub parked: Millis,
}

/// What another program does to an SQLite file, and what an operator can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreWarning {
    #[error(
        "another program holds the write lock of the SQLite file, so that callbacks wait and then get \
         503: end its transaction (a sqlite3 shell, a backup or replication tool; `fuser` names it)"
    )]
    WriteLocked,
    #[error(
        "another program reads an old state of the SQLite file, so that its write-ahead log grows and \
         removed data stays in it: end that read (a sqlite3 shell, a backup; `fuser` names it)"
    )]
    LogPinned,
}

/// The SQLite file of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFiles {
    /// Size of the write-ahead log in bytes.
    pub log_bytes: u64,
    /// Free space on its disk in bytes.
    pub free_bytes: u64,
    /// When `backup` last copied it.
    pub backed_up_at: Option<Millis>,
}

/// The versions of a store before and after a migration; 0: there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: usize,
    pub to: usize,
}
