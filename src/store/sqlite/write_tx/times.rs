//! Times that a wrong clock wrote, and the clock of the purge.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::WriteTx;
use crate::clock::Millis;
use crate::domain::purge_clock::PurgeClock;
use crate::store::StoreError;
use crate::store::ledger::Counted;
use crate::store::sqlite::rows::{self, CallRow};

const TOO_LATE: &str =
    "SELECT id FROM call WHERE state = 'pending' AND effective_at > ?1 ORDER BY effective_at DESC";

/// ?1 and ?2 are the rows of a call, ?3 is the current time, ?4 the latest time of a retry.
const CORRECT_CALLBACKS: &str =
    "UPDATE callback SET received = ?3 WHERE id BETWEEN ?1 AND ?2 AND received > ?3";
const CORRECT_ATTEMPTS: &str = "UPDATE attempt SET at = min(at, ?3), \
    again_at = CASE WHEN again_at > ?4 THEN ?3 ELSE again_at END \
    WHERE id BETWEEN ?1 AND ?2 AND (at > ?3 OR again_at > ?4)";

const CORRECT_CALL: &str = "UPDATE call SET effective_at = ?2, changed = ?2, \
    received = min(received, ?2), retry_now_at = min(retry_now_at, ?2), \
    failing_since = min(failing_since, ?2) WHERE id = ?1";

impl WriteTx {
    pub fn correct_times(
        &mut self,
        now: Millis,
        latest: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut found = Vec::new();
        {
            let claims = self.leases.lock();
            let mut statement = self.connection.prepare_cached(TOO_LATE)?;
            let mut rows = statement.query([latest.0])?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                // The result of a claimed call is still to come.
                let id = row.get(0)?;
                if !claims.holds(id) {
                    found.push(id);
                }
            }
        }
        for &id in &found {
            if let Some(call) = CallRow::load(&self.connection, id)? {
                let before = call.counted();
                let received = before.received.min(now);
                self.ledger.change(before, Counted { received, ..before });
            }
            let [first, last] = rows::rows_of(id);
            self.connection
                .prepare_cached(CORRECT_CALLBACKS)?
                .execute([first, last, now.0])?;
            self.connection
                .prepare_cached(CORRECT_ATTEMPTS)?
                .execute([first, last, now.0, latest.0])?;
            self.connection
                .prepare_cached(CORRECT_CALL)?
                .execute([id, now.0])?;
            self.leases.lock().lower_scan_start((now, id));
        }
        Ok(found.len())
    }

    pub fn set_purge_clock(&self, clock: &PurgeClock) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO purge_clock VALUES (1, ?1, ?2, ?3, ?4)";
        let uptime_ms = i64::try_from(clock.uptime.as_millis()).unwrap_or(i64::MAX);
        self.connection.prepare_cached(sql)?.execute(params![
            clock.known.0,
            clock.used.0,
            clock.boot,
            uptime_ms
        ])?;
        Ok(())
    }
}

pub(in crate::store::sqlite) fn purge_clock(
    connection: &Connection,
) -> Result<Option<PurgeClock>, StoreError> {
    let sql = "SELECT known, used, boot, uptime_ms FROM purge_clock";
    let read = connection.query_row(sql, [], |row| {
        Ok(PurgeClock {
            known: Millis(row.get(0)?),
            used: Millis(row.get(1)?),
            boot: row.get(2)?,
            uptime: std::time::Duration::from_millis(row.get::<_, i64>(3)?.unsigned_abs()),
        })
    });
    Ok(read.optional()?)
}
