//! Claims due calls, and settles them.

use std::time::Duration;

use rusqlite::params;
use tracing::error;

use super::{Undo, WriteTx};
use crate::clock::Millis;
use crate::store::sql::Row;
use crate::store::sqlite::leases::{LeaseTable, QueuePosition};
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{
    AccountFilter, BACKLOG_AGE, ClaimRequest, Claimed, ListOrder, NextState, Settlement,
    StoreError, Ticket, split_by_requeue,
};

/// Pending calls behind a position, up to a time. Two parts, so that the search does not read the first
/// of a million calls that are due at the same time again and again.
pub(super) const LONGEST_DUE: &str = "SELECT effective_at, id FROM call \
    WHERE state = 'pending' AND effective_at = ?1 AND id > ?2 AND ?1 <= ?3 \
    UNION ALL \
    SELECT effective_at, id FROM call WHERE state = 'pending' AND effective_at > ?1 AND effective_at <= ?3 \
    ORDER BY effective_at, id";

/// Due calls, the most recently due first.
pub(super) const FRESHEST: &str = "SELECT id, false FROM call \
    WHERE state = 'pending' AND effective_at <= ?1 ORDER BY effective_at DESC, id DESC";

/// The same, with whether each has failed. The index does not have that, so each row is read.
const FRESHEST_UNFAILED: &str = "SELECT id, failing_since IS NOT NULL FROM call \
    WHERE state = 'pending' AND effective_at <= ?1 ORDER BY effective_at DESC, id DESC";

/// The most calls of other accounts, or that have failed, that one search passes over, so that other
/// operations do not wait behind it. The next search continues from there.
const MAX_PASSED_OVER: usize = 1_000;

/// Failing calls to which `retry_now` was not applied since their first failure. A call that is due is
/// one of them: a new callback may have made it due while a retry is later.
///
/// The latest come first, because those that are made due leave this end of the index. The index is
/// named, because the planner would read all of a backlog in another one.
const FAILING: &str = "SELECT id, account FROM call INDEXED BY call_failing \
    WHERE state = 'pending' AND failing_since IS NOT NULL \
    AND (retry_now_at IS NULL OR retry_now_at < failing_since) ORDER BY effective_at DESC";

const SET_RETRY_NOW_AT: &str =
    "UPDATE call SET retry_now_at = max(coalesce(retry_now_at, ?2), ?2) WHERE id = ?1";

/// The result of a search.
struct Found {
    positions: Vec<QueuePosition>,
    /// The search has read every call up to here.
    scanned_to: QueuePosition,
    /// The search ended early, after [`MAX_PASSED_OVER`] calls.
    is_cut: bool,
}

/// Whether the most recently due calls come first, if one has been due for `overdue`.
fn is_newest_first(order: ListOrder, overdue: Duration) -> bool {
    match order {
        ListOrder::FreshFirst => overdue > BACKLOG_AGE,
        ListOrder::UnfailedFirst => true,
        ListOrder::LongestDueFirst => false,
    }
}

impl WriteTx {
    pub fn claim(
        &mut self,
        now: Millis,
        lease_now: Millis,
        lease: Duration,
        request: &ClaimRequest,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut leases = self.leases.lock();
        let mut chosen = self.expired(&leases, lease_now, request)?;
        let start = leases.scan_start(&request.accounts);
        let left = request.limit - chosen.len();
        let oldest = self.search_due(&leases, start, now, &request.accounts, left)?;
        let start = match oldest.positions.first() {
            Some((at, call)) if is_newest_first(request.order, now.since(*at)) => {
                match self.freshest(&leases, now, request, left) {
                    Ok(freshest) => chosen.extend(freshest),
                    // The order reads rows, and a damaged one must not fail the claim: the rest follows.
                    Err(StoreError::Damaged(_)) => {}
                    Err(why) => return Err(why),
                }
                // The freshest were taken from the other end, so all older calls are still to be
                // searched.
                (*at, call - 1)
            }
            _ => oldest.scanned_to,
        };
        for (_, call) in oldest.positions {
            if chosen.len() < request.limit && !chosen.contains(&call) {
                chosen.push(call);
            }
        }
        let mut calls = Vec::with_capacity(chosen.len());
        let mut unreadable = Vec::new();
        for id in chosen {
            match self.read(id) {
                Ok(call) => calls.extend(call),
                Err(StoreError::Damaged(why)) => {
                    error!(
                        "call row {id} is passed over for {lease:?}: the database file is \
                         damaged: {why} (run `check --store` for details)"
                    );
                    unreadable.push(id);
                }
                Err(why) => return Err(why),
            }
        }
        // Claim only after everything was read: an error above must leave no claim behind.
        for id in unreadable {
            // Lease the unreadable call without a worker, so that it does not block the calls behind it.
            leases.claim(id, lease_now.plus(lease));
        }
        for call in &mut calls {
            call.ticket.claim = leases.claim(call.ticket.call, lease_now.plus(lease)).number;
        }
        leases.raise_scan_start(&request.accounts, start);
        Ok(calls)
    }

    fn expired(
        &self,
        leases: &LeaseTable,
        now: Millis,
        request: &ClaimRequest,
    ) -> Result<Vec<i64>, StoreError> {
        let mut chosen = Vec::new();
        for call in leases.expired(now, request.limit) {
            if self.is_of(call, &request.accounts)? {
                chosen.push(call);
            }
        }
        Ok(chosen)
    }

    /// Unclaimed calls behind `start`, the longest due first.
    fn search_due(
        &self,
        leases: &LeaseTable,
        start: QueuePosition,
        until: Millis,
        accounts: &AccountFilter,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let mut found = Found {
            positions: Vec::new(),
            scanned_to: start,
            is_cut: false,
        };
        let mut passed_over = 0;
        let mut statement = self.connection.prepare_cached(LONGEST_DUE)?;
        let mut rows = statement.query(params![start.0.0, start.1, until.0])?;
        while found.positions.len() < limit
            && passed_over < MAX_PASSED_OVER
            && let Some(row) = rows.next()?
        {
            let position = (Millis(row.get(0)?), row.get(1)?);
            found.scanned_to = position;
            if leases.holds(position.1) || self.awaits_merge(position.1) {
                continue;
            }
            if self.is_of(position.1, accounts)? {
                found.positions.push(position);
            } else {
                passed_over += 1;
            }
        }
        found.is_cut = passed_over == MAX_PASSED_OVER;
        Ok(found)
    }

    fn freshest(
        &self,
        leases: &LeaseTable,
        now: Millis,
        request: &ClaimRequest,
        limit: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let mut chosen = Vec::new();
        let mut passed_over = 0;
        let mut statement = self.connection.prepare_cached(match request.order {
            ListOrder::UnfailedFirst => FRESHEST_UNFAILED,
            ListOrder::FreshFirst | ListOrder::LongestDueFirst => FRESHEST,
        })?;
        let mut rows = statement.query([now.0])?;
        while chosen.len() < limit
            && passed_over < MAX_PASSED_OVER
            && let Some(row) = rows.next()?
        {
            let call = row.get(0)?;
            if leases.holds(call) || self.awaits_merge(call) {
                continue;
            }
            let has_failed: bool = row.get(1)?;
            if !has_failed && self.is_of(call, &request.accounts)? {
                chosen.push(call);
            } else {
                passed_over += 1;
            }
        }
        Ok(chosen)
    }

    fn is_of(&self, call: i64, accounts: &AccountFilter) -> Result<bool, StoreError> {
        if *accounts == AccountFilter::All {
            return Ok(true);
        }
        match CallRow::load(&self.connection, call) {
            Ok(call) => Ok(call.is_some_and(|call| accounts.has(&call.account))),
            // The claim that includes it logs the damage.
            Err(StoreError::Damaged(_)) => Ok(true),
            Err(why) => Err(why),
        }
    }

    pub fn retry_now(
        &mut self,
        accounts: &AccountFilter,
        now: Millis,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let claimed = self.leases.lock().calls();
        for id in claimed {
            // While the call is claimed, `settle` sees the later time.
            if self.is_of(id, accounts)? {
                self.set_retry_now_at(id, now)?;
            }
        }
        let mut retried = Vec::new();
        {
            let leases = self.leases.lock();
            let mut statement = self.connection.prepare_cached(FAILING)?;
            let mut rows = statement.query([])?;
            while retried.len() < limit
                && let Some(row) = rows.next()?
            {
                let call = row.get(0)?;
                if !leases.holds(call) && accounts.has(&Row::Sqlite(row).account(1)?) {
                    retried.push(call);
                }
            }
        }
        for &id in &retried {
            self.set_retry_now_at(id, now)?;
            if let Some(call) = CallRow::load(&self.connection, id)? {
                self.make_due(&call, call.class, now, now)?;
            }
        }
        Ok(retried.len())
    }

    /// Stores that the retries of all attempts before `at` are due. An earlier time changes nothing.
    pub(super) fn set_retry_now_at(&self, call: i64, at: Millis) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(SET_RETRY_NOW_AT)?
            .execute([call, at.0])?;
        Ok(())
    }

    fn read(&self, call: i64) -> Result<Option<Claimed>, StoreError> {
        let call = CallRow::load(&self.connection, call)?;
        call.map(|call| self.gather(call)).transpose()
    }

    fn gather(&self, call: CallRow) -> Result<Claimed, StoreError> {
        let (attempts, attempts_before_requeue) = if call.attempts == 0 {
            (Vec::new(), 0)
        } else {
            split_by_requeue(
                rows::attempts_of(&self.connection, call.id)?,
                call.requeue_count,
            )
        };
        Ok(Claimed {
            ticket: Ticket {
                call: call.id,
                claim: 0,
                newest_callback: call.callbacks,
                requeue_count: call.requeue_count,
                retry_now_at: call.retry_now_at,
            },
            callbacks: rows::callbacks_of(&self.connection, call.id)?,
            planned_callbacks: usize::try_from(call.planned_callbacks).unwrap_or_default(),
            attempts,
            attempts_before_requeue,
            retry_now_at: call.retry_now_at,
            failing_since: call.failing_since,
            class: call.class,
            sid: call.sid,
            account: call.account,
        })
    }

    pub fn settle(
        &mut self,
        ticket: &Ticket,
        settlement: &Settlement,
        now: Millis,
    ) -> Result<Option<Millis>, StoreError> {
        let held = self.leases.lock().of(ticket.call);
        if held.is_none_or(|claim| claim.number != ticket.claim) {
            return Err(StoreError::StaleTicket);
        }
        let mut call = CallRow::load(&self.connection, ticket.call)?
            .ok_or_else(|| StoreError::Database("a claimed call has no row".to_owned()))?;
        if let Some(attempt) = &settlement.attempt {
            call.attempts += 1;
            let row = rows::row_of(call.id, call.attempts)?;
            rows::insert_attempt(&self.connection, row, ticket.requeue_count, attempt)?;
        }
        call.planned_callbacks = ticket.newest_callback;
        let is_requeued = call.requeue_count > ticket.requeue_count;
        let is_outdated = is_requeued || call.callbacks > ticket.newest_callback;
        call.failing_since = settlement.failing_since.filter(|_| !is_requeued);
        let next = match &settlement.next {
            _ if is_outdated => NextState::PendingAt(now),
            // The plan did not know that its retries are due now.
            NextState::PendingAt(due) if call.retry_now_at > ticket.retry_now_at => {
                NextState::PendingAt(now.min(*due))
            }
            planned => planned.clone(),
        };
        let class = if is_outdated {
            settlement.class.reopened()
        } else {
            settlement.class
        };
        self.set_state(&call, &next, class, now)?;
        if let Some(claim) = self.leases.lock().release(call.id) {
            self.undo.push(Undo::Released(call.id, claim));
        }
        if !settlement.terms.is_empty() {
            self.index_terms(call.id, ticket.newest_callback, &settlement.terms)?;
        }
        let merged = self.merge_pending(call.id, now)?;
        Ok(match next {
            NextState::PendingAt(due) if merged.is_none() => Some(due),
            _ => merged,
        })
    }

    pub fn next_due(&self, accounts: &AccountFilter) -> Result<Option<Millis>, StoreError> {
        let leases = self.leases.lock();
        let start = leases.scan_start(accounts);
        let found = self.search_due(&leases, start, Millis(i64::MAX), accounts, 1)?;
        let next = match found.positions.first() {
            None if found.is_cut => Some(&found.scanned_to),
            first => first,
        };
        Ok(next.map(|(at, _)| *at))
    }
}
