//! The audit log: appended in the transaction of each act, and read newest first.
//!
//! The chain of hashes is [`crate::domain::audit`]'s.

use super::sql::{Row, Sql, Values};
use super::{Purged, Store, StoreError, Urgency, read, write};
use crate::clock::Millis;
use crate::domain::audit::{Act, Actor, AuditEntry, AuditRow, Head};

/// Selects the rows that match all fields. The latest come first.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub act: Option<Act>,
    /// Only rows of this time or later.
    pub since: Option<Millis>,
    /// Only rows with a smaller number.
    pub before: Option<i64>,
    pub limit: usize,
}

/// A row and its hash in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StoredAuditRow {
    #[serde(flatten)]
    pub row: AuditRow,
    pub hash: String,
}

/// Advisory lock of PostgreSQL that orders the rows of all nodes; `TwAu` in ASCII.
const LOCK: i64 = 0x5477_4175;

/// Rows that one query reads, because most filters are met early.
const PART: usize = 500;

const LAST: &str = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";
const APPEND: &str = "INSERT INTO audit (number, row, hash) VALUES ($1, $2, $3)";
const BEFORE: &str =
    "SELECT number, row, hash FROM audit WHERE number < $1 ORDER BY number DESC LIMIT $2";
const AFTER: &str =
    "SELECT number, row, hash FROM audit WHERE number > $1 ORDER BY number LIMIT $2";

/// The audit log, which all nodes of a database share.
impl dyn Store + '_ {
    /// Appends a row for an act that does not change the store.
    pub async fn write_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        write(self, Urgency::Now, async move |tx| {
            append(tx.sql(), &entry).await
        })
        .await
    }

    pub async fn audit(&self, filter: AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError> {
        read(self, async move |reads| latest(reads.sql(), &filter).await).await
    }
}

/// Appends a row to the log, in the open transaction. Other transactions of PostgreSQL with a row wait for
/// its end, so it comes last.
pub(super) async fn append(sql: Sql<'_>, entry: &AuditEntry) -> Result<(), StoreError> {
    if matches!(sql, Sql::Postgres(_)) {
        let lock = "SELECT pg_advisory_xact_lock($1)";
        sql.query(lock, &[&LOCK], |_| Ok(())).await?;
    }
    // A statement of its own, so that it sees the row of the transaction that had the lock before.
    let head = sql.first(LAST, &[], |row| {
        let (number, hash) = (row.get(0)?, row.get(1)?);
        Ok(Head { number, hash })
    });
    let (row, head) = head.await?.unwrap_or_default().chain(entry);
    let values: Values<'_> = &[&head.number, &row, &head.hash];
    sql.execute(APPEND, values).await.map(drop)
}

/// See [`ReadStore::audit`](super::ReadStore::audit).
pub(super) async fn latest(
    sql: Sql<'_>,
    filter: &AuditFilter,
) -> Result<Vec<StoredAuditRow>, StoreError> {
    let mut found = Vec::new();
    let mut before = filter.before.unwrap_or(i64::MAX);
    loop {
        let rows = part(sql, BEFORE, before).await?;
        let is_last = rows.len() < PART;
        for columns in rows {
            if found.len() == filter.limit {
                return Ok(found);
            }
            before = columns.0;
            found.extend(filter.read(columns)?);
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// A sentence for the first row that does not match.
pub(super) async fn problem(sql: Sql<'_>) -> Result<Option<String>, StoreError> {
    let mut check = ChainCheck::default();
    let mut after = i64::MIN;
    loop {
        let rows = part(sql, AFTER, after).await?;
        for columns in &rows {
            after = columns.0;
            check.follow(columns);
        }
        if rows.len() < PART {
            return Ok(check.problem());
        }
    }
}

async fn part(
    sql: Sql<'_>,
    query: &'static str,
    from: i64,
) -> Result<Vec<AuditColumns>, StoreError> {
    let limit = i64::try_from(PART).unwrap_or(i64::MAX);
    let columns = |row: Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    sql.query(query, &[&from, &limit], columns).await
}

impl Purged {
    /// For the calls that expired: Acquire never had them.
    pub(super) fn audit_entry(self, now: Millis) -> Option<AuditEntry> {
        let entry = AuditEntry {
            count: u64::try_from(self.parked).ok(),
            ..AuditEntry::new(Act::Expiry, Actor::system(), now)
        };
        (self.parked > 0).then_some(entry)
    }
}

/// Rows of a table, as its columns `number`, `row` and `hash`.
type AuditColumns = (i64, String, String);

impl AuditFilter {
    /// Reads a row; `None` if it does not match.
    fn read(
        &self,
        (number, row, hash): AuditColumns,
    ) -> Result<Option<StoredAuditRow>, StoreError> {
        let row: AuditRow = serde_json::from_str(&row).map_err(|_| {
            StoreError::Database(format!(
                "row {number} of the audit log was changed: it is no JSON of a row; run `check --store`"
            ))
        })?;
        let is_listed = self.actor.as_ref().is_none_or(|actor| row.actor == *actor)
            && self.act.is_none_or(|act| row.act == act)
            && self.since.is_none_or(|since| row.at >= since);
        Ok(is_listed.then_some(StoredAuditRow { row, hash }))
    }
}

/// Follows the chain from its first row, and remembers the first row that does not match.
#[derive(Default)]
struct ChainCheck {
    head: Head,
    broken: Option<i64>,
}

impl ChainCheck {
    fn follow(&mut self, (number, row, hash): &AuditColumns) {
        if !self.head.follow(*number, row, hash) && self.broken.is_none() {
            self.broken = Some(*number);
        }
    }

    fn problem(self) -> Option<String> {
        self.broken.map(|number| {
            format!(
                "row {number} of the audit log does not match its hash: it was changed, or rows before it \
                 were changed or removed"
            )
        })
    }
}
