//! How many calls there are in each state. Each transaction adds a row with its changes; the sum of
//! all rows is the present number.

use crate::clock::Millis;
use crate::store::Counts;
use crate::store::StoreError;
use crate::store::counters::Counters;
use crate::store::sql::{Row, Session, Sql};
use futures_util::future::try_join;

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
    work: impl AsyncFnOnce(&Session, &mut Counters) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
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
            if !matches!(error, StoreError::Unavailable(_)) {
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
pub(super) async fn add(session: &Session, changes: &Counters) -> Result<(), StoreError> {
    let sql = Sql::Postgres(session);
    sql.execute(ADD, &changes.values()).await.map(drop)
}

/// As [`add`] of no changes, and takes it back.
pub async fn try_add(session: &Session) -> Result<(), StoreError> {
    session.begin().await?;
    add(session, &Counters::default()).await?;
    session.roll_back().await
}

/// Replaces many rows by their sum.
pub(super) async fn compact(session: &Session) -> Result<(), StoreError> {
    session.execute(COMPACT, &[]).await?;
    Ok(())
}

/// The sums, how many calls are claimed, and the due time of the call that has been due longest.
pub async fn sum(session: &Session) -> Result<(Counters, i64, Option<i64>), StoreError> {
    let no_account: &[&str] = &[];
    let all_but = true;
    let rows = session.query(COUNTS, &[&no_account, &all_but]).await?;
    let [row] = &rows[..] else {
        return Err(StoreError::Database(
            "the counts are not one row".to_owned(),
        ));
    };
    Ok((
        Counters::read(Row::Postgres(row))?,
        row.try_get(6)?,
        row.try_get(7)?,
    ))
}

pub async fn counts(session: &Session) -> Result<Counts, StoreError> {
    let (sum, claimed, oldest_due) = sum(session).await?;
    Ok(sum.counts(claimed, oldest_due.map(Millis)))
}
