//! The ledger: how many calls of each quarter of an hour are in each class, for ever; and how many calls
//! are parked or skipped now, by cause.
//!
//! Each transaction that changes a call moves its units, so that no report and no page counts calls.

use std::collections::BTreeMap;
use std::ops::Range;

use super::sql::{Sql, Values};
use super::{State, Store, StoreError, read};
use crate::clock::Millis;
use crate::domain::cause::Cause;
use crate::domain::class::Class;
use crate::twilio::{AccountSid, CallSid};

/// The length of a quarter of an hour, in milliseconds.
pub const QUARTER_MS: i64 = 15 * 60 * 1_000;

/// The quarter of the rows that count the parked and skipped calls of now.
const NOW: i64 = -1;

/// The counts in a row of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// All calls with a first callback in the quarter: the sum of the classes.
    Received,
    /// Those of them that the comparison with Twilio's records imported.
    Reconciled,
    Class(Class, Option<Cause>),
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// When the quarter of an hour starts.
    pub quarter: Millis,
    pub account: AccountSid,
    pub unit: Unit,
    pub calls: i64,
}

/// How many calls are in a state for a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseCount {
    pub account: AccountSid,
    pub state: State,
    pub cause: Cause,
    pub calls: u64,
}

/// The calls that are parked for a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedCause {
    pub cause: Cause,
    pub calls: u64,
    /// When the first and the last of them were parked.
    pub since: Millis,
    pub latest: Millis,
    /// The last of them.
    pub example: CallSid,
}

/// The numbers that a store keeps of its calls.
impl dyn Store + '_ {
    /// The rows of the quarters that start in this time.
    pub async fn ledger(&self, time: Range<Millis>) -> Result<Vec<LedgerRow>, StoreError> {
        read(self, async move |reads| rows_of(reads.sql(), &time).await).await
    }

    /// How many calls are parked or skipped, by account and cause.
    pub async fn causes(&self) -> Result<Vec<CauseCount>, StoreError> {
        read(self, async |reads| causes(reads.sql()).await).await
    }

    /// The causes of parked calls, the most frequent first.
    pub async fn parked(&self) -> Result<Vec<ParkedCause>, StoreError> {
        read(self, async |reads| parked(reads.sql()).await).await
    }
}

pub(super) async fn rows_of(
    sql: Sql<'_>,
    time: &Range<Millis>,
) -> Result<Vec<LedgerRow>, StoreError> {
    let [from, to] =
        [time.start, time.end].map(|at| at.0.saturating_add(QUARTER_MS - 1).div_euclid(QUARTER_MS));
    sql.query(ROWS, &[&from, &to], |row| {
        let cause: String = row.get(3)?;
        Ok(LedgerRow {
            quarter: Millis(row.get::<i64>(0)?.saturating_mul(QUARTER_MS)),
            account: row.account(1)?,
            unit: row.parse(2, |class| unit_of(class, &cause))?,
            calls: row.get(4)?,
        })
    })
    .await
}

pub(super) async fn causes(sql: Sql<'_>) -> Result<Vec<CauseCount>, StoreError> {
    sql.query(ROWS, &[&NOW, &(NOW + 1)], |row| {
        Ok(CauseCount {
            account: row.account(1)?,
            state: row.parse(2, State::parse)?,
            cause: row.parse(3, Cause::parse)?,
            calls: row.unsigned(4)?,
        })
    })
    .await
}

async fn parked(sql: Sql<'_>) -> Result<Vec<ParkedCause>, StoreError> {
    let mut found = Vec::new();
    for (cause, calls) in parked_causes(&causes(sql).await?) {
        let word = cause.to_string();
        let values: Values<'_> = &[&word];
        let parked = sql.first(PARKED_SPAN, values, |row| {
            Ok(ParkedCause {
                cause,
                calls,
                since: row.millis(2)?,
                latest: row.millis(1)?,
                example: row.call_sid(0)?,
            })
        });
        // A call of the count may have been requeued since.
        found.extend(parked.await?);
    }
    Ok(found)
}

/// The rows of quarters from $1 to before $2.
const ROWS: &str = "SELECT quarter, account, class, cause, calls FROM ledger \
    WHERE quarter >= $1 AND quarter < $2 AND calls <> 0 ORDER BY quarter, account, class, cause";

/// When the first and the last call of the cause $1 were parked, and the last. Three look-ups in an index.
const PARKED_SPAN: &str = "SELECT sid, effective_at, \
    (SELECT min(effective_at) FROM call WHERE state = 'parked' AND cause = $1) \
    FROM call WHERE state = 'parked' AND cause = $1 ORDER BY effective_at DESC LIMIT 1";

/// How many calls are parked for each cause, over all accounts, the most frequent cause first.
fn parked_causes(counts: &[CauseCount]) -> Vec<(Cause, u64)> {
    let mut causes: BTreeMap<Cause, u64> = BTreeMap::new();
    for of in counts.iter().filter(|of| of.state == State::Parked) {
        *causes.entry(of.cause).or_default() += of.calls;
    }
    let mut causes: Vec<(Cause, u64)> = causes.into_iter().collect();
    causes.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    causes
}

/// The rows that differ from the calls. A removed call keeps its units, but for waiting and parked ones.
pub(super) const BROKEN: &str = include_str!("ledger_broken.sql");

/// Reads the columns of a row. None if no version writes such words.
fn unit_of(class: &str, cause: &str) -> Option<Unit> {
    match class {
        "received" => Some(Unit::Received),
        "reconciled" => Some(Unit::Reconciled),
        _ if cause.is_empty() => Some(Unit::Class(Class::parse(class)?, None)),
        _ => Some(Unit::Class(
            Class::parse(class)?,
            Some(Cause::parse(cause)?),
        )),
    }
}

/// The columns `quarter`, `account`, `class` and `cause` of a row.
type Key = (i64, AccountSid, &'static str, String);

/// What the ledger counts of a call.
#[derive(Clone, Copy)]
pub(super) struct Counted<'a> {
    pub account: &'a AccountSid,
    pub received: Millis,
    pub is_reconciled: bool,
    pub state: State,
    pub class: Class,
    pub cause: Option<Cause>,
}

/// The changes of one transaction.
#[derive(Debug, Default)]
pub(super) struct LedgerChanges(BTreeMap<Key, i64>);

impl LedgerChanges {
    /// Counts a new call.
    pub fn add(&mut self, call: Counted<'_>) {
        self.count(call, 1);
    }

    /// Forgets a call as if it had never been received.
    pub fn take_back(&mut self, call: Counted<'_>) {
        self.count(call, -1);
    }

    pub fn change(&mut self, before: Counted<'_>, after: Counted<'_>) {
        self.count(before, -1);
        self.count(after, 1);
    }

    /// Counts a removed call: it keeps its class.
    pub fn remove(&mut self, call: Counted<'_>) {
        self.count_now(call, -1);
    }

    /// The changed rows.
    pub fn rows(&self) -> impl Iterator<Item = (&Key, i64)> {
        let changed = self.0.iter().filter(|(_, calls)| **calls != 0);
        changed.map(|(key, calls)| (key, *calls))
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn count(&mut self, call: Counted<'_>, calls: i64) {
        let quarter = call.received.0.div_euclid(QUARTER_MS);
        let cause = call.cause.filter(|_| call.class.has_cause());
        self.add_row(quarter, call.account, call.class.as_str(), cause, calls);
        self.add_row(quarter, call.account, "received", None, calls);
        if call.is_reconciled {
            self.add_row(quarter, call.account, "reconciled", None, calls);
        }
        self.count_now(call, calls);
    }

    fn count_now(&mut self, call: Counted<'_>, calls: i64) {
        if matches!(call.state, State::Parked | State::Skipped) {
            let state = call.state.as_str();
            self.add_row(NOW, call.account, state, call.cause, calls);
        }
    }

    fn add_row(
        &mut self,
        quarter: i64,
        account: &AccountSid,
        class: &'static str,
        cause: Option<Cause>,
        calls: i64,
    ) {
        let cause = cause.map_or_else(String::new, |cause| cause.to_string());
        let row = self.0.entry((quarter, account.clone(), class, cause));
        *row.or_default() += calls;
    }
}
