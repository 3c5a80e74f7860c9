//! The accounts to which deliveries are paused, and why: the worker writes it, operators read it.
//!
//! A failed probe uses up no retry, and most are not recorded as attempts, so only this has its answer.

use std::collections::{BTreeMap, BTreeSet};
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

/// An outage, with the `AccountSid`s of which calls are held. Without any, all are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountOutage {
    #[serde(flatten)]
    pub outage: Outage,
    #[serde(rename = "twilio_accounts")]
    pub accounts: Vec<String>,
}

/// The outages by account; deliveries to all other accounts go on. `None`: Acquire has answered since the
/// start or the last reload, and there is no outage.
#[derive(Debug, Default)]
pub struct Outages(Mutex<BTreeMap<String, Option<Outage>>>);

impl Outages {
    /// Notes that this answer opened the breaker of `account`, or kept it open, until `next_probe`.
    pub fn record(&self, account: &str, answer: &AcquireResponse, now: Millis, next_probe: Millis) {
        let Some(fault) = answer.outcome.fault() else {
            return;
        };
        let mut outages = self.lock();
        let before = outages.get(account).and_then(Option::as_ref);
        let since = before.map(|outage| outage.since);
        let outage = Outage {
            account: account.to_owned(),
            since: since.unwrap_or(now),
            fault,
            status: answer.status,
            answer: answer.excerpt.clone(),
            next_probe,
        };
        outages.insert(account.to_owned(), Some(outage));
    }

    /// Acquire answered a request of this account: there is no outage.
    pub fn works(&self, account: &str) {
        let mut outages = self.lock();
        match outages.get_mut(account) {
            Some(outage) => *outage = None,
            None => drop(outages.insert(account.to_owned(), None)),
        }
    }

    /// Whether Acquire works for an account is not known any more.
    pub fn forget(&self, account: &str) {
        self.lock().remove(account);
    }

    /// The accounts of which the bridge knows whether there is an outage.
    pub fn known(&self) -> BTreeSet<String> {
        self.lock().keys().cloned().collect()
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> Vec<Outage> {
        self.lock().values().flatten().cloned().collect()
    }

    pub fn of(&self, account: &str) -> Option<Outage> {
        self.lock().get(account).cloned().flatten()
    }

    /// Ignores poisoning: no operation leaves the map incomplete.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Outage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
