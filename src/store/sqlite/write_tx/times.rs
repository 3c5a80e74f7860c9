//! Times that a wrong clock wrote.

use super::WriteTx;
use crate::clock::Millis;
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
}
