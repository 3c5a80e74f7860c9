//! Counts everything again from the rows and says in words what does not agree.

use super::counters::Counters;
use super::reader::SqliteReader;
use crate::store::{State, StoreError};

/// Each finds rows that must not be there.
const RULES: [(&str, &str); 6] = [
    (
        "callbacks belong to no call",
        "SELECT count(*) FROM callback WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = callback.id >> 20)",
    ),
    (
        "attempts belong to no call",
        "SELECT count(*) FROM attempt WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = attempt.id >> 20)",
    ),
    (
        "calls have another number of callbacks than they say",
        "SELECT count(*) FROM call WHERE callbacks <> (SELECT count(*) FROM callback \
         WHERE callback.id BETWEEN call.id << 20 AND ((call.id + 1) << 20) - 1)",
    ),
    (
        "delivered calls have no accepted attempt",
        "SELECT count(*) FROM call WHERE state = 'delivered' AND NOT EXISTS \
         (SELECT 1 FROM attempt \
         WHERE attempt.id BETWEEN call.id << 20 AND ((call.id + 1) << 20) - 1 \
         AND verdict IN ('accepted', 'accepted-as-repeat'))",
    ),
    (
        "calls cannot be found by any name",
        "SELECT count(*) FROM (SELECT id FROM call \
         EXCEPT SELECT call FROM sid_index EXCEPT SELECT call FROM sid_log)",
    ),
    (
        "names are of no call",
        "SELECT count(*) FROM (SELECT call FROM sid_index UNION SELECT call FROM sid_log \
         EXCEPT SELECT id FROM call)",
    ),
];

/// The most sentences that the database's own check writes.
const MAX_DAMAGES: i64 = 20;

impl SqliteReader {
    /// What the database itself finds damaged in its file: a sentence each. Reads every page.
    pub fn verify_integrity(&self) -> Result<Vec<String>, StoreError> {
        let sql = format!("PRAGMA integrity_check({MAX_DAMAGES})");
        let mut statement = self.connection().prepare(&sql)?;
        let told = statement.query_map([], |row| row.get(0))?;
        let mut told: Vec<String> = told.collect::<rusqlite::Result<_>>()?;
        told.retain(|line| line != "ok");
        Ok(told)
    }

    /// Checks the conservation of calls: calls seen = calls in each state + calls purged; each
    /// callback belongs to a call; each delivered call has an accepted attempt. Returns a sentence
    /// for each disagreement. Reads every row.
    pub fn verify_conservation(&self) -> Result<Vec<String>, StoreError> {
        let _snapshot = self.connection().unchecked_transaction()?;
        let count = |sql: &str| {
            self.connection()
                .query_row(sql, [], |row| row.get::<_, i64>(0))
        };
        let tally = Counters::load(self.connection())?;
        let mut found = Vec::new();

        let rows = count("SELECT count(*) FROM call")?;
        if tally.seen != rows + tally.purged {
            found.push(format!(
                "{} calls were seen, but {rows} are there and {} were purged",
                tally.seen, tally.purged
            ));
        }
        for (state, told) in [
            (State::Pending, tally.pending),
            (State::Delivered, tally.delivered),
            (State::Skipped, tally.skipped),
            (State::Parked, tally.parked),
        ] {
            let rows = count(&format!(
                "SELECT count(*) FROM call WHERE state = '{state}'"
            ))?;
            if rows != told {
                found.push(format!(
                    "{rows} calls are {state}, but the tally says {told}"
                ));
            }
        }
        for (what, sql) in RULES {
            let rows = count(sql)?;
            if rows > 0 {
                found.push(format!("{rows} {what}"));
            }
        }
        Ok(found)
    }
}
