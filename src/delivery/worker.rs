//! The state that the steps of the delivery worker share.
//!
//! The steps themselves are in `delivery`, `deliver` and `settle`.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::account_queues::AccountQueues;
use super::acquire_client::AcquireClient;
use super::heartbeat::Heartbeat;
use super::rate_limit::RateLimiter;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::plan::Rules;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Carries calls from the store to Acquire; lives on one thread, as its client does.
pub struct Worker {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    pub client: AcquireClient,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// Notified when a call has become due.
    pub due: Arc<Notify>,
    pub queues: AccountQueues,
    pub rate_limiter: RateLimiter,
    pub unsettled: UnsettledCount,
    pub heartbeat: Heartbeat,
    /// Whether a call from a SIP host that is not set was logged: further ones are not.
    pub has_logged_sip_host: Cell<bool>,
    /// The current rules: the directory of e-mails may change without a reload.
    pub rules: watch::Receiver<Arc<Rules>>,
}

/// The number of results that the store cannot record at present.
#[derive(Debug, Default)]
pub struct UnsettledCount(Cell<usize>);

impl UnsettledCount {
    /// While there is one, the worker claims nothing: it could not settle the next call either, and
    /// would send it again when its lease ends.
    pub fn is_any(&self) -> bool {
        self.0.get() > 0
    }

    pub(super) fn add(&self) {
        self.0.update(|count| count + 1);
    }

    pub(super) fn remove(&self) {
        self.0.update(|count| count - 1);
    }
}
