//! How many calls there are in each state: kept in the transactions that change it, so that nobody
//! has to count rows.

use rusqlite::{Connection, params};

use crate::clock::Millis;
use crate::store::{Counts, State};

/// The row of `counters`. Claims are not in the database: a claimed call counts as pending here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Calls ever seen; also the row of the newest call.
    pub seen: i64,
    pub purged: i64,
    pub pending: i64,
    pub delivered: i64,
    pub skipped: i64,
    pub parked: i64,
    pub pings: i64,
}

impl Counters {
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        connection.query_row(
            "SELECT seen, purged, pending, delivered, skipped, parked, pings FROM counters",
            [],
            |row| {
                Ok(Self {
                    seen: row.get(0)?,
                    purged: row.get(1)?,
                    pending: row.get(2)?,
                    delivered: row.get(3)?,
                    skipped: row.get(4)?,
                    parked: row.get(5)?,
                    pings: row.get(6)?,
                })
            },
        )
    }

    pub fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE counters SET seen = ?1, purged = ?2, pending = ?3, delivered = ?4, \
                 skipped = ?5, parked = ?6, pings = ?7",
            )?
            .execute(params![
                self.seen,
                self.purged,
                self.pending,
                self.delivered,
                self.skipped,
                self.parked,
                self.pings
            ])?;
        Ok(())
    }

    pub fn add(&mut self, state: State, calls: i64) {
        *match state {
            State::Pending | State::Claimed => &mut self.pending,
            State::Delivered => &mut self.delivered,
            State::Skipped => &mut self.skipped,
            State::Parked => &mut self.parked,
        } += calls;
    }

    pub fn counts(&self, claimed: usize, oldest_due: Option<Millis>) -> Counts {
        let claimed = u64::try_from(claimed).unwrap_or(u64::MAX);
        Counts {
            seen: unsigned(self.seen),
            purged: unsigned(self.purged),
            pending: unsigned(self.pending).saturating_sub(claimed),
            claimed,
            delivered: unsigned(self.delivered),
            skipped: unsigned(self.skipped),
            parked: unsigned(self.parked),
            oldest_due,
        }
    }
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
