//! Reads on a connection of its own, for pages and commands, so that a read never delays a callback.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use rusqlite::{Connection, ToSql, params};
use tokio::sync::oneshot;

use super::leases::SharedLeaseTable;
use super::rows::{self, CallRow};
use super::{hash_index, open};
use crate::store::joined_thread::JoinedThread;
use crate::store::{
    CallPredicate, CallSummary, ListFilter, OpenError, State, StoreError, StoredCall,
    split_by_requeue,
};
use crate::twilio::CallSid;

/// A read-only connection of its own; works whether a bridge runs or not.
///
/// Claims live in the memory of the bridge: from outside it a claimed call is seen as pending.
pub struct SqliteReader {
    pub(in crate::store) connection: Connection,
    pub(super) leases: SharedLeaseTable,
}

impl SqliteReader {
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        Self::open_beside(&open::plain(path)?, SharedLeaseTable::new())
    }

    pub(super) fn open_beside(path: &Path, leases: SharedLeaseTable) -> Result<Self, OpenError> {
        Ok(Self {
            connection: open::reader(path)?,
            leases,
        })
    }

    /// How many callbacks all calls have together.
    pub(super) fn callbacks(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(callbacks), 0) FROM call";
        let callbacks: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(callbacks.unsigned_abs())
    }

    fn select(
        &self,
        sql: &str,
        params: &[&dyn ToSql],
        filter: ListFilter,
        wanted: &mut CallPredicate<'_>,
    ) -> Result<Vec<CallSummary>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut calls = Vec::new();
        while calls.len() < filter.limit
            && let Some(row) = rows.next()?
        {
            let summary = self.summary(CallRow::read(row)?);
            let is_listed = filter.state.is_none_or(|state| state == summary.state);
            if is_listed && wanted(&summary)? {
                calls.push(summary);
            }
        }
        Ok(calls)
    }

    fn claimed(&self, limit: usize) -> Result<Vec<CallSummary>, StoreError> {
        let held = self.leases.lock().calls();
        let mut calls = Vec::new();
        for id in held {
            if calls.len() == limit {
                break;
            }
            let call = CallRow::load(&self.connection, id)?.map(|call| self.summary(call));
            // The call may have been settled since the leases were read.
            calls.extend(call.filter(|call| call.state == State::Claimed));
        }
        Ok(calls)
    }

    pub(super) fn whole(&self, call: CallRow) -> Result<StoredCall, StoreError> {
        let attempts = rows::attempts_of(&self.connection, call.id)?;
        let (attempts, attempts_before_requeue) = split_by_requeue(attempts, call.requeue_count);
        Ok(StoredCall {
            callbacks: rows::callbacks_of(&self.connection, call.id)?,
            attempts,
            attempts_before_requeue,
            retry_now_at: call.retry_now_at,
            summary: self.summary(call),
        })
    }

    pub(super) fn summary(&self, mut call: CallRow) -> CallSummary {
        if call.state == State::Pending && self.leases.lock().holds(call.id) {
            call.state = State::Claimed;
        }
        call.into_summary()
    }

    /// See [`ReadStore::get_all`](crate::store::ReadStore::get_all).
    pub fn calls_named(&self, sid: &CallSid) -> Result<Vec<StoredCall>, StoreError> {
        // One transaction, so that all parts are of one moment.
        let _snapshot = self.connection.unchecked_transaction()?;
        let hash = hash_index::hash_of_sid(sid);
        let mut found = hash_index::find_committed(&self.connection, &[hash])?;
        let candidates = found.remove(&hash).unwrap_or_default();
        let calls = rows::calls_named(&self.connection, &candidates, sid)?;
        calls.into_iter().map(|call| self.whole(call)).collect()
    }

    /// See [`ReadStore::find`](crate::store::ReadStore::find).
    pub fn calls_wanted(
        &self,
        filter: ListFilter,
        wanted: &mut CallPredicate<'_>,
    ) -> Result<Vec<CallSummary>, StoreError> {
        match filter.state {
            None => self.select(NEWEST, params![], filter, wanted),
            Some(State::Claimed) => self.claimed(filter.limit),
            // Claimed calls are pending in the database and left out here.
            Some(State::Pending) => self.select(SOONEST_DUE, params![], filter, wanted),
            Some(state) => self.select(LATEST_FINISHED, params![state.as_str()], filter, wanted),
        }
    }

    pub fn claimed_count(&self) -> i64 {
        i64::try_from(self.leases.lock().len()).unwrap_or(i64::MAX)
    }
}

const NEWEST: &str = concat!("SELECT ", rows::summary!(), " FROM call ORDER BY id DESC");

const SOONEST_DUE: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE state = 'pending' ORDER BY effective_at, id"
);

const LATEST_FINISHED: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE state = ?1 ORDER BY effective_at DESC, id DESC"
);

type StoreQuery = Box<dyn FnOnce(&SqliteReader) + Send>;

/// The thread that reads for the running store. Drop waits until the thread has closed its
/// connection.
pub(super) struct ReaderThread {
    queries: Sender<StoreQuery>,
    _thread: JoinedThread,
}

impl ReaderThread {
    pub fn start(reader: SqliteReader) -> std::io::Result<Self> {
        let (queries, received) = channel::<StoreQuery>();
        let thread = JoinedThread::start("store-reader", move || {
            for query in received {
                query(&reader);
            }
        })?;
        Ok(Self {
            queries,
            _thread: thread,
        })
    }

    pub async fn ask<T, F>(&self, query: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&SqliteReader) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let query: StoreQuery = Box::new(move |reader| {
            // Fails only if the caller was cancelled.
            let _ = answer.send(query(reader));
        });
        self.queries.send(query).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }
}
