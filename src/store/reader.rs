//! Reads a store from outside the bridge that writes it: for commands and the consistency check.
//!
//! It never writes, and never migrates a schema.

use std::ops::Range;
use std::path::Path;

use super::ledger::{CauseCount, LedgerRow};
use super::records::{Note, StoredLeg};
use super::{
    AuditFilter, CallPage, CallQuery, CallSummary, Counts, ListFilter, ListPosition, RefusedCause,
    RefusedFilter, RemovedCall, StoreError, StoredAuditRow, StoredCall, StoredRefusedRequest,
    Unindexed,
};
use crate::clock::Millis;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::purge_clock::PurgeClock;
use crate::twilio::{AccountSid, CallSid};

/// Whether a call belongs in the result. It may query the same reader for more of the call.
pub type CallPredicate<'a> = dyn FnMut(&CallSummary) -> Result<bool, StoreError> + 'a;

/// A store that is only read. Each method waits for its answer.
pub trait ReadStore {
    /// The calls with this SID, or with a leg that has it, one for each account: Twilio's SIDs are unique,
    /// but any account's token can sign another account's SID.
    fn get_all(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError>;

    /// The first of [`Self::get_all`].
    fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        Ok(self.get_all(sid)?.into_iter().next())
    }

    /// See [`ListFilter`] for the order.
    fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError>;

    /// The calls of a list for which `wanted` is true. Memory does not hold the others.
    fn find(
        &self,
        filter: ListFilter,
        wanted: &mut CallPredicate<'_>,
    ) -> Result<Vec<CallSummary>, StoreError>;

    /// The numbers of calls. A file has no due time: only its writer knows which calls are claimed.
    fn counts(&self) -> Result<Counts, StoreError>;

    /// See [`Addresses::search`](super::Addresses::search).
    fn search(&self, query: &CallQuery) -> Result<CallPage, StoreError>;

    /// See [`Addresses::unindexed`](super::Addresses::unindexed).
    fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError>;

    /// See [`Addresses::address_hasher`](super::Addresses::address_hasher).
    fn address_hasher(&self) -> Result<AddressHasher, StoreError>;

    /// What is left of removed calls with this SID, or with a leg that has it: one for each account.
    fn removed(&self, sid: &CallSid) -> Result<Vec<RemovedCall>, StoreError>;

    /// The time that the last purge used; None before the first one.
    fn purge_clock(&self) -> Result<Option<PurgeClock>, StoreError>;

    /// The number of calls that are due after `latest`. The bridge corrects them, so that a call that stays
    /// is a fault.
    fn due_after(&self, latest: Millis) -> Result<u64, StoreError>;

    /// Refused requests by cause, the latest cause first.
    fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError>;

    fn refused(&self, filter: &RefusedFilter) -> Result<Vec<StoredRefusedRequest>, StoreError>;

    /// What is stored of each of these legs of an account, in their order.
    fn legs(&self, account: &AccountSid, sids: &[CallSid]) -> Result<Vec<StoredLeg>, StoreError>;

    /// When the first callback of the oldest call arrived that was not removed.
    fn oldest_call(&self) -> Result<Option<Millis>, StoreError>;

    /// See [`Records::notes`](super::Records::notes).
    fn notes(&self, prefix: &str) -> Result<Vec<Note>, StoreError>;

    /// See [`Ledger::ledger`](super::Ledger::ledger).
    fn ledger(&self, time: Range<Millis>) -> Result<Vec<LedgerRow>, StoreError>;

    /// See [`Ledger::causes`](super::Ledger::causes).
    fn causes(&self) -> Result<Vec<CauseCount>, StoreError>;

    /// See [`Acts::audit`](super::Acts::audit).
    fn audit(&self, filter: &AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError>;

    /// Checks that calls seen = calls in each state + calls purged, that each callback belongs to a
    /// call, that each delivered call has an accepted attempt, that the ledger counts each call, and the
    /// chain of the audit log. Reads every row; returns a
    /// sentence for each problem.
    fn verify_consistency(&self) -> Result<Vec<String>, StoreError>;

    /// A sentence for each damage in the file itself. A database server checks its own files.
    fn verify_integrity(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// The versions of the schema and the database, in words.
    fn version(&self) -> Result<String, StoreError>;

    /// Writes to the database of a server, and takes it back. A file is tested by
    /// [`look_from_outside`](super::sqlite::look_from_outside).
    fn try_write(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Writes a copy of one moment to `path`, which must not exist.
    fn back_up(&self, _path: &Path) -> Result<(), StoreError> {
        Err(StoreError::Database(
            "backup copies a SQLite file; back PostgreSQL up with its own tools, such as pg_dump \
             or pg_basebackup"
                .to_owned(),
        ))
    }
}
