//! Compares the counters and the index with the rows, and describes each difference.

use super::counters;
use super::session::{PgError, Session};
use crate::store::State;

const CALLS: &str = "SELECT count(*) FROM call";
const IN_STATE: &str = "SELECT count(*) FROM call WHERE state = $1";

/// Each finds rows that must not be there.
const RULES: [(&str, &str); 6] = [
    (
        "callbacks belong to no call",
        "SELECT count(*) FROM callback WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = callback.call)",
    ),
    (
        "attempts belong to no call",
        "SELECT count(*) FROM attempt WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = attempt.call)",
    ),
    (
        "calls have another number of callbacks than they say",
        "SELECT count(*) FROM call LEFT JOIN \
         (SELECT call, count(*) AS count FROM callback GROUP BY call) AS kept \
         ON kept.call = call.id WHERE callbacks <> coalesce(kept.count, 0)",
    ),
    (
        "delivered calls have no accepted attempt",
        "SELECT count(*) FROM call WHERE state = 'delivered' AND NOT EXISTS \
         (SELECT 1 FROM attempt WHERE attempt.call = call.id \
         AND verdict IN ('accepted', 'accepted-as-repeat'))",
    ),
    (
        "callbacks cannot be found by their leg or their call",
        "SELECT count(*) FROM callback JOIN call ON call.id = callback.call \
         LEFT JOIN sid_index AS first ON first.sid = call.sid AND first.account = call.account \
             AND first.call = call.id \
         LEFT JOIN sid_index ON sid_index.sid = callback.leg AND sid_index.account = call.account \
         WHERE first.call IS NULL OR sid_index.call IS NULL",
    ),
    (
        "names are of no call",
        "SELECT count(*) FROM sid_index WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = sid_index.call AND call.callbacks > 0)",
    ),
];

/// Advisory lock held while counting; `TwAC` in ASCII.
const LOCK: i64 = 0x5477_4143;

/// Waits until no other node checks: each check reads every row. The connection holds the lock until
/// it is closed.
pub(super) async fn lock(session: &Session) -> Result<(), PgError> {
    let limit = "SELECT set_config('statement_timeout', '10min', false)";
    session.query(limit, &[]).await?;
    session
        .query("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await?;
    Ok(())
}

/// A sentence for each disagreement. Reads every row.
pub(super) async fn conservation(session: &Session) -> Result<Vec<String>, PgError> {
    let (sum, ..) = counters::sum(session).await?;
    let mut found = Vec::new();
    let rows = count(session, CALLS, &[]).await?;
    if sum.seen != rows + sum.purged {
        found.push(format!(
            "{} calls were seen, but {rows} are there and {} were purged",
            sum.seen, sum.purged
        ));
    }
    for (state, told) in [
        (State::Pending, sum.pending),
        (State::Delivered, sum.delivered),
        (State::Skipped, sum.skipped),
        (State::Parked, sum.parked),
    ] {
        let rows = count(session, IN_STATE, &[&state.as_str()]).await?;
        if rows != told {
            found.push(format!("{rows} calls are {state}, but the sum says {told}"));
        }
    }
    for (what, sql) in RULES {
        let rows = count(session, sql, &[]).await?;
        if rows > 0 {
            found.push(format!("{rows} {what}"));
        }
    }
    Ok(found)
}

async fn count(
    session: &Session,
    sql: &'static str,
    values: super::session::Values<'_>,
) -> Result<i64, PgError> {
    match session.query(sql, values).await?.first() {
        Some(row) => Ok(row.try_get(0)?),
        None => Ok(0),
    }
}
