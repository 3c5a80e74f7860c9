//! One lane for each of Acquire's accounts: its breaker, what is under way, and what to claim next.

use std::cell::{RefCell, RefMut};
use std::sync::Arc;

use tracing::{error, info};

use crate::acquire::Answer;
use crate::clock::Millis;
use crate::config::{Account, Config};
use crate::domain::breaker::{Breaker, Change, Limits, Sign};
use crate::store::{Order, Wanted, Whose};
use crate::telemetry::metrics::{Metrics, Switch};
use crate::twilio::AccountSid;

pub struct Lanes {
    lanes: RefCell<Vec<Lane>>,
    metrics: Arc<Metrics>,
}

struct Lane {
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
pub struct Round {
    pub wanted: Vec<Wanted>,
    /// When a lane that is shut will be tried.
    pub probe_at: Option<Millis>,
    /// A lane waits for a call of its own to end before it takes another.
    pub waits_for_an_end: bool,
}

impl Lanes {
    #[must_use]
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        let limits = Limits {
            probe_max: config.delivery.probe_max,
            concurrency: config.delivery.concurrency,
        };
        let mut lanes: Vec<Lane> = Vec::new();
        for account in &config.accounts {
            let name = &account.acquire_account_id;
            metrics.breaker(name, Switch::Closed);
            metrics.outages.ends(name);
            match lanes.iter_mut().find(|lane| lane.name == *name) {
                Some(lane) => lane.sids.extend(account.twilio_account_sid.clone()),
                None => lanes.push(Lane {
                    name: name.clone(),
                    sids: account.twilio_account_sid.iter().cloned().collect(),
                    breaker: Breaker::new(limits),
                    under_way: 0,
                }),
            }
        }
        Self {
            lanes: RefCell::new(lanes),
            metrics,
        }
    }

    /// What may be claimed now by a worker that has room for `free` calls.
    pub fn round(&self, free: usize, now: Millis) -> Round {
        let lanes = self.lanes.borrow();
        let (calm, held): (Vec<_>, Vec<_>) = lanes.iter().partition(|lane| lane.breaker.is_calm());
        let mut round = Round::default();
        let mut left = free;
        for lane in &held {
            let limit = lane.breaker.room(lane.under_way, now).min(left);
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
                Whose::All
            } else {
                Whose::AllBut(held)
            };
            round.wanted.push(Wanted {
                whose,
                ..Wanted::any(left)
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
        !lane.breaker.is_open() || lane.breaker.room(lane.under_way - 1, now) > 0
    }

    /// When a call is due that was tried at `tried` and put off until `due`.
    pub fn hasten(&self, account: &Account, tried: Millis, due: Millis) -> Millis {
        self.lane(account).breaker.hasten(tried, due)
    }

    /// Takes an answer to a request of `sent`; whether it spends an attempt of its call.
    pub fn report(&self, account: &Account, answer: &Answer, sent: Millis, now: Millis) -> Report {
        let mut lane = self.lane(account);
        let sign = Sign::of(answer);
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
                self.metrics.breaker(name, Switch::Open);
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
                self.metrics.breaker(name, Switch::Closed);
                info!(
                    acquire.account = %name,
                    "Acquire takes calls of account {name} again; those that waited follow"
                );
            }
        }
        match change {
            Change::Closed => Report::IsBack(lane.whose()),
            _ if was_open && sign != Sign::Good => Report::Unspent,
            _ => Report::Spent,
        }
    }

    fn lane(&self, account: &Account) -> RefMut<'_, Lane> {
        RefMut::map(self.lanes.borrow_mut(), |lanes| {
            let lane = lanes
                .iter_mut()
                .find(|lane| lane.name == account.acquire_account_id);
            lane.expect("there is a lane for each configured account")
        })
    }
}

/// What an answer means for its call's attempts.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    Spent,
    /// Acquire was known to be away: nothing is held against the call.
    Unspent,
    /// It counts, and Acquire is back for these accounts: what waited for it is due.
    IsBack(Whose),
}

impl Lane {
    fn whose(&self) -> Whose {
        if self.sids.is_empty() {
            Whose::All
        } else {
            Whose::Only(self.sids.clone())
        }
    }

    fn wants(&self, limit: usize) -> Wanted {
        // One that Acquire fails for its own sake is behind the others at the next probe.
        let order = if self.breaker.is_open() {
            Order::LongestDueFirst
        } else {
            Order::FreshFirst
        };
        Wanted {
            limit,
            whose: self.whose(),
            order,
        }
    }
}
