//! Compares the counters with the rows, and the rows with one another.

use super::session::{PgError, Session};
use super::{audit, counters};
use crate::store::consistency::{COUNT_CALLS, Rule, problems};
use crate::store::counters::Counters;
use crate::store::ledger::BROKEN;

/// Counts the rows that break the rule.
fn sql(rule: Rule) -> &'static str {
    match rule {
        Rule::CallbackHasCall => {
            "SELECT count(*) FROM callback WHERE NOT EXISTS \
             (SELECT 1 FROM call WHERE call.id = callback.call)"
        }
        Rule::AttemptHasCall => {
            "SELECT count(*) FROM attempt WHERE NOT EXISTS \
             (SELECT 1 FROM call WHERE call.id = attempt.call)"
        }
        Rule::CallCountsItsCallbacks => {
            // LEFT JOIN: a merged call has no callbacks.
            "SELECT count(*) FROM call LEFT JOIN \
             (SELECT call, count(*) AS count FROM callback GROUP BY call) AS kept \
             ON kept.call = call.id WHERE callbacks <> coalesce(kept.count, 0)"
        }
        Rule::DeliveredCallWasAccepted => {
            "SELECT count(*) FROM call WHERE state = 'delivered' AND NOT EXISTS \
             (SELECT 1 FROM attempt WHERE attempt.call = call.id \
             AND verdict IN ('accepted', 'accepted-as-repeat'))"
        }
        Rule::CallIsFoundBySid => {
            // The SID of the call and the SID of each leg must lead to the call.
            "SELECT count(DISTINCT call.id) FROM callback JOIN call ON call.id = callback.call \
             LEFT JOIN sid_index AS first ON first.sid = call.sid \
                 AND first.account = call.account AND first.call = call.id \
             LEFT JOIN sid_index ON sid_index.sid = callback.leg \
                 AND sid_index.account = call.account \
             WHERE first.call IS NULL OR sid_index.call IS NULL"
        }
        Rule::LedgerCountsCalls => BROKEN,
        Rule::SidHasCall => {
            "SELECT count(*) FROM sid_index WHERE NOT EXISTS \
             (SELECT 1 FROM call WHERE call.id = sid_index.call AND call.callbacks > 0)"
        }
        Rule::AddressHasCall => {
            "SELECT count(*) FROM address WHERE NOT EXISTS \
             (SELECT 1 FROM call WHERE call.id = address.call AND call.callbacks > 0)"
        }
    }
}

/// Advisory lock held while counting; `TwAC` in ASCII.
const LOCK: i64 = 0x5477_4143;

/// Waits until no other node checks: each check reads every row. The connection holds the lock until
/// it is closed.
pub(super) async fn lock(session: &Session) -> Result<(), PgError> {
    // Reading every row takes longer than the timeout of other statements.
    let limit = "SELECT set_config('statement_timeout', '10min', false)";
    session.query(limit, &[]).await?;
    session
        .query("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await?;
    Ok(())
}

/// See [`crate::store::ReadStore::verify_consistency`].
pub(super) async fn verify(session: &Session) -> Result<Vec<String>, PgError> {
    let (counters, ..) = counters::sum(session).await?;
    let rows = match session.query(COUNT_CALLS, &[]).await?.first() {
        Some(row) => Counters {
            seen: row.try_get(0)?,
            purged: 0,
            pending: row.try_get(1)?,
            delivered: row.try_get(2)?,
            skipped: row.try_get(3)?,
            parked: row.try_get(4)?,
        },
        None => Counters::default(),
    };
    let mut broken = Vec::new();
    for rule in Rule::ALL {
        if let Some(row) = session.query(sql(rule), &[]).await?.first() {
            broken.push((rule, row.try_get(0)?));
        }
    }
    let mut problems = problems(&counters, &rows, broken);
    problems.extend(audit::problem(session).await?);
    Ok(problems)
}
