//! Compares the counters with the rows, and the rows with one another.

use super::counters::Counters;
use super::ledger::BROKEN;
use super::sql::Sql;
use super::{StoreError, audit};

/// What must hold for every row: each query counts the rows that break it.
struct Rule {
    /// Follows the number of rows.
    problem: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const RULES: [Rule; 8] = [
    Rule {
        problem: "callbacks belong to no call",
        sqlite: "SELECT count(*) FROM callback WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = callback.id >> 20)",
        postgres: "SELECT count(*) FROM callback WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = callback.call)",
    },
    Rule {
        problem: "attempts belong to no call",
        sqlite: "SELECT count(*) FROM attempt WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = attempt.id >> 20)",
        postgres: "SELECT count(*) FROM attempt WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = attempt.call)",
    },
    Rule {
        problem: "calls record a wrong number of callbacks",
        sqlite: "SELECT count(*) FROM call WHERE callbacks <> (SELECT count(*) FROM callback \
         WHERE callback.id BETWEEN call.id << 20 AND ((call.id + 1) << 20) - 1)",
        // LEFT JOIN: a merged call has no callbacks.
        postgres: "SELECT count(*) FROM call LEFT JOIN \
         (SELECT call, count(*) AS count FROM callback GROUP BY call) AS kept \
         ON kept.call = call.id WHERE callbacks <> coalesce(kept.count, 0)",
    },
    Rule {
        problem: "delivered calls have no accepted attempt",
        sqlite: "SELECT count(*) FROM call WHERE state = 'delivered' AND NOT EXISTS \
         (SELECT 1 FROM attempt \
         WHERE attempt.id BETWEEN call.id << 20 AND ((call.id + 1) << 20) - 1 \
         AND verdict IN ('accepted', 'accepted-as-repeat'))",
        postgres: "SELECT count(*) FROM call WHERE state = 'delivered' AND NOT EXISTS \
         (SELECT 1 FROM attempt WHERE attempt.call = call.id \
         AND verdict IN ('accepted', 'accepted-as-repeat'))",
    },
    Rule {
        problem: "calls cannot be found by their SIDs",
        sqlite: "SELECT count(*) FROM (SELECT id FROM call \
         EXCEPT SELECT call FROM sid_index EXCEPT SELECT call FROM sid_log)",
        // The SID of the call and the SID of each leg must lead to the call.
        postgres: "SELECT count(DISTINCT call.id) FROM callback JOIN call ON call.id = callback.call \
         LEFT JOIN sid_index AS first ON first.sid = call.sid \
             AND first.account = call.account AND first.call = call.id \
         LEFT JOIN sid_index ON sid_index.sid = callback.leg \
             AND sid_index.account = call.account \
         WHERE first.call IS NULL OR sid_index.call IS NULL",
    },
    Rule {
        problem: "SIDs in the index belong to no call",
        sqlite: "SELECT count(*) FROM (SELECT call FROM sid_index UNION SELECT call FROM sid_log \
         EXCEPT SELECT id FROM call)",
        postgres: "SELECT count(*) FROM sid_index WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = sid_index.call AND call.callbacks > 0)",
    },
    Rule {
        problem: "rows of the ledger do not count the calls",
        sqlite: BROKEN,
        postgres: BROKEN,
    },
    Rule {
        problem: "addresses in the search index belong to no call",
        sqlite: "SELECT count(*) FROM (SELECT call FROM address UNION SELECT call FROM address_log \
         EXCEPT SELECT id FROM call WHERE callbacks > 0)",
        postgres: "SELECT count(*) FROM address WHERE NOT EXISTS \
         (SELECT 1 FROM call WHERE call.id = address.call AND call.callbacks > 0)",
    },
];

/// The numbers of calls by state, in the order of the fields of [`Counters`].
const COUNT_CALLS: &str = "SELECT count(*), CAST(0 AS bigint), \
    count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'delivered'), \
    count(*) FILTER (WHERE state = 'skipped'), count(*) FILTER (WHERE state = 'parked') FROM call";

/// See [`ReadStore::verify_consistency`](super::ReadStore::verify_consistency). All numbers are of one moment
/// if the connection has a snapshot.
pub(super) async fn verify(sql: Sql<'_>, counters: Counters) -> Result<Vec<String>, StoreError> {
    let rows = sql.first(COUNT_CALLS, &[], Counters::read).await?;
    let mut broken = Vec::new();
    for rule in RULES {
        let rows = sql.count(sql.words(rule.sqlite, rule.postgres), &[]);
        broken.push((rule.problem, rows.await?));
    }
    let mut problems = problems(&counters, &rows.unwrap_or_default(), broken);
    problems.extend(audit::problem(sql).await?);
    Ok(problems)
}

/// A sentence for each problem: where the counters differ from the number of rows that
/// [`COUNT_CALLS`] found, and for each rule with rows that break it. `rows.seen` is the number of
/// all rows.
fn problems(counters: &Counters, rows: &Counters, broken: Vec<(&str, u64)>) -> Vec<String> {
    let mut problems = Vec::new();
    if counters.seen != rows.seen + counters.purged {
        problems.push(format!(
            "{} calls were seen, but {} are there and {} were purged",
            counters.seen, rows.seen, counters.purged
        ));
    }
    for (state, rows, counted) in [
        ("pending", rows.pending, counters.pending),
        ("delivered", rows.delivered, counters.delivered),
        ("skipped", rows.skipped, counters.skipped),
        ("parked", rows.parked, counters.parked),
    ] {
        if rows != counted {
            problems.push(format!(
                "{rows} calls are {state}, but the counter is {counted}"
            ));
        }
    }
    let broken = broken.into_iter().filter(|(_, rows)| *rows > 0);
    problems.extend(broken.map(|(problem, rows)| format!("{rows} {problem}")));
    problems
}
