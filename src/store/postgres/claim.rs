//! Claims due calls for one node, with a lease by the clock of the database. Does not settle them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio_postgres::Row as PgRow;

use super::rows::{self, text};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::class::Class;
use crate::store::StoreError;
use crate::store::rows::callback;
use crate::store::sql::{PostgresValues as Values, Row, Session};
use crate::store::{
    AccountFilter, BACKLOG_AGE, ClaimRequest, Claimed, ClaimedCalls, LeaseClock, ListOrder, Ticket,
    split_by_requeue,
};
use crate::twilio::{AccountSid, CallSid};

/// The claims of one node.
#[derive(Debug)]
pub(super) struct NodeClaims {
    /// Distinguishes the claims of this store from those of others.
    node: i64,
    lease_clock: LeaseClock,
    /// The number of the last claim that returned its calls.
    last_confirmed_claim: AtomicI64,
    /// Whether the database may have made a claim and its response was lost.
    claim_in_doubt: AtomicBool,
}

const CLAIM: &str = concat!(
    include_str!("sql/accounts_with_due.sql"),
    include_str!("sql/claim.sql")
);

const RELEASE: &str = "UPDATE call SET claim = NULL, node = NULL, lease_end = NULL \
    WHERE claim IS NOT NULL AND node = $1 AND claim > $2";

const RETRY_NOW: &str = include_str!("sql/retry_now.sql");

/// The accounts of a filter, and whether it means all except those.
fn account_values(filter: &AccountFilter) -> (Vec<&str>, bool) {
    match filter {
        // No account is named, and the flag inverts it: all accounts except none.
        AccountFilter::All => (Vec::new(), true),
        AccountFilter::Only(accounts) => (accounts.iter().map(AccountSid::as_str).collect(), false),
        AccountFilter::AllBut(accounts) => {
            (accounts.iter().map(AccountSid::as_str).collect(), true)
        }
    }
}

impl NodeClaims {
    pub fn new(lease_clock: LeaseClock) -> Self {
        Self {
            node: fastrand::i64(..),
            lease_clock,
            last_confirmed_claim: AtomicI64::default(),
            claim_in_doubt: AtomicBool::default(),
        }
    }

    /// Claims calls. The caller must not claim twice at once.
    pub async fn claim(
        &self,
        session: &Session,
        now: Millis,
        lease: Duration,
        request: &ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        // A worker has never seen the calls of a claim in doubt. They would wait until their lease
        // ends, so they are released first.
        if self.claim_in_doubt.load(Ordering::Relaxed) {
            self.release_after(session, self.last_confirmed_claim.load(Ordering::Relaxed))
                .await?;
        }
        // Set before the statement: the database may claim although its response is lost.
        self.claim_in_doubt.store(true, Ordering::Relaxed);
        let claimed = self.claim_once(session, now, lease, request).await?;
        if let Some(call) = claimed.calls.first() {
            self.last_confirmed_claim
                .store(call.ticket.claim, Ordering::Relaxed);
        }
        self.claim_in_doubt.store(false, Ordering::Relaxed);
        Ok(claimed)
    }

    /// Releases all claims of a node that stops, so that other nodes need not wait for its leases.
    pub async fn release(&self, session: &Session) -> Result<(), StoreError> {
        self.release_after(session, 0).await
    }

    async fn release_after(&self, session: &Session, claim: i64) -> Result<(), StoreError> {
        session.execute(RELEASE, &[&self.node, &claim]).await?;
        Ok(())
    }

    async fn claim_once(
        &self,
        session: &Session,
        now: Millis,
        lease: Duration,
        request: &ClaimRequest,
    ) -> Result<ClaimedCalls, StoreError> {
        let (accounts, all_but) = account_values(&request.accounts);
        let limit = i64::try_from(request.limit).unwrap_or(i64::MAX);
        let lease_now = match self.lease_clock {
            LeaseClock::Store => None,
            LeaseClock::Caller => Some(now.0),
        };
        let backlog_before = match request.order {
            ListOrder::FreshFirst => now.minus(BACKLOG_AGE),
            ListOrder::UnfailedFirst | ListOrder::LongestDueFirst => Millis(i64::MIN),
        };
        let values: Values<'_> = &[
            &accounts,
            &all_but,
            &backlog_before.0,
            &(request.order == ListOrder::UnfailedFirst),
            &limit,
            &now.0,
            &lease_now,
            &self.node,
            &i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
        ];
        let rows = session.query(CLAIM, values).await?;
        let mut calls = read(&rows)?;
        // Most calls have no attempts yet, so a claim of fresh calls is one statement.
        if calls.iter().any(|(_, has_attempts)| *has_attempts) {
            add_attempts(session, &mut calls).await?;
        }
        let next_due = match rows.first() {
            // A worker with a full claim claims again at once and needs no time.
            Some(row) if calls.len() < request.limit => {
                row.try_get::<_, Option<i64>>(0)?.map(Millis)
            }
            _ => None,
        };
        let calls = calls.into_iter().map(|(call, _)| call).collect();
        Ok(ClaimedCalls { calls, next_due })
    }
}

/// Reads the calls in the rows of [`CLAIM`], and whether each has attempts.
fn read(rows: &[PgRow]) -> Result<Vec<(Claimed, bool)>, StoreError> {
    let mut calls: Vec<(Claimed, bool)> = Vec::new();
    for row in rows {
        let Some(id) = row.try_get::<_, Option<i64>>(1)? else {
            continue;
        };
        if calls.last().is_none_or(|(call, _)| call.ticket.call != id) {
            let retry_now_at = row.try_get::<_, Option<i64>>(8)?.map(Millis);
            let call = Claimed {
                ticket: Ticket {
                    call: id,
                    claim: row.try_get(2)?,
                    newest_callback: 0,
                    requeue_count: row.try_get(5)?,
                    retry_now_at,
                },
                sid: text(row, 3, |text| CallSid::parse(text).ok())?,
                account: text(row, 4, |text| AccountSid::parse(text).ok())?,
                callbacks: Vec::new(),
                planned_callbacks: usize::try_from(row.try_get::<_, i64>(6)?).unwrap_or_default(),
                attempts: Vec::new(),
                attempts_before_requeue: 0,
                retry_now_at,
                failing_since: row.try_get::<_, Option<i64>>(9)?.map(Millis),
                class: text(row, 10, Class::parse)?,
            };
            calls.push((call, row.try_get::<_, i64>(7)? > 0));
        }
        if let Some((call, _)) = calls.last_mut() {
            call.callbacks.push(callback(Row::Postgres(row), 11)?);
            call.ticket.newest_callback += 1;
        }
    }
    Ok(calls)
}

async fn add_attempts(session: &Session, calls: &mut [(Claimed, bool)]) -> Result<(), StoreError> {
    let ids: Vec<i64> = calls.iter().map(|(call, _)| call.ticket.call).collect();
    let mut found: HashMap<i64, Vec<(i64, Attempt)>> = HashMap::new();
    for (id, requeue_count, attempt) in rows::attempts_of(session, &ids).await? {
        found.entry(id).or_default().push((requeue_count, attempt));
    }
    for (call, _) in calls {
        let attempts = found.remove(&call.ticket.call).unwrap_or_default();
        (call.attempts, call.attempts_before_requeue) =
            split_by_requeue(attempts, call.ticket.requeue_count);
    }
    Ok(())
}

/// See [`crate::store::Store::retry_now`].
pub(super) async fn retry_now(
    session: &Session,
    accounts: &AccountFilter,
    now: Millis,
    limit: usize,
) -> Result<usize, StoreError> {
    let (accounts, all_but) = account_values(accounts);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session
        .query(RETRY_NOW, &[&accounts, &all_but, &now.0, &limit])
        .await?;
    let retried: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(usize::try_from(retried).unwrap_or_default())
}
