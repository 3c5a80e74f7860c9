//! One queue for each of Acquire's accounts: its breaker, its calls in flight, and its next claim.
//!
//! It holds no calls: those are in the store. It sends nothing.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::acquire::{AcquireResponse, Outcome};
use crate::clock::Millis;
use crate::config::{Account, Config};
use crate::domain::breaker::{Breaker, BreakerLimits, Change, ProbeCall, Signal};
use crate::domain::failing_calls::{FailingCalls, FailureCause};
use crate::domain::outage::Outages;
use crate::domain::shares::{self, Demand, Division, Load};
use crate::store::{AccountFilter, ClaimRequest, Claimed, ListOrder};
use crate::telemetry::metrics::Metrics;
use crate::twilio::AccountSid;

/// How long an account counts as failing after a failure: longer than most requests take to fail.
const FAILING_FOR: Duration = Duration::from_secs(60);

pub struct AccountQueues {
    queues: Vec<AccountQueue>,
    metrics: Arc<Metrics>,
    outages: Arc<Outages>,
}

struct AccountQueue {
    /// Acquire's name of the account.
    name: String,
    /// The Twilio accounts that it serves; empty if it serves all.
    sids: Vec<AccountSid>,
    /// Shared with the deliveries that started before a reload.
    state: Rc<RefCell<QueueState>>,
}

struct QueueState {
    breaker: Breaker,
    failing: FailingCalls,
    last_failure: Option<Millis>,
    /// The claimed calls that hold a slot, as a call that is being settled does not.
    in_flight: usize,
    demand: Demand,
}

/// The claims that the worker makes now, and when it can make others.
#[derive(Debug, Default)]
pub struct ClaimPlan {
    pub requests: Vec<ClaimRequest>,
    /// The time of the next probe of a paused account.
    pub probe_at: Option<Millis>,
    /// A queue can claim its next call only when one of its calls ends.
    pub waits_for_an_end: bool,
}

impl AccountQueues {
    pub fn new(config: &Config, metrics: Arc<Metrics>, outages: Arc<Outages>) -> Self {
        let none = Self {
            queues: Vec::new(),
            metrics,
            outages,
        };
        none.reloaded(config, Millis(i64::MIN))
    }

    /// The queues of a new configuration. All breakers are closed, and the calls in flight still count.
    pub fn reloaded(&self, config: &Config, now: Millis) -> Self {
        let limits = BreakerLimits {
            probe_max: config.delivery.probe_max,
            concurrency: config.delivery.concurrency,
        };
        let mut queues: Vec<AccountQueue> = Vec::new();
        for account in &config.accounts {
            let name = &account.acquire_account_id;
            // A reload starts with closed breakers, so an outage of the old ones is no longer
            // shown.
            self.metrics.breaker_open(name).set(0);
            self.outages.forget(name);
            if let Some(queue) = queues.iter_mut().find(|queue| queue.name == *name) {
                queue.sids.extend(account.twilio_account_sid.clone());
                continue;
            }
            let breaker = Breaker::reloaded(limits, now);
            let state = if let Some(queue) = self.queues.iter().find(|queue| queue.name == *name) {
                queue.state.borrow_mut().breaker = breaker;
                Rc::clone(&queue.state)
            } else {
                Rc::new(RefCell::new(QueueState {
                    breaker,
                    failing: FailingCalls::default(),
                    last_failure: None,
                    in_flight: 0,
                    demand: Demand::Quiet,
                }))
            };
            queues.push(AccountQueue {
                name: name.clone(),
                sids: account.twilio_account_sid.iter().cloned().collect(),
                state,
            });
        }
        Self {
            queues,
            metrics: Arc::clone(&self.metrics),
            outages: Arc::clone(&self.outages),
        }
    }

    /// Plans the claims of a worker that has permits for `free` of `slots` calls.
    pub fn claim_plan(&self, slots: usize, free: usize, now: Millis) -> ClaimPlan {
        let loads: Vec<Load> = self
            .queues
            .iter()
            .map(|queue| queue.state.borrow().load(now))
            .collect();
        let Division { own, mut common } = shares::divide(slots, free, &loads);
        // Accounts without a limit or a fault share one claim.
        let mut in_common = self.queues.len();
        let mut without = Vec::new();
        let mut plan = ClaimPlan::default();
        for ((queue, load), share) in self.queues.iter().zip(&loads).zip(own) {
            let state = queue.state.borrow();
            if share.is_none() && state.is_healthy(now) {
                continue;
            }
            if let Some(at) = state.breaker.probe_at(now).filter(|at| *at > now) {
                plan.probe_at = Some(plan.probe_at.map_or(at, |other| other.min(at)));
            }
            let limit = share.unwrap_or_else(|| {
                let limit = load.permits.min(common.div_ceil(in_common));
                common -= limit;
                limit
            });
            in_common -= 1;
            without.extend(queue.sids.iter().cloned());
            plan.waits_for_an_end |= limit == 0 && (share.is_some() || state.in_flight > 0);
            if limit > 0 {
                plan.requests.push(ClaimRequest {
                    limit,
                    accounts: queue.filter(),
                    order: state.order(now),
                });
            }
        }
        // Includes accounts that are no longer configured: their calls must be parked.
        if common > 0 && in_common > 0 {
            let accounts = if without.is_empty() {
                AccountFilter::All
            } else {
                AccountFilter::AllBut(without)
            };
            plan.requests.push(ClaimRequest {
                accounts,
                ..ClaimRequest::any(common)
            });
        }
        plan
    }

    /// Notes the calls that a claim returned, each of a configured account.
    pub fn claimed<'a>(
        &self,
        request: &ClaimRequest,
        accounts: impl ExactSizeIterator<Item = Option<&'a Account>>,
    ) {
        let is_full = accounts.len() == request.limit;
        // A claim of one account alone; it is quiet unless its claim was full.
        for queue in self
            .queues
            .iter()
            .filter(|queue| queue.filter() == request.accounts)
        {
            queue.state.borrow_mut().demand = Demand::Quiet;
        }
        for account in accounts.flatten() {
            let mut state = self.state(account);
            state.in_flight += 1;
            if is_full && self.queues.len() > 1 {
                state.demand = Demand::Waiting;
            }
        }
    }

    /// Notes a call that was claimed as it was recorded.
    pub fn handed(&self, account: Option<&Account>) {
        if let Some(account) = account {
            self.state(account).in_flight += 1;
        }
    }

    /// Notes that nothing more is sent for a claimed call of `account`.
    pub fn sent(&self, account: &Account) {
        self.state(account).in_flight -= 1;
    }

    /// Whether the request of a claimed call may still be sent at `now`: the breaker may have opened
    /// since the claim.
    pub fn allows(&self, account: &Account, now: Millis) -> bool {
        let state = self.state(account);
        // Minus one, because the call itself is in flight.
        !state.breaker.is_open() || state.breaker.permits(state.in_flight - 1, now) > 0
    }

    /// Evaluates the answer to a request for `call`, sent at `sent`.
    pub fn report(
        &self,
        (account, call): (&Account, &Claimed),
        answer: &AcquireResponse,
        sent: Millis,
        now: Millis,
    ) -> AnswerEffect {
        let queue = self.queue(account);
        let mut state = queue.state.borrow_mut();
        let cause = state.cause(call, answer, now);
        let signal = Signal::of(answer, cause);
        let was_open = state.breaker.is_open();
        let change = state.breaker.report(signal, sent, now);
        let name = &queue.name;
        if let Some(next) = state.breaker.probe_at(now) {
            self.outages.record(name, answer, now, next);
        } else if signal == Signal::Good {
            self.outages.works(name);
        }
        match change {
            Change::None => {}
            Change::Opened => {
                self.metrics.breaker_open(name).set(1);
                let fault = answer.outcome.fault();
                let advice = fault.map(|fault| format!("{fault} ({})", fault.advice()));
                error!(
                    acquire.account = %name,
                    acquire.status = answer.status,
                    "Deliveries to account {name} are paused: {}. Calls are held; no retries are used up.",
                    advice.unwrap_or_default()
                );
            }
            Change::Closed => {
                self.metrics.breaker_open(name).set(0);
                info!(
                    acquire.account = %name,
                    "Deliveries to account {name} have resumed; the held calls are sent now."
                );
            }
        }
        match change {
            Change::Closed => AnswerEffect::IsBack(queue.filter()),
            // A probe must not use up the retries of the call that happened to be sent.
            _ if was_open && cause == FailureCause::Unknown => AnswerEffect::Unrecorded,
            _ => AnswerEffect::Recorded(cause),
        }
    }

    fn queue(&self, account: &Account) -> &AccountQueue {
        let name = &account.acquire_account_id;
        let queue = self.queues.iter().find(|queue| queue.name == *name);
        queue.expect("there is a queue for each configured account")
    }

    fn state(&self, account: &Account) -> RefMut<'_, QueueState> {
        self.queue(account).state.borrow_mut()
    }
}

/// The effect of an answer on the attempts of its call and on the other calls.
#[derive(Debug, PartialEq, Eq)]
pub enum AnswerEffect {
    /// The attempt is recorded. If it failed, this is the cause.
    Recorded(FailureCause),
    /// Acquire was already known to be down: the failure uses up no retry, and is recorded only if
    /// Acquire may have accepted the request.
    Unrecorded,
    /// The attempt is recorded. Acquire is back for these accounts, so that their held calls are due.
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
}

impl QueueState {
    fn load(&self, now: Millis) -> Load {
        Load {
            in_flight: self.in_flight,
            permits: self.breaker.permits(self.in_flight, now),
            demand: self.demand,
        }
    }

    fn is_healthy(&self, now: Millis) -> bool {
        self.breaker.is_fully_closed() && !self.fails(now)
    }

    /// Whether a call failed so recently that others may fail again: the calls that have not failed go
    /// first.
    fn fails(&self, now: Millis) -> bool {
        self.last_failure
            .is_some_and(|at| at <= now && now.since(at) < FAILING_FOR)
    }

    fn cause(&mut self, call: &Claimed, answer: &AcquireResponse, now: Millis) -> FailureCause {
        match answer.outcome {
            Outcome::Accepted | Outcome::AcceptedAsRepeat => self.failing.accepted(now),
            Outcome::Refused => {}
            Outcome::Retry { .. } => {
                self.last_failure = Some(now);
                return self
                    .failing
                    .failed(&call.sid, call.failing_since, answer, now);
            }
        }
        FailureCause::Unknown
    }

    fn order(&self, now: Millis) -> ListOrder {
        match self.breaker.probe() {
            Some(ProbeCall::LongestDue) => ListOrder::LongestDueFirst,
            None if self.is_healthy(now) => ListOrder::FreshFirst,
            Some(ProbeCall::Unfailed) | None => ListOrder::UnfailedFirst,
        }
    }
}
