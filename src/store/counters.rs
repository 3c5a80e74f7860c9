//! The numbers of calls by state, as either database keeps them in its table `counters`, so that no
//! metric has to count rows.

use super::sql::{Row, Value};
use super::{Counts, State, StoreError};
use crate::clock::Millis;

/// Numbers of calls, or the changes of one transaction. A claimed call counts as pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls ever seen.
    pub seen: i64,
    /// Calls removed after their retention.
    pub purged: i64,
    pub pending: i64,
    pub delivered: i64,
    pub skipped: i64,
    pub parked: i64,
}

impl Counters {
    /// Reads the columns in the order of the fields.
    pub(super) fn read(row: Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            seen: row.get(0)?,
            purged: row.get(1)?,
            pending: row.get(2)?,
            delivered: row.get(3)?,
            skipped: row.get(4)?,
            parked: row.get(5)?,
        })
    }

    /// The columns in the order of the fields.
    pub(super) fn values(&self) -> [&dyn Value; 6] {
        [
            &self.seen,
            &self.purged,
            &self.pending,
            &self.delivered,
            &self.skipped,
            &self.parked,
        ]
    }

    pub fn move_call(&mut self, from: State, to: State) {
        *self.of(from) -= 1;
        *self.of(to) += 1;
    }

    pub fn add_new(&mut self, calls: i64) {
        self.seen += calls;
        self.pending += calls;
    }

    pub fn purge_call(&mut self, state: State) {
        *self.of(state) -= 1;
        self.purged += 1;
    }

    fn of(&mut self, state: State) -> &mut i64 {
        match state {
            State::Pending | State::Claimed => &mut self.pending,
            State::Delivered => &mut self.delivered,
            State::Skipped => &mut self.skipped,
            State::Parked => &mut self.parked,
        }
    }

    /// As shown to operators, with `claimed` of the pending calls claimed.
    pub fn counts(&self, claimed: i64, oldest_due: Option<Millis>) -> Counts {
        Counts {
            seen: unsigned(self.seen),
            purged: unsigned(self.purged),
            pending: unsigned(self.pending - claimed),
            claimed: unsigned(claimed),
            delivered: unsigned(self.delivered),
            skipped: unsigned(self.skipped),
            parked: unsigned(self.parked),
            oldest_due,
        }
    }
}

/// A negative number is a fault that the consistency check reports.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
