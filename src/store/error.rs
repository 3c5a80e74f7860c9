//! Why a store cannot be opened, or could not do what it was asked, whichever it is.

use std::path::{Path, PathBuf};

use crate::net::tls::TlsError;

/// Why no release opens a database whose tables have the names of the time before the first release.
pub(super) const DEVELOPMENT_VERSION: &str = "a development version of this program made it, and no \
     release can read it; start with an empty store";

/// Why a store cannot be opened.
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
        "{} is damaged: {why}. No row was changed. `check --store` tells more; keep a copy, then \
         start on the latest `backup` or on what `sqlite3 FILE .recover` saves", .path.display()
    )]
    Damaged { path: PathBuf, why: String },
    #[error(
        "{} is gone or empty, though {} says that calls were kept there. Nothing was begun anew: put the \
         file or the latest `backup` in its place, or remove what remains to begin without them",
        .path.display(), .remains.display()
    )]
    Gone { path: PathBuf, remains: PathBuf },
    #[error("{} cannot be used as a database: {why}", .path.display())]
    Unusable { path: PathBuf, why: String },
    #[error(
        "the spool (store.spool) cannot be used: {0}. Each bridge needs a file of its own that it may \
         write; store.spool = \"off\" does without"
    )]
    Spool(#[source] Box<OpenError>),
    #[error("TLS to {url} cannot be set up")]
    Tls { url: String, source: Box<TlsError> },
    /// It refused, or the command that asks cannot wait until it is back.
    #[error("{url} cannot be used: {why}")]
    Database { url: String, why: String },
}

impl OpenError {
    /// The database file at `path` was found, and then this.
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

/// Why the store could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store is closed")]
    Closed,
    /// The database cannot be reached, or hangs; whether it did what it was asked may not be known,
    /// and it can be asked again.
    #[error("the database is away: {0}")]
    Away(String),
    /// The database refused; the text is for logs, never for Twilio.
    #[error("{0}")]
    Database(String),
    #[error("the database file is damaged: {0} (`check --store` tells more)")]
    Damaged(String),
    #[error("the claim is no longer held: it was settled, or its lease ended and another claimed")]
    StaleTicket,
}

impl StoreError {
    /// Whether the database is away, which the store itself tells once.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    /// Whether the same may be done later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Database(_))
    }
}
