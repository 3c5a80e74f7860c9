//! Looks into a store, whichever it is, for commands.

use std::path::Path;

use super::postgres::PostgresReader;
use super::{
    CallSummary, ListFilter, OpenError, RefusedCause, RefusedFilter, SqliteReader, StoreError,
    StoredCall, StoredRefusedRequest,
};
use crate::config::StoreUrl;
use crate::twilio::CallSid;

/// Whether a call is looked for; may ask the same reader for more of it.
pub(super) type CallPredicate<'a> = dyn FnMut(&CallSummary) -> Result<bool, StoreError> + 'a;

/// A store that is only read.
pub enum Reader {
    Sqlite(Box<SqliteReader>),
    Postgres(Box<PostgresReader>),
}

impl Reader {
    pub(super) fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        Ok(match url {
            StoreUrl::Sqlite(path) => Self::Sqlite(Box::new(SqliteReader::open_read_only(path)?)),
            StoreUrl::Postgres(url) => Self::Postgres(Box::new(PostgresReader::open(url)?)),
        })
    }

    /// The call that `sid` names, or of which it names a leg.
    pub fn get(&self, sid: &CallSid) -> Result<Option<StoredCall>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.get(sid),
            Self::Postgres(reader) => reader.get(sid),
        }
    }

    pub fn list(&self, filter: ListFilter) -> Result<Vec<CallSummary>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.list(filter),
            Self::Postgres(reader) => reader.list(filter),
        }
    }

    /// Those of a list that are `wanted`; no others are kept in memory meanwhile.
    pub fn find(
        &self,
        filter: ListFilter,
        mut wanted: impl FnMut(&CallSummary) -> Result<bool, StoreError>,
    ) -> Result<Vec<CallSummary>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.find(filter, &mut wanted),
            Self::Postgres(reader) => reader.find(filter, &mut wanted),
        }
    }

    /// Refused requests by cause, the latest cause first.
    pub fn refused_by_cause(&self) -> Result<Vec<RefusedCause>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.refused_by_cause(),
            Self::Postgres(reader) => reader.refused_by_cause(),
        }
    }

    pub fn refused(&self, filter: &RefusedFilter) -> Result<Vec<StoredRefusedRequest>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.refused(filter),
            Self::Postgres(reader) => reader.refused(filter),
        }
    }

    /// What is damaged in the file itself, a sentence each. A server looks after its own.
    pub fn verify_integrity(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.verify_integrity(),
            Self::Postgres(_) => Ok(Vec::new()),
        }
    }

    /// Checks the conservation of calls: calls seen = calls in each state + calls purged; each
    /// callback belongs to a call; each delivered call has an accepted attempt. Returns a sentence
    /// for each disagreement. Reads every row.
    pub fn verify_conservation(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(reader) => reader.verify_conservation(),
            Self::Postgres(reader) => reader.verify_conservation(),
        }
    }

    /// Writes a copy of one moment to `path`, which must not exist; a server is backed up with its
    /// own tools.
    pub fn back_up(&self, path: &Path) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(reader) => reader.back_up(path),
            Self::Postgres(_) => Err(StoreError::Database(
                "backup copies a SQLite file; back PostgreSQL up with its own tools, such as \
                 pg_dump or pg_basebackup"
                    .to_owned(),
            )),
        }
    }
}
