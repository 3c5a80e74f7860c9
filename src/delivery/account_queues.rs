//! One lane for each of Acquire's accounts: its breaker, what is under way, and what to claim next.

use std::cell::{RefCell, RefMut};
use std::sync::Arc;

use tracing::{error, info};

use crate::acquire::AcquireResponse;
use crate::clock::Millis;
use crate::config::{Account, Config};
use crate::domain::breaker::{Breaker, BreakerLimits, Change, Signal};
use crate::store::{AccountFilter, ClaimRequest, ListOrder};
use crate::telemetry::metrics::{BreakerState, Metrics};
use crate::twilio::AccountSid;

pub struct AccountQueues {
    queues: RefCell<Vec<AccountQueue>>,
    metrics: Arc<Metrics>,
}

struct AccountQueue {
    /// Acquire's name of the account.
    name: String,
    /// Twilio's accounts that go there; none where it takes whatever comes.
    sids: Vec<AccountSid>,
    breaker: Breaker,
    /// Calls that were claimed and are not settled.
    under_way: usize,
}

/// What the worker asks the store for.
#[derive(Debug, Default)]
pub struct ClaimPlan {
    pub wanted: Vec<ClaimRequest>,
    /// When a lane that is shut will be tried.
    pub probe_at: Option<Millis>,
    /// A lane waits for a call of its own to end before it takes another.
    pub waits_for_an_end: bool,
}

impl AccountQueues {
    #[must_use]
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        let limits = BreakerLimits {
            probe_max: config.delivery.probe_max,
            concurrency: config.delivery.concurrency,
        };
        let mut lanes: Vec<AccountQueue> = Vec::new();
        for account in &config.accounts {
            let name = &account.acquire_account_id;
            metrics.breaker(name, BreakerState::Closed);
            metrics.outages.ends(name);
            match lanes.iter_mut().find(|lane| lane.name == *name) {
                Some(lane) => lane.sids.extend(account.twilio_account_sid.clone()),
                None => lanes.push(AccountQueue {
                    name: name.clone(),
                    sids: account.twilio_account_sid.iter().cloned().collect(),
                    breaker: Breaker::new(limits),
                    under_way: 0,
                }),
            }
        }
        Self {
            queues: RefCell::new(lanes),
            metrics,
        }
    }

    /// What may be claimed now by a worker that has room for `free` calls.
    pub fn claim_plan(&self, free: usize, now: Millis) -> ClaimPlan {
        let lanes = self.queues.borrow();
        let (calm, held): (Vec<_>, Vec<_>) = lanes
            .iter()
            .partition(|lane| lane.breaker.is_fully_closed());
        let mut round = ClaimPlan::default();
        let mut left = free;
        for lane in &held {
            let limit = lane.breaker.permits(lane.under_way, now).min(left);
            round.waits_for_an_end |= limit == 0 && lane.under_way > 0;
            if let Some(at) = lane.breaker.probe_at().filter(|at| *at > now) {
                round.probe_at = Some(round.probe_at.map_or(at, |other| other.min(at)));
            }
            if limit > 0 {
                left -= limit;
                round.wanted.push(lane.wants(limit));
            }
        }
        if left > 0 && (held.is_empty() || !calm.is_empty()) {
            let held = held.iter().flat_map(|lane| lane.sids.clone());
            let held: Vec<AccountSid> = held.collect();
            let whose = if held.is_empty() {
                AccountFilter::All
            } else {
                AccountFilter::AllBut(held)
            };
            round.wanted.push(ClaimRequest {
                whose,
                ..ClaimRequest::any(left)
            });
        }
        round
    }

    pub fn begins(&self, account: &Account) {
        self.lane(account).under_way += 1;
    }

    pub fn ends(&self, account: &Account) {
        self.lane(account).under_way -= 1;
    }

    /// Whether a request for a call that was claimed may still leave at `now`.
    pub fn lets_through(&self, account: &Account, now: Millis) -> bool {
        let lane = self.lane(account);
        !lane.breaker.is_open() || lane.breaker.permits(lane.under_way - 1, now) > 0
    }

    /// When a call is due that was tried at `tried` and put off until `due`.
    pub fn retry_now(&self, account: &Account, tried: Millis, due: Millis) -> Millis {
        self.lane(account).breaker.retry_now(tried, due)
    }

    /// Takes an answer to a request of `sent`; whether it spends an attempt of its call.
    pub fn report(
        &self,
        account: &Account,
        answer: &AcquireResponse,
        sent: Millis,
        now: Millis,
    ) -> AnswerEffect {
        let mut lane = self.lane(account);
        let sign = Signal::of(answer);
        let was_open = lane.breaker.is_open();
        let change = lane.breaker.report(sign, sent, now);
        let name = &lane.name;
        if let Some(next) = lane.breaker.probe_at() {
            self.metrics.outages.lasts(name, answer, now, next);
        } else if was_open {
            self.metrics.outages.ends(name);
        }
        match change {
            Change::None => {}
            Change::Opened => {
                self.metrics.breaker(name, BreakerState::Open);
                let fault = answer.outcome.fault();
                let advice = fault.map(|fault| format!("{fault} ({})", fault.advice()));
                error!(
                    acquire.account = %name,
                    acquire.status = answer.status,
                    "Acquire takes no calls of account {name}: {}; they wait and spend no attempts",
                    advice.unwrap_or_default()
                );
            }
            Change::Closed => {
                self.metrics.breaker(name, BreakerState::Closed);
                info!(
                    acquire.account = %name,
                    "Acquire takes calls of account {name} again; those that waited follow"
                );
            }
        }
        match change {
            Change::Closed => AnswerEffect::IsBack(lane.filter()),
            _ if was_open && sign != Signal::Good => AnswerEffect::Unspent,
            _ => AnswerEffect::Spent,
        }
    }

    fn lane(&self, account: &Account) -> RefMut<'_, AccountQueue> {
        RefMut::map(self.queues.borrow_mut(), |lanes| {
            let lane = lanes
                .iter_mut()
                .find(|lane| lane.name == account.acquire_account_id);
            lane.expect("there is a lane for each configured account")
        })
    }
}

/// What an answer means for its call's attempts.
#[derive(Debug, PartialEq, Eq)]
pub enum AnswerEffect {
    Spent,
    /// Acquire was known to be away: nothing is held against the call.
    Unspent,
    /// It counts, and Acquire is back for these accounts: what waited for it is due.
    IsBack(AccountFilter),
}

impl AccountQueue {
    fn filter(&self) -> AccountFilter {
        if self.sids.is_empty() {
            AccountFilter::All
        } else {
            AccountFilter::Only(self.sids.clone())
        }
    }

    fn wants(&self, limit: usize) -> ClaimRequest {
        // One that Acquire fails for its own sake is behind the others at the next probe.
        let order = if self.breaker.is_open() {
            ListOrder::LongestDueFirst
        } else {
            ListOrder::FreshFirst
        };
        ClaimRequest {
            limit,
            whose: self.filter(),
            order,
        }
    }
}
