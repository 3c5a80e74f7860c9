//! The state that the steps of the delivery worker share.
//!
//! The steps themselves are in `delivery`, `deliver` and `settle`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::account_queues::AccountQueues;
use super::acquire_client::AcquireClient;
use super::heartbeat::Heartbeat;
use super::rate_limit::RateLimiter;
use super::slots::Slots;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::plan::Rules;
use crate::store::{HandOver, Store};
use crate::telemetry::metrics::Metrics;
use crate::twilio::CallSid;

/// Carries calls from the store to Acquire; lives on one thread, as its client does.
pub struct Worker {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    pub client: AcquireClient,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Notified when a call has become due.
    pub due: Arc<Notify>,
    /// Open while a call may be delivered as soon as it is recorded.
    pub hand_over: Arc<HandOver>,
    pub queues: AccountQueues,
    pub slots: Rc<Slots>,
    pub rate_limiter: Rc<RateLimiter>,
    pub unsettled: Rc<UnsettledCount>,
    pub heartbeat: Heartbeat,
    /// Whether a call from a SIP host that is not set was logged: further ones are not.
    pub has_logged_sip_host: Cell<bool>,
    /// The current rules: the directory of e-mails may change without a reload.
    pub rules: watch::Receiver<Arc<Rules>>,
}

impl Worker {
    /// The worker after a reload. Deliveries in flight finish with the settings of this one; their slots,
    /// turns and results still count.
    pub fn reloaded(&self, config: Arc<Config>, client: AcquireClient) -> Self {
        self.rate_limiter.set_rate(config.delivery.max_rate);
        self.slots
            .resize(self.rate_limiter.claims(config.delivery.concurrency));
        Self {
            queues: self.queues.reloaded(&config, self.clock.now()),
            config,
            client,
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            metrics: Arc::clone(&self.metrics),
            due: Arc::clone(&self.due),
            hand_over: Arc::clone(&self.hand_over),
            slots: Rc::clone(&self.slots),
            rate_limiter: Rc::clone(&self.rate_limiter),
            unsettled: Rc::clone(&self.unsettled),
            heartbeat: self.heartbeat.clone(),
            has_logged_sip_host: self.has_logged_sip_host.clone(),
            rules: self.rules.clone(),
        }
    }
}

/// The results that the store cannot record at present, and those that it refused.
#[derive(Debug, Default)]
pub struct UnsettledCount {
    waiting: Cell<usize>,
    refused: RefCell<HashSet<CallSid>>,
}

/// A result that the store cannot record at present.
#[derive(Debug)]
pub(super) struct Unsettled<'a>(&'a UnsettledCount);

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.0.waiting.update(|count| count - 1);
    }
}

impl UnsettledCount {
    /// While there is one, the worker claims nothing: it could not settle the next call either, and
    /// would send it again when its lease ends.
    pub fn is_any(&self) -> bool {
        self.waiting.get() > 0
    }

    pub(super) fn add(&self) -> Unsettled<'_> {
        self.waiting.update(|count| count + 1);
        Unsettled(self)
    }

    /// Notes that the store refused the result of a call, which is therefore not sent again.
    pub(super) fn refuse(&self, call: &CallSid) {
        self.refused.borrow_mut().insert(call.clone());
    }

    /// Whether the store refused the result of a call: once, so that a requeue sends the call again.
    pub(super) fn take_refused(&self, call: &CallSid) -> bool {
        !self.refused.borrow().is_empty() && self.refused.borrow_mut().remove(call)
    }
}
