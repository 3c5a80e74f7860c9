//! The accounts to which deliveries are paused, and why: the worker writes it, operators read it.
//!
//! A failed probe uses up no retry, and most are not recorded as attempts, so only this has its answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::acquire::{AcquireResponse, DeliveryFault};
use crate::clock::Millis;

/// Deliveries to an account are paused. Its calls are held; no retries are used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Acquire's name of the account.
    pub account: String,
    pub since: Millis,
    /// The fault of the latest request, which may have been a probe.
    pub fault: DeliveryFault,
    pub status: Option<u16>,
    /// The start of its response, or the network's error in words.
    pub answer: String,
    pub next_probe: Millis,
}

/// The outages by account; deliveries to all other accounts go on.
#[derive(Debug, Default)]
pub struct Outages(Mutex<BTreeMap<String, Outage>>);

impl Outages {
    /// Notes that this answer opened the breaker of `account`, or kept it open, until `next_probe`.
    pub fn record(&self, account: &str, answer: &AcquireResponse, now: Millis, next_probe: Millis) {
        let Some(fault) = answer.outcome.fault() else {
            return;
        };
        let mut outages = self.lock();
        let since = outages.get(account).map(|outage| outage.since);
        let outage = Outage {
            account: account.to_owned(),
            since: since.unwrap_or(now),
            fault,
            status: answer.status,
            answer: answer.excerpt.clone(),
            next_probe,
        };
        outages.insert(account.to_owned(), outage);
    }

    pub fn end(&self, account: &str) {
        self.lock().remove(account);
    }

    /// All of them, in the order of their names.
    #[must_use]
    pub fn all(&self) -> Vec<Outage> {
        self.lock().values().cloned().collect()
    }

    #[must_use]
    pub fn of(&self, account: &str) -> Option<Outage> {
        self.lock().get(account).cloned()
    }

    /// Ignores poisoning: no operation leaves the map incomplete.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
