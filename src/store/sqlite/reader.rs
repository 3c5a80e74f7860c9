//! Reads on a connection of its own, for pages and commands, so that a read never delays a callback.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::leases::SharedLeaseTable;
use super::rows::{self, CallRow};
use super::{hash_index, open};
use crate::clock::Millis;
use crate::store::joined_thread::JoinedThread;
use crate::store::{CallSummary, OpenError, State, StoreError, StoredCall, split_by_requeue};
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
        let calls = self.rows_named(sid)?;
        calls.into_iter().map(|call| self.whole(call)).collect()
    }

    fn rows_named(&self, sid: &CallSid) -> Result<Vec<CallRow>, StoreError> {
        let hash = hash_index::hash_of_sid(sid);
        let mut found = hash_index::find_committed(&self.connection, &[hash])?;
        let candidates = found.remove(&hash).unwrap_or_default();
        rows::calls_named(&self.connection, &candidates, sid)
    }

    /// See [`ReadStore::note_claimed`](crate::store::ReadStore::note_claimed).
    pub(in crate::store) fn lease(&self, sids: &[CallSid]) -> Result<(), StoreError> {
        for sid in sids {
            for call in self.rows_named(sid)? {
                self.leases.lock().claim(call.id, Millis(i64::MAX));
            }
        }
        Ok(())
    }

    pub fn claimed_count(&self) -> i64 {
        i64::try_from(self.leases.lock().len()).unwrap_or(i64::MAX)
    }
}

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
