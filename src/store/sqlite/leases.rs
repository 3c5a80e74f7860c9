//! The leases of claimed calls. They are in memory, so that a crash ends every claim.
//!
//! Nothing here is durable. Which calls are due is read from the table `call` (`write_tx/claim`).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Millis;
use crate::store::AccountFilter;

/// A position in the queue of pending calls: due time, then row.
pub(super) type QueuePosition = (Millis, i64);

const MAX_SCAN_STARTS: usize = 64;

/// The claim of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Unique to this claim.
    pub number: i64,
    /// The end of the lease, by the clock of leases.
    pub until: Millis,
}

/// All leases.
#[derive(Debug)]
pub(super) struct LeaseTable {
    held: HashMap<i64, Lease>,
    by_lease: BTreeSet<(Millis, i64)>,
    /// All pending calls of these accounts up to here are claimed, so a search for an unclaimed one
    /// starts behind it.
    scan_starts: HashMap<AccountFilter, QueuePosition>,
    last: i64,
}

impl LeaseTable {
    pub fn new() -> Self {
        Self {
            held: HashMap::new(),
            by_lease: BTreeSet::new(),
            scan_starts: HashMap::new(),
            last: 0,
        }
    }

    pub fn claim(&mut self, call: i64, until: Millis) -> Lease {
        self.last += 1;
        let claim = Lease {
            number: self.last,
            until,
        };
        self.restore(call, claim);
        claim
    }

    /// Puts back a claim that was released.
    pub fn restore(&mut self, call: i64, claim: Lease) {
        // An earlier lease of the call must leave `by_lease` too.
        self.release(call);
        self.held.insert(call, claim);
        self.by_lease.insert((claim.until, call));
    }

    pub fn release(&mut self, call: i64) -> Option<Lease> {
        let claim = self.held.remove(&call)?;
        self.by_lease.remove(&(claim.until, call));
        Some(claim)
    }

    pub fn of(&self, call: i64) -> Option<Lease> {
        self.held.get(&call).copied()
    }

    pub fn holds(&self, call: i64) -> bool {
        self.held.contains_key(&call)
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Claimed calls, newest first.
    pub fn calls(&self) -> Vec<i64> {
        let mut calls: Vec<i64> = self.held.keys().copied().collect();
        calls.sort_unstable_by(|a, b| b.cmp(a));
        calls
    }

    /// Up to `limit` calls with an expired lease, the earliest first.
    pub fn expired(&self, now: Millis, limit: usize) -> Vec<i64> {
        self.by_lease
            .iter()
            .take_while(|(until, _)| *until <= now)
            .take(limit)
            .map(|(_, call)| *call)
            .collect()
    }

    pub fn scan_start(&self, accounts: &AccountFilter) -> QueuePosition {
        const LOWEST: QueuePosition = (Millis(i64::MIN), 0);
        self.scan_starts.get(accounts).copied().unwrap_or(LOWEST)
    }

    /// All calls of these accounts up to `position` are claimed now.
    pub fn raise_scan_start(&mut self, accounts: &AccountFilter, position: QueuePosition) {
        if let Some(start) = self.scan_starts.get_mut(accounts) {
            *start = position.max(*start);
        } else {
            // A worker uses few filters. A missing start only makes one search longer.
            if self.scan_starts.len() >= MAX_SCAN_STARTS {
                self.scan_starts.clear();
            }
            self.scan_starts.insert(accounts.clone(), position);
        }
    }

    /// The call at `position` is pending and may be unclaimed.
    pub fn lower_scan_start(&mut self, (due, call): QueuePosition) {
        for start in self.scan_starts.values_mut() {
            *start = (due, call - 1).min(*start);
        }
    }
}

/// The leases, shared by the writer and the readers of one store.
#[derive(Clone, Debug)]
pub(super) struct SharedLeaseTable(Arc<Mutex<LeaseTable>>);

impl SharedLeaseTable {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(LeaseTable::new())))
    }

    pub fn lock(&self) -> MutexGuard<'_, LeaseTable> {
        // No method of `LeaseTable` panics with a change half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_was_renewed_ends_with_its_second_lease() {
        let mut leases = LeaseTable::new();
        let first = leases.claim(7, Millis(10));
        let second = leases.claim(7, Millis(20));
        assert_ne!(first.number, second.number);
        assert!(leases.expired(Millis(19), 9).is_empty());
        assert_eq!(leases.expired(Millis(20), 9), [7]);
        assert_eq!(leases.len(), 1);
    }

    #[test]
    fn a_call_that_becomes_due_before_the_scan_start_lowers_it() {
        let mut leases = LeaseTable::new();
        leases.raise_scan_start(&AccountFilter::All, (Millis(10), 5));
        leases.lower_scan_start((Millis(10), 3));
        assert_eq!(leases.scan_start(&AccountFilter::All), (Millis(10), 2));
        leases.lower_scan_start((Millis(11), 1));
        assert_eq!(leases.scan_start(&AccountFilter::All), (Millis(10), 2));
    }
}
