//! Which of Acquire's accounts are left alone now, and why: the worker writes it, operators read it.
//!
//! A probe that fails spends no attempt of its call, so its answer stands here alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::acquire::{AcquireResponse, DeliveryFault};
use crate::clock::Millis;

/// Acquire takes no calls of an account: they wait and spend no attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Acquire's name of the account.
    pub account: String,
    pub since: Millis,
    /// Of the latest request, which may have been a probe.
    pub fault: DeliveryFault,
    pub status: Option<u16>,
    /// The beginning of its answer, or the network's error in words.
    pub answer: String,
    pub next_probe: Millis,
}

/// By account; those that are not here are served.
#[derive(Debug, Default)]
pub struct Outages(Mutex<BTreeMap<String, Outage>>);

impl Outages {
    /// The breaker of `account` is open by this answer's fault, until `next_probe`.
    pub fn lasts(&self, account: &str, answer: &AcquireResponse, now: Millis, next_probe: Millis) {
        let Some(fault) = answer.outcome.fault() else {
            return;
        };
        let mut outages = self.lock();
        let begun = outages.get(account).map(|outage| outage.since);
        let outage = Outage {
            account: account.to_owned(),
            since: begun.unwrap_or(now),
            fault,
            status: answer.status,
            answer: answer.excerpt.clone(),
            next_probe,
        };
        outages.insert(account.to_owned(), outage);
    }

    pub fn ends(&self, account: &str) {
        self.lock().remove(account);
    }

    #[must_use]
    pub fn of(&self, account: &str) -> Option<Outage> {
        self.lock().get(account).cloned()
    }

    /// What is inside is whole whatever happened to whoever held it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
