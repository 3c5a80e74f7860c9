//! The operations that only a spool needs.
//!
//! When they run is decided in `store/spool/transfer.rs`.

use std::path::Path;

use super::SqliteStore;
use super::reader::SqliteReader;
use crate::store::{OpenError, StoreError};

pub(in crate::store) use super::write_tx::spool::{Transferred, Waiting};

impl SqliteStore {
    /// Opens the file as a spool, and returns the number of callbacks in it.
    pub(in crate::store) fn open_spool(path: &Path) -> Result<(Self, u64), OpenError> {
        let spool = Self::open(path)?;
        let reader = SqliteReader::open_read_only(path)?;
        let waiting = reader.callbacks().map_err(|error| OpenError::Damaged {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        Ok((spool, waiting))
    }

    /// Up to `limit` calls behind the one in that row, with their callbacks.
    pub(in crate::store) async fn waiting(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.writer.ask(move |tx| tx.waiting(after, limit)).await
    }

    /// Removes what another store has; returns how many callbacks that were.
    pub(in crate::store) async fn remove_transferred(
        &self,
        calls: Vec<Transferred>,
    ) -> Result<u64, StoreError> {
        if calls.is_empty() {
            return Ok(0);
        }
        let removed = self
            .writer
            .write(move |tx| tx.remove_transferred(&calls))
            .await?;
        self.writer
            .ask(|tx| {
                tx.shrink()?;
                tx.empty_log()
            })
            .await?;
        Ok(removed)
    }
}
