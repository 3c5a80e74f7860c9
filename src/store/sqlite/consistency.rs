//! Compares the counters with the rows, and the rows with one another.

use rusqlite::Connection;

use super::{audit, counters};
use crate::store::StoreError;
use crate::store::consistency::{COUNT_CALLS, Rule, problems};
use crate::store::counters::Counters;
use crate::store::ledger::BROKEN;

/// Counts the rows that break the rule.
fn sql(rule: Rule) -> &'static str {
    match rule {
        Rule::CallbackHasCall => {
            "SELECT count(*) FROM callback WHERE NOT EXISTS \
             (SELECT 1 FROM call WHERE call.id = callback.id >> 20)"
        }
        Rule::AttemptHasCall => {
            "SELECT count(*) FROM attempt WHERE NOT EXISTS \
             (SELECT 1 FROM call WHERE call.id = attempt.id >> 20)"
        }
        Rule::CallCountsItsCallbacks => {
            "SELECT count(*) FROM call WHERE callbacks <> (SELECT count(*) FROM callback \
             WHERE callback.id BETWEEN call.id << 20 AND ((call.id + 1) << 20) - 1)"
        }
        Rule::DeliveredCallWasAccepted => {
            "SELECT count(*) FROM call WHERE state = 'delivered' AND NOT EXISTS \
             (SELECT 1 FROM attempt \
             WHERE attempt.id BETWEEN call.id << 20 AND ((call.id + 1) << 20) - 1 \
             AND verdict IN ('accepted', 'accepted-as-repeat'))"
        }
        Rule::CallIsFoundBySid => {
            "SELECT count(*) FROM (SELECT id FROM call \
             EXCEPT SELECT call FROM sid_index EXCEPT SELECT call FROM sid_log)"
        }
        Rule::LedgerCountsCalls => BROKEN,
        Rule::SidHasCall => {
            "SELECT count(*) FROM (SELECT call FROM sid_index UNION SELECT call FROM sid_log \
             EXCEPT SELECT id FROM call)"
        }
        Rule::AddressHasCall => {
            "SELECT count(*) FROM (SELECT call FROM address UNION SELECT call FROM address_log \
             EXCEPT SELECT id FROM call WHERE callbacks > 0)"
        }
    }
}

/// The most damages that SQLite reports.
const MAX_DAMAGES: i64 = 20;

/// A sentence for each damage that SQLite finds in its file. Reads every page.
pub(super) fn verify_integrity(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = format!("PRAGMA integrity_check({MAX_DAMAGES})");
    let mut statement = connection.prepare(&sql)?;
    let lines = statement.query_map([], |row| row.get(0))?;
    let mut lines: Vec<String> = lines.collect::<rusqlite::Result<_>>()?;
    lines.retain(|line| line != "ok");
    Ok(lines)
}

/// See [`crate::store::ReadStore::verify_consistency`].
pub(super) fn verify(connection: &Connection) -> Result<Vec<String>, StoreError> {
    // One transaction, so that all numbers are of one moment.
    let _snapshot = connection.unchecked_transaction()?;
    let counters = counters::load(connection)?;
    let rows = connection.query_row(COUNT_CALLS, [], |row| {
        Ok(Counters {
            seen: row.get(0)?,
            purged: 0,
            pending: row.get(1)?,
            delivered: row.get(2)?,
            skipped: row.get(3)?,
            parked: row.get(4)?,
        })
    })?;
    let mut broken = Vec::new();
    for rule in Rule::ALL {
        broken.push((rule, connection.query_row(sql(rule), [], |row| row.get(0))?));
    }
    let mut problems = problems(&counters, &rows, broken);
    problems.extend(audit::problem(connection)?);
    Ok(problems)
}
