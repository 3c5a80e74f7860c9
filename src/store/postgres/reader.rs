//! Reads the database for commands, and blocks until the response. Writes nothing.

use std::ops::Range;

use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::audit;
use super::consistency;
use super::counters;
use super::migrate;
use super::operator_queries;
use super::server::{CONNECT_TIMEOUT, PgServer};
use super::session::{PgError, Session, Values};
use super::{addresses, ledger, records, refused, search};
use crate::clock::Millis;
use crate::config::postgres::PostgresUrl;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::purge_clock::PurgeClock;
use crate::store::counters::Counters;
use crate::store::ledger::{CauseCount, LedgerRow};
use crate::store::records::{Note, StoredLeg};
use crate::store::{
    AuditFilter, CallPage, CallPredicate, CallQuery, CallSummary, Counts, ListFilter, ListPosition,
    OpenError, ReadStore, RefusedCause, RefusedFilter, RemovedCall, StoreError, StoredAuditRow,
    StoredCall, StoredRefusedRequest, Unindexed,
};
use crate::twilio::{AccountSid, CallSid};

/// A connection that only reads.
pub struct PostgresReader {
    session: Session,
    // Dropped after the session, because its connection is one of the tasks.
    tasks: LocalSet,
    runtime: Runtime,
}

impl PostgresReader {
    pub fn open(url: &PostgresUrl) -> Result<Self, OpenError> {
        let server = PgServer::new(url, CONNECT_TIMEOUT)?;
        let runtime = server.runtime()?;
        let tasks = LocalSet::new();
        let connecting = async {
            let late =
                |_| PgError::Unavailable(format!("no connection within {CONNECT_TIMEOUT:?}"));
            let connected = timeout(CONNECT_TIMEOUT, Session::connect(&server));
            let mut session = connected.await.map_err(late)??;
            // A reader must not migrate: bridges of the previous version may still be running.
            if !migrate::is_migrated(session.client()).await? {
                let why = "`serve` or `migrate` has not yet brought it to this version";
                return Err(PgError::Refused(why.to_owned()));
            }
            Ok(session)
        };
        let session = tasks
            .block_on(&runtime, connecting)
            .map_err(|error| server.unusable(&error))?;
        Ok(Self {
            session,
            tasks,
            runtime,
        })
    }

    fn wait_for<T>(&self, work: impl Future<Output = Result<T, PgError>>) -> Result<T, StoreError> {
        Ok(self.tasks.block_on(&self.runtime, work)?)
    }
}

impl ReadStore for PostgresReader {
    fn get_all(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        self.wait_for(
            self.session
                .snapshot(async |session| operator_queries::get_all(session, sid).await),
        )
    }

    fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        self.wait_for(operator_queries::list(&self.session, filter))
    }

    fn find(
        &self,
        filter: ListFilter,
        wanted: &mut CallPredicate<'_>,
    ) -> Result<Vec<CallSummary>, StoreError> {
        self.wait_for(operator_queries::find(&self.session, filter))?;
        let mut found = Vec::new();
        loop {
            // In parts, so that a large table does not fill the memory.
            let calls = self.wait_for(operator_queries::fetch_found(&self.session))?;
            if calls.is_empty() {
                return Ok(found);
            }
            for call in calls {
                if found.len() == filter.limit {
                    return Ok(found);
                }
                if wanted(&call)? {
                    found.push(call);
                }
            }
        }
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.wait_for(counters::counts(&self.session))
    }

    fn search(&self, query: &CallQuery) -> Result<CallPage, StoreError> {
        self.wait_for(search::page(&self.session, query))
    }

    fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError> {
        self.wait_for(search::unindexed(&self.session, before, from))
    }

    fn address_hasher(&self) -> Result<AddressHasher, StoreError> {
        self.wait_for(addresses::hasher(&self.session))
    }

    fn removed(&self, sid: &CallSid) -> Result<Vec<RemovedCall>, StoreError> {
        self.wait_for(operator_queries::removed(&self.session, sid))
    }

    fn purge_clock(&self) -> Result<Option<PurgeClock>, StoreError> {
        self.wait_for(operator_queries::purge_clock(&self.session))
    }

    fn due_after(&self, latest: Millis) -> Result<u64, StoreError> {
        let (sql, values): (_, Values<'_>) = (operator_queries::DUE_AFTER, &[&latest.0]);
        self.wait_for(operator_queries::count(&self.session, sql, values))
    }

    fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        self.wait_for(refused::by_cause(&self.session))
    }

    fn refused(&self, filter: &RefusedFilter) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        self.wait_for(refused::latest(&self.session, filter))
    }

    fn legs(&self, account: &AccountSid, sids: &[CallSid]) -> Result<Vec<StoredLeg>, StoreError> {
        self.wait_for(records::legs(&self.session, account, sids))
    }

    fn oldest_call(&self) -> Result<Option<Millis>, StoreError> {
        self.wait_for(records::oldest_call(&self.session))
    }

    fn notes(&self, prefix: &str) -> Result<Vec<Note>, StoreError> {
        self.wait_for(records::notes(&self.session, prefix))
    }

    fn ledger(&self, time: Range<Millis>) -> Result<Vec<LedgerRow>, StoreError> {
        self.wait_for(ledger::rows_of(&self.session, &time))
    }

    fn causes(&self) -> Result<Vec<CauseCount>, StoreError> {
        self.wait_for(ledger::causes(&self.session))
    }

    fn version(&self) -> Result<String, StoreError> {
        self.wait_for(async {
            let sql = "SELECT 'schema ' || max(version) || ', PostgreSQL ' || \
                       current_setting('server_version') FROM migration";
            let rows = self.session.query(sql, &[]).await?;
            let words = rows.first().map(|row| row.try_get(0)).transpose()?;
            Ok(words.unwrap_or_default())
        })
    }

    fn try_write(&self) -> Result<(), StoreError> {
        self.wait_for(async {
            self.session.begin().await?;
            counters::add(&self.session, &Counters::default()).await?;
            self.session.roll_back().await
        })
    }

    fn audit(&self, filter: &AuditFilter) -> Result<Vec<StoredAuditRow>, StoreError> {
        let read = audit::latest(&self.session, filter);
        self.tasks.block_on(&self.runtime, read)
    }

    fn verify_consistency(&self) -> Result<Vec<String>, StoreError> {
        self.wait_for(async {
            consistency::lock(&self.session).await?;
            self.session.snapshot(consistency::verify).await
        })
    }
}
