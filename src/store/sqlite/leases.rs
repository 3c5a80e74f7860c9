//! Who works on which call. Kept in memory: a crash frees every claim.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Millis;
use crate::store::AccountFilter;

/// A place in the order in which pending calls are handed out: due time, then row.
pub(super) type QueuePosition = (Millis, i64);

const MAX_SCAN_STARTS: usize = 64;

/// One call's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Told to this claim alone.
    pub number: i64,
    /// The end of the lease.
    pub until: Millis,
}

/// All claims.
#[derive(Debug)]
pub(super) struct LeaseTable {
    held: HashMap<i64, Lease>,
    by_lease: BTreeSet<(Millis, i64)>,
    /// Each pending call of these accounts up to here is claimed, so a search for one that is not
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

    /// Up to `limit` calls whose lease has ended, those that ended first.
    pub fn expired(&self, now: Millis, limit: usize) -> Vec<i64> {
        self.by_lease
            .iter()
            .take_while(|(until, _)| *until <= now)
            .take(limit)
            .map(|(_, call)| *call)
            .collect()
    }

    pub fn scan_start(&self, whose: &AccountFilter) -> QueuePosition {
        const LOWEST: QueuePosition = (Millis(i64::MIN), 0);
        self.scan_starts.get(whose).copied().unwrap_or(LOWEST)
    }

    /// All calls of these accounts up to `place` are claimed now.
    pub fn raise_floor(&mut self, whose: &AccountFilter, place: QueuePosition) {
        if let Some(floor) = self.scan_starts.get_mut(whose) {
            *floor = place.max(*floor);
        } else {
            // Accounts are asked for together in few ways; a forgotten floor costs a longer search.
            if self.scan_starts.len() >= MAX_SCAN_STARTS {
                self.scan_starts.clear();
            }
            self.scan_starts.insert(whose.clone(), place);
        }
    }

    /// The call at `place` is pending and may be unclaimed.
    pub fn lower_floor(&mut self, (due, call): QueuePosition) {
        for floor in self.scan_starts.values_mut() {
            *floor = (due, call - 1).min(*floor);
        }
    }
}

/// The claims as the writer and the readers of one store see them.
#[derive(Clone, Debug)]
pub(super) struct SharedLeaseTable(Arc<Mutex<LeaseTable>>);

impl SharedLeaseTable {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(LeaseTable::new())))
    }

    pub fn lock(&self) -> MutexGuard<'_, LeaseTable> {
        // No method of `ClaimedCalls` panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_was_renewed_ends_with_its_second_lease() {
        let mut claims = LeaseTable::new();
        let first = claims.claim(7, Millis(10));
        let second = claims.claim(7, Millis(20));
        assert_ne!(first.number, second.number);
        assert!(claims.expired(Millis(19), 9).is_empty());
        assert_eq!(claims.expired(Millis(20), 9), [7]);
        assert_eq!(claims.len(), 1);
    }

    #[test]
    fn a_call_that_becomes_due_below_the_floor_lowers_it() {
        let mut claims = LeaseTable::new();
        claims.raise_floor(&AccountFilter::All, (Millis(10), 5));
        claims.lower_floor((Millis(10), 3));
        assert_eq!(claims.scan_start(&AccountFilter::All), (Millis(10), 2));
        claims.lower_floor((Millis(11), 1));
        assert_eq!(claims.scan_start(&AccountFilter::All), (Millis(10), 2));
    }
}
