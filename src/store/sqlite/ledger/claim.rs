//! Hands out calls that are due, and takes back what was made of them.

use std::time::Duration;

use rusqlite::params;

use super::{Ledger, Undo};
use crate::clock::Millis;
use crate::store::sqlite::rows::{self, CallRow};
use crate::store::{Claimed, Rest, Settlement, StoreError, Ticket};

/// Pending calls behind a place, up to a time. In two parts, so that of a million calls due at one
/// time none is passed over twice.
pub(super) const DUE_BEHIND: &str = "SELECT at, id FROM call \
    WHERE state = 'pending' AND at = ?1 AND id > ?2 AND ?1 <= ?3 \
    UNION ALL \
    SELECT at, id FROM call WHERE state = 'pending' AND at > ?1 AND at <= ?3 \
    ORDER BY at, id";

impl Ledger {
    pub fn claim(
        &mut self,
        now: Millis,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut claims = self.claims.lock();
        let mut chosen = claims.expired(now, limit);
        let (mut floor, expired) = (claims.floor(), chosen.len());
        if expired < limit {
            let mut statement = self.connection.prepare_cached(DUE_BEHIND)?;
            let mut rows = statement.query(params![floor.0.0, floor.1, now.0])?;
            while chosen.len() < limit
                && let Some(row) = rows.next()?
            {
                let call = row.get(1)?;
                floor = (Millis(row.get(0)?), call);
                if !claims.holds(call) {
                    chosen.push(call);
                }
            }
        }
        let mut calls = Vec::with_capacity(chosen.len());
        for id in chosen {
            if let Some(call) = CallRow::load(&self.connection, id)? {
                calls.push(self.gather(call)?);
            }
        }
        // Nothing is claimed before everything was read.
        for call in &mut calls {
            call.ticket.claim = claims.claim(call.ticket.call, now.plus(lease)).number;
        }
        claims.raise_floor(floor);
        Ok(calls)
    }

    fn gather(&self, call: CallRow) -> Result<Claimed, StoreError> {
        let attempts = if call.attempts == 0 {
            Vec::new()
        } else {
            rows::attempts_of(&self.connection, call.id)?
        };
        Ok(Claimed {
            ticket: Ticket {
                call: call.id,
                claim: 0,
                newest_callback: call.callbacks,
                round: call.round,
            },
            callbacks: rows::callbacks_of(&self.connection, call.id)?,
            attempts: attempts
                .into_iter()
                .filter(|(round, _)| *round == call.round)
                .map(|(_, attempt)| attempt)
                .collect(),
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
        let held = self.claims.lock().of(ticket.call);
        if held.is_none_or(|claim| claim.number != ticket.claim) {
            return Err(StoreError::StaleTicket);
        }
        let call = CallRow::load(&self.connection, ticket.call)?
            .ok_or_else(|| StoreError::Database("a claimed call has no row".to_owned()))?;
        if let Some(attempt) = &settlement.attempt {
            let row = rows::row_of(call.id, call.attempts + 1)?;
            rows::insert_attempt(&self.connection, row, ticket.round, attempt)?;
            self.connection
                .prepare_cached("UPDATE call SET attempts = attempts + 1 WHERE id = ?1")?
                .execute([call.id])?;
        }
        let is_overtaken = call.callbacks > ticket.newest_callback || call.round > ticket.round;
        let rest = if is_overtaken {
            &Rest::PendingAt(now)
        } else {
            &settlement.rest
        };
        self.rest(&call, rest, now)?;
        if let Some(claim) = self.claims.lock().release(call.id) {
            self.undo.push(Undo::Released(call.id, claim));
        }
        let adopted = self.adopt_settled(call.id, now)?;
        Ok(match rest {
            Rest::PendingAt(due) if adopted.is_none() => Some(*due),
            _ => adopted,
        })
    }

    pub fn next_due(&self) -> Result<Option<Millis>, StoreError> {
        let claims = self.claims.lock();
        let floor = claims.floor();
        let mut statement = self.connection.prepare_cached(DUE_BEHIND)?;
        let mut rows = statement.query(params![floor.0.0, floor.1, i64::MAX])?;
        while let Some(row) = rows.next()? {
            if !claims.holds(row.get(1)?) {
                return Ok(Some(Millis(row.get(0)?)));
            }
        }
        Ok(None)
    }
}
