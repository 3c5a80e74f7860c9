//! The clock of the purge, and times that a wrong clock wrote.

use std::time::Duration;

use super::sql::{Sql, Values};
use super::{Store, StoreError, Tx, Urgency, postgres, read, write};
use crate::clock::Millis;
use crate::domain::purge_clock::PurgeClock;

const SET_PURGE_CLOCK: &str = "INSERT INTO purge_clock VALUES (1, $1, $2, $3, $4) \
    ON CONFLICT (id) DO UPDATE SET known = excluded.known, used = excluded.used, \
    boot = excluded.boot, uptime_ms = excluded.uptime_ms";

// `state <> 'pending'` is the condition of the partial index of PostgreSQL.
const PARKED_BEFORE: &str = "SELECT count(*) FROM call \
    WHERE state = 'parked' AND state <> 'pending' AND effective_at < $1";

impl dyn Store + '_ {
    /// The time that the last purge used; None before the first one.
    pub async fn purge_clock(&self) -> Result<Option<PurgeClock>, StoreError> {
        read(self, async |reads| purge_clock(reads.sql()).await).await
    }

    pub async fn set_purge_clock(&self, clock: PurgeClock) -> Result<(), StoreError> {
        write(self, Urgency::Now, async move |tx| {
            let uptime_ms = i64::try_from(clock.uptime.as_millis()).unwrap_or(i64::MAX);
            let values: Values<'_> = &[&clock.known.0, &clock.used.0, &clock.boot, &uptime_ms];
            tx.sql().execute(SET_PURGE_CLOCK, values).await.map(drop)
        })
        .await
    }

    /// The number of parked calls that are parked since before `at`.
    pub async fn parked_before(&self, at: Millis) -> Result<u64, StoreError> {
        read(self, async move |reads| {
            reads.sql().count(PARKED_BEFORE, &[&at.0]).await
        })
        .await
    }

    /// Corrects up to `limit` pending calls that are due later than `latest`: the clock was wrong when that was
    /// written. They are due `now`, and no other time of theirs is later. Returns how many.
    pub async fn correct_times(
        &self,
        now: Millis,
        latest: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        write(self, Urgency::Now, async move |tx| match tx {
            Tx::Sqlite(tx) => tx.correct_times(now, latest, limit),
            Tx::Postgres(session, _) => {
                postgres::operator_queries::correct_times(session, now, latest, limit).await
            }
        })
        .await
    }
}

pub(super) async fn purge_clock(sql: Sql<'_>) -> Result<Option<PurgeClock>, StoreError> {
    let clock = "SELECT known, used, boot, uptime_ms FROM purge_clock";
    sql.first(clock, &[], |row| {
        Ok(PurgeClock {
            known: row.millis(0)?,
            used: row.millis(1)?,
            boot: row.get(2)?,
            uptime: Duration::from_millis(row.unsigned(3)?),
        })
    })
    .await
}

pub(super) async fn due_after(sql: Sql<'_>, latest: Millis) -> Result<u64, StoreError> {
    let due = sql.words(
        "SELECT count(*) FROM call WHERE state = 'pending' AND effective_at > $1",
        "SELECT count(*) FROM call WHERE state = 'pending' AND claim IS NULL AND effective_at > $1",
    );
    sql.count(due, &[&latest.0]).await
}
