//! How many calls there are in each state: what each transaction changed, added up.

use tokio_postgres::Row;

use super::session::{PgError, Session};
use crate::clock::Millis;
use crate::store::{Counts, State};

/// What a transaction changes, or the sum of all. A claimed call counts as pending here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub seen: i64,
    pub purged: i64,
    pub pending: i64,
    pub delivered: i64,
    pub skipped: i64,
    pub parked: i64,
}

impl Counters {
    pub fn moves(&mut self, from: State, to: State) {
        self.add(from, -1);
        self.add(to, 1);
    }

    pub fn add(&mut self, state: State, calls: i64) {
        *match state {
            State::Pending | State::Claimed => &mut self.pending,
            State::Delivered => &mut self.delivered,
            State::Skipped => &mut self.skipped,
            State::Parked => &mut self.parked,
        } += calls;
    }

    /// Reads the columns of [`SUM`].
    pub fn read(row: &Row) -> Result<Self, PgError> {
        Ok(Self {
            seen: row.try_get(0)?,
            purged: row.try_get(1)?,
            pending: row.try_get(2)?,
            delivered: row.try_get(3)?,
            skipped: row.try_get(4)?,
            parked: row.try_get(5)?,
        })
    }
}

pub(super) const SUM: &str = "SELECT coalesce(sum(seen), 0)::bigint, \
    coalesce(sum(purged), 0)::bigint, coalesce(sum(pending), 0)::bigint, \
    coalesce(sum(delivered), 0)::bigint, coalesce(sum(skipped), 0)::bigint, \
    coalesce(sum(parked), 0)::bigint FROM counters";

pub(super) const ADD: &str = "INSERT INTO counters (seen, purged, pending, delivered, skipped, parked) \
    VALUES ($1, $2, $3, $4, $5, $6)";

/// Folds up to so many rows into one. Those that another node folds meanwhile are left to it.
const COMPACT: &str = "WITH folded AS (DELETE FROM counters WHERE id IN \
    (SELECT id FROM counters ORDER BY id LIMIT 2000 FOR UPDATE SKIP LOCKED) RETURNING *) \
    INSERT INTO counters (seen, purged, pending, delivered, skipped, parked) \
    SELECT sum(seen), sum(purged), sum(pending), sum(delivered), sum(skipped), sum(parked) \
    FROM folded HAVING count(*) > 0";

/// The columns of [`SUM`], how many are claimed, and the oldest due time.
const COUNTS: &str = "SELECT sums.*, claimed.count, least(claimed.due, \
    (SELECT min(due) FROM ( \
        WITH RECURSIVE whose (account) AS ( \
            (SELECT account FROM call WHERE state = 'pending' AND claim IS NULL \
                ORDER BY account LIMIT 1) \
            UNION ALL \
            SELECT (SELECT account FROM call WHERE state = 'pending' AND claim IS NULL \
                AND account > whose.account ORDER BY account LIMIT 1) \
            FROM whose WHERE account IS NOT NULL) \
        SELECT (SELECT effective_at FROM call WHERE call.account = whose.account AND state = 'pending' \
            AND claim IS NULL ORDER BY effective_at LIMIT 1) AS due FROM whose) AS oldest)) \
    FROM (SELECT coalesce(sum(seen), 0)::bigint, coalesce(sum(purged), 0)::bigint, \
        coalesce(sum(pending), 0)::bigint, coalesce(sum(delivered), 0)::bigint, \
        coalesce(sum(skipped), 0)::bigint, coalesce(sum(parked), 0)::bigint FROM counters) AS sums, \
    (SELECT count(*) AS count, min(effective_at) AS due FROM call WHERE claim IS NOT NULL) AS claimed";

pub(super) async fn add(session: &Session, tally: &Counters) -> Result<(), PgError> {
    let values = [
        tally.seen,
        tally.purged,
        tally.pending,
        tally.delivered,
        tally.skipped,
        tally.parked,
    ];
    let [seen, purged, pending, delivered, skipped, parked] = &values;
    session
        .execute(ADD, &[seen, purged, pending, delivered, skipped, parked])
        .await?;
    Ok(())
}

pub(super) async fn compact(session: &Session) -> Result<(), PgError> {
    session.execute(COMPACT, &[]).await?;
    Ok(())
}

pub(super) async fn counts(session: &Session) -> Result<Counts, PgError> {
    let rows = session.query(COUNTS, &[]).await?;
    let [row] = &rows[..] else {
        return Err(PgError::Refused("the counts are not one row".to_owned()));
    };
    let tally = Counters::read(row)?;
    let claimed: i64 = row.try_get(6)?;
    let oldest_due: Option<i64> = row.try_get(7)?;
    Ok(Counts {
        seen: unsigned(tally.seen),
        purged: unsigned(tally.purged),
        pending: unsigned(tally.pending - claimed),
        claimed: unsigned(claimed),
        delivered: unsigned(tally.delivered),
        skipped: unsigned(tally.skipped),
        parked: unsigned(tally.parked),
        oldest_due: oldest_due.map(Millis),
    })
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
