//! How many calls there are in each state. Each transaction adds a row with its changes; the sum of
//! all rows is the present number.

use futures_util::future::try_join;
use tokio_postgres::Row;

use super::session::{PgError, Session};
use crate::clock::Millis;
use crate::store::Counts;
use crate::store::counters::Counters;

/// Reads the first columns of [`COUNTS`].
fn read(row: &Row) -> Result<Counters, PgError> {
    Ok(Counters {
        seen: row.try_get(0)?,
        purged: row.try_get(1)?,
        pending: row.try_get(2)?,
        delivered: row.try_get(3)?,
        skipped: row.try_get(4)?,
        parked: row.try_get(5)?,
    })
}

const ADD: &str = "INSERT INTO counters (seen, purged, pending, delivered, skipped, parked) \
    VALUES ($1, $2, $3, $4, $5, $6)";

const COMPACT: &str = include_str!("sql/compact_counters.sql");

const COUNTS: &str = concat!(
    include_str!("sql/accounts_with_due.sql"),
    include_str!("sql/counts.sql")
);

/// Runs `work` in a transaction that also adds its changes to the counters.
pub(super) async fn transaction<T>(
    session: &Session,
    work: impl AsyncFnOnce(&Session, &mut Counters) -> Result<T, PgError>,
) -> Result<T, PgError> {
    let mut changes = Counters::default();
    let work = async {
        let done = work(session, &mut changes).await?;
        // Prepared here: below, COMMIT would overtake the insert while that waits to be prepared.
        session.prepare(ADD).await?;
        Ok(done)
    };
    // BEGIN is sent together with the first statement, and the insert together with COMMIT: each
    // pair costs one round trip.
    let done = match try_join(session.begin(), work).await {
        Ok(((), done)) => done,
        Err(error) => {
            if !matches!(error, PgError::Unavailable(_)) {
                session.roll_back().await?;
            }
            return Err(error);
        }
    };
    if changes == Counters::default() {
        session.commit().await?;
    } else {
        try_join(add(session, &changes), session.commit()).await?;
    }
    Ok(done)
}

/// Adds a row, also one without changes: it shows whether the database can write.
pub(super) async fn add(session: &Session, changes: &Counters) -> Result<(), PgError> {
    let values = [
        changes.seen,
        changes.purged,
        changes.pending,
        changes.delivered,
        changes.skipped,
        changes.parked,
    ];
    let [seen, purged, pending, delivered, skipped, parked] = &values;
    session
        .execute(ADD, &[seen, purged, pending, delivered, skipped, parked])
        .await?;
    Ok(())
}

/// Replaces many rows by their sum.
pub(super) async fn compact(session: &Session) -> Result<(), PgError> {
    session.execute(COMPACT, &[]).await?;
    Ok(())
}

/// The sums, how many calls are claimed, and the due time of the call that has been due longest.
pub(super) async fn sum(session: &Session) -> Result<(Counters, i64, Option<i64>), PgError> {
    let no_account: &[&str] = &[];
    let all_but = true;
    let rows = session.query(COUNTS, &[&no_account, &all_but]).await?;
    let [row] = &rows[..] else {
        return Err(PgError::Refused("the counts are not one row".to_owned()));
    };
    Ok((read(row)?, row.try_get(6)?, row.try_get(7)?))
}

pub(super) async fn counts(session: &Session) -> Result<Counts, PgError> {
    let (sum, claimed, oldest_due) = sum(session).await?;
    Ok(sum.counts(claimed, oldest_due.map(Millis)))
}
