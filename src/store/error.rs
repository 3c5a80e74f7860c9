//! The errors of opening a store and of its operations, the same for SQLite and PostgreSQL.
//!
//! The messages are for operators; HTTP clients get none of them.

use std::path::{Path, PathBuf};

use super::StoreWarning;
use crate::net::tls::TlsError;

/// The reason why no release opens a database with the table names of a development version.
pub(super) const DEVELOPMENT_VERSION: &str = "a development version of this program made it, and no \
     release can read it; start with an empty store";

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another bridge: one `serve` owns the file", .path.display())]
    InUse { path: PathBuf },
    #[error(
        "{} was written by a newer version of this program: it has version {found}, this program \
         knows up to {known}", .path.display()
    )]
    Newer {
        path: PathBuf,
        found: usize,
        known: usize,
    },
    #[error(
        "{} is damaged: {why}. No row was changed. Keep a copy, then start with the latest `backup` or with the output of `sqlite3 FILE .recover`", .path.display()
    )]
    Damaged { path: PathBuf, why: String },
    #[error(
        "{} is missing or empty, but {} shows that it had calls. No new store was created: put the file \
         or the latest `backup` in its place, or remove the remaining files to start without them",
        .path.display(), .remains.display()
    )]
    FileMissing { path: PathBuf, remains: PathBuf },
    #[error("{} cannot be used as a database: {why}", .path.display())]
    Unusable { path: PathBuf, why: String },
    #[error(
        "the spool (store.spool) cannot be used: {0}. Each bridge needs its own file that it can \
         write; store.spool = \"off\" uses none"
    )]
    Spool(#[source] Box<OpenError>),
    #[error("TLS to {url} cannot be set up")]
    Tls { url: String, source: Box<TlsError> },
    /// The server refused the connection, or the command cannot wait until it is available.
    #[error("{url} cannot be used: {why}")]
    Database { url: String, why: String },
}

impl OpenError {
    /// Adds the path of the database file to an error of opening it.
    pub(super) fn of(path: &Path, error: StoreError) -> Self {
        let path = path.to_owned();
        match error {
            StoreError::Damaged(why) => Self::Damaged { path, why },
            error => Self::Unusable {
                path,
                why: error.to_string(),
            },
        }
    }
}

/// An operation of a store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store is closed")]
    Closed,
    /// The database is unreachable, or hangs. The operation may or may not have been done; it can be
    /// retried.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database refused; the text is for logs, never for Twilio.
    #[error("{0}")]
    Database(String),
    /// The disk is full, fails, or is read-only. It can be retried.
    #[error("{0}")]
    Disk(String),
    /// Another program holds the write lock of the file. Nothing was done; it can be retried.
    #[error("{}", StoreWarning::WriteLocked)]
    Locked,
    #[error("the database file is damaged: {0} (run `check --store` for details)")]
    Damaged(String),
    /// Another transaction holds a lock. Nothing was done, and the store itself runs the operation again.
    #[error("another transaction holds a lock that this one needs")]
    Conflict,
    #[error("the claim is no longer held: it was settled, or its lease ended and another claimed")]
    StaleTicket,
}

impl StoreError {
    /// Whether the database is unavailable. The store itself logs an outage once, so callers need not.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// What the database said.
    pub(super) fn why(self) -> String {
        match self {
            Self::Unavailable(why) => why,
            other => other.to_string(),
        }
    }
}
