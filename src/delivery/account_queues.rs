//! One queue for each of Acquire's accounts: its breaker, its calls in flight, and its next claim.
//!
//! It holds no calls: those are in the store. It sends nothing.

use std::cell::{RefCell, RefMut};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::acquire::{AcquireResponse, Outcome};
use crate::clock::Millis;
use crate::config::{Account, Config};
use crate::domain::breaker::{Breaker, BreakerLimits, Change, ProbeCall, Signal};
use crate::domain::failing_calls::{FailingCalls, FailureCause};
use crate::domain::outage::Outages;
use crate::store::{AccountFilter, ClaimRequest, Claimed, ListOrder};
use crate::telemetry::metrics::{BreakerState, Metrics};
use crate::twilio::AccountSid;

/// How long an account counts as failing after a failure: longer than most requests take to fail.
const FAILING_FOR: Duration = Duration::from_secs(60);

pub struct AccountQueues {
    queues: RefCell<Vec<AccountQueue>>,
    metrics: Arc<Metrics>,
    outages: Arc<Outages>,
}

struct AccountQueue {
    /// Acquire's name of the account.
    name: String,
    /// The Twilio accounts that it serves; empty if it serves all.
    sids: Vec<AccountSid>,
    breaker: Breaker,
    failing: FailingCalls,
    last_failure: Option<Millis>,
    /// The calls that are claimed and not settled.
    in_flight: usize,
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
    #[must_use]
    pub fn new(config: &Config, metrics: Arc<Metrics>, outages: Arc<Outages>) -> Self {
        let limits = BreakerLimits {
            probe_max: config.delivery.probe_max,
            concurrency: config.delivery.concurrency,
        };
        let mut queues: Vec<AccountQueue> = Vec::new();
        for account in &config.accounts {
            let name = &account.acquire_account_id;
            // A reload starts with closed breakers, so an outage of the old ones is no longer
            // shown.
            metrics.breaker(name, BreakerState::Closed);
            outages.end(name);
            match queues.iter_mut().find(|queue| queue.name == *name) {
                Some(queue) => queue.sids.extend(account.twilio_account_sid.clone()),
                None => queues.push(AccountQueue {
                    name: name.clone(),
                    sids: account.twilio_account_sid.iter().cloned().collect(),
                    breaker: Breaker::new(limits),
                    failing: FailingCalls::default(),
                    last_failure: None,
                    in_flight: 0,
                }),
            }
        }
        Self {
            queues: RefCell::new(queues),
            metrics,
            outages,
        }
    }

    /// Plans the claims of a worker that has permits for `free` calls.
    pub fn claim_plan(&self, free: usize, now: Millis) -> ClaimPlan {
        let queues = self.queues.borrow();
        // Accounts without a fault share one claim; each other has its own limit.
        let (healthy, limited): (Vec<_>, Vec<_>) = queues
            .iter()
            .partition(|queue| queue.breaker.is_fully_closed() && !queue.fails(now));
        let mut plan = ClaimPlan::default();
        let mut left = free;
        for queue in &limited {
            let limit = queue.breaker.permits(queue.in_flight, now).min(left);
            plan.waits_for_an_end |= limit == 0 && queue.in_flight > 0;
            if let Some(at) = queue.breaker.probe_at().filter(|at| *at > now) {
                plan.probe_at = Some(plan.probe_at.map_or(at, |other| other.min(at)));
            }
            if limit > 0 {
                left -= limit;
                plan.requests.push(queue.claim_request(limit));
            }
        }
        // Includes accounts that are no longer configured: their calls must be parked.
        if left > 0 && (limited.is_empty() || !healthy.is_empty()) {
            let sids = limited.iter().flat_map(|queue| queue.sids.clone());
            let sids: Vec<AccountSid> = sids.collect();
            let accounts = if sids.is_empty() {
                AccountFilter::All
            } else {
                AccountFilter::AllBut(sids)
            };
            plan.requests.push(ClaimRequest {
                accounts,
                ..ClaimRequest::any(left)
            });
        }
        plan
    }

    /// Notes that a call of `account` was claimed.
    pub fn claimed(&self, account: &Account) {
        self.queue(account).in_flight += 1;
    }

    /// Notes that a claimed call of `account` was settled.
    pub fn settled(&self, account: &Account) {
        self.queue(account).in_flight -= 1;
    }

    /// Whether the request of a claimed call may still be sent at `now`: the breaker may have opened
    /// since the claim.
    pub fn allows(&self, account: &Account, now: Millis) -> bool {
        let queue = self.queue(account);
        // Minus one, because the call itself is in flight.
        !queue.breaker.is_open() || queue.breaker.permits(queue.in_flight - 1, now) > 0
    }

    /// Evaluates the answer to a request for `call`, sent at `sent`.
    pub fn report(
        &self,
        (account, call): (&Account, &Claimed),
        answer: &AcquireResponse,
        sent: Millis,
        now: Millis,
    ) -> AnswerEffect {
        let mut queue = self.queue(account);
        let cause = queue.cause(call, answer, now);
        let signal = Signal::of(answer, cause);
        let was_open = queue.breaker.is_open();
        let change = queue.breaker.report(signal, sent, now);
        let name = &queue.name;
        if let Some(next) = queue.breaker.probe_at() {
            self.outages.record(name, answer, now, next);
        } else if was_open {
            self.outages.end(name);
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
                    "Deliveries to account {name} are paused: {}. Calls are held; no retries are used up.",
                    advice.unwrap_or_default()
                );
            }
            Change::Closed => {
                self.metrics.breaker(name, BreakerState::Closed);
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

    fn queue(&self, account: &Account) -> RefMut<'_, AccountQueue> {
        RefMut::map(self.queues.borrow_mut(), |queues| {
            let queue = queues
                .iter_mut()
                .find(|queue| queue.name == account.acquire_account_id);
            queue.expect("there is a queue for each configured account")
        })
    }
}

/// The effect of an answer on the attempts of its call and on the other calls.
#[derive(Debug, PartialEq, Eq)]
pub enum AnswerEffect {
    /// The attempt is recorded. If it failed, this is the cause.
    Recorded(FailureCause),
    /// Acquire was already known to be down: the failure uses up no retry and is not recorded.
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

    /// Whether a call failed so recently that others may fail again: the calls that have not failed go
    /// first.
    fn fails(&self, now: Millis) -> bool {
        self.last_failure
            .is_some_and(|at| now.since(at) < FAILING_FOR)
    }

    fn cause(&mut self, call: &Claimed, answer: &AcquireResponse, now: Millis) -> FailureCause {
        match answer.outcome {
            Outcome::Accepted | Outcome::AcceptedAsRepeat => self.failing.accepted(now),
            Outcome::Refused => {}
            Outcome::Retry { .. } => {
                self.last_failure = Some(now);
                return self.failing.failed(&call.sid, call.failing_since, answer);
            }
        }
        FailureCause::Unknown
    }

    fn claim_request(&self, limit: usize) -> ClaimRequest {
        let order = match self.breaker.probe() {
            Some(ProbeCall::LongestDue) => ListOrder::LongestDueFirst,
            Some(ProbeCall::Unfailed) | None => ListOrder::UnfailedFirst,
        };
        ClaimRequest {
            limit,
            accounts: self.filter(),
            order,
        }
    }
}
