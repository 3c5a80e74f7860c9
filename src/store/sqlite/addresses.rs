//! The search index: its writes on the writer's connection, and the calls that it lacks.

use rusqlite::{OptionalExtension as _, params};

use super::reader::SqliteReader;
use super::rows::{self, CallRow};
use super::write_tx::WriteTx;
use crate::clock::Millis;
use crate::domain::call_addresses::CallTerms;
use crate::store::{IndexJob, ListPosition, StoreError, Unindexed};

/// Rows that one search for unindexed calls examines: some milliseconds.
const MAX_EXAMINED: usize = 5_000;

/// Calls that one search returns: few enough that indexing them delays no callback noticeably.
const MAX_FOUND: usize = 64;

const PENDING: &str = concat!(
    "SELECT ",
    rows::summary!(),
    " FROM call WHERE state = 'pending' AND effective_at = ?1 AND id > ?2 \
     UNION ALL SELECT ",
    rows::summary!(),
    " FROM call WHERE state = 'pending' AND effective_at > ?1 ORDER BY effective_at, id"
);

impl WriteTx {
    /// Adds terms of a call to the index. `callbacks`: how many of its callbacks the index then has.
    pub fn index_terms(
        &mut self,
        call: i64,
        callbacks: i64,
        terms: &CallTerms,
    ) -> Result<(), StoreError> {
        let known = self.addresses_of(call)?;
        let hashes = self.hasher.hashes(terms).into_iter();
        let new: Vec<i64> = hashes.filter(|hash| !known.contains(hash)).collect();
        for hash in &new {
            self.add_address((*hash, call))?;
        }
        let all = known.iter().chain(&new).flat_map(|hash| hash.to_be_bytes());
        self.connection()
            .prepare_cached(
                "UPDATE call SET addresses = ?2, indexed_callbacks = max(indexed_callbacks, ?3) \
                 WHERE id = ?1",
            )?
            .execute(params![call, all.collect::<Vec<u8>>(), callbacks])?;
        Ok(())
    }

    /// As [`Self::index_terms`], unless the call was removed or merged.
    pub fn index_job(&mut self, job: &IndexJob) -> Result<(), StoreError> {
        match CallRow::load(self.connection(), job.call)? {
            Some(call) if call.callbacks >= job.callbacks => {
                self.index_terms(job.call, job.callbacks, &job.terms)
            }
            _ => Ok(()),
        }
    }

    /// Removes a call from the index.
    pub(super) fn remove_addresses(&mut self, call: i64) -> Result<(), StoreError> {
        for hash in self.addresses_of(call)? {
            self.remove_address((hash, call))?;
        }
        self.connection()
            .prepare_cached("UPDATE call SET addresses = NULL WHERE id = ?1")?
            .execute([call])?;
        Ok(())
    }

    fn addresses_of(&self, call: i64) -> Result<Vec<i64>, StoreError> {
        let known: Option<Option<Vec<u8>>> = self
            .connection()
            .prepare_cached("SELECT addresses FROM call WHERE id = ?1")?
            .query_row([call], |row| row.get(0))
            .optional()?;
        let known = known.flatten().unwrap_or_default();
        let (hashes, _) = known.as_chunks::<8>();
        Ok(hashes
            .iter()
            .map(|hash| i64::from_be_bytes(*hash))
            .collect())
    }
}

impl SqliteReader {
    pub fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError> {
        let start = from.map_or((i64::MIN, i64::MIN), |from| (from.at, from.id));
        let mut statement = self.connection.prepare_cached(PENDING)?;
        let mut rows = statement.query(params![start.0, start.1])?;
        let mut found = Unindexed::default();
        let mut examined = 0;
        while let Some(row) = rows.next()? {
            let call = CallRow::read(row)?;
            examined += 1;
            let next = ListPosition {
                at: call.effective_at.0,
                id: call.id,
            };
            let indexed = call.planned_callbacks.max(call.indexed_callbacks);
            if call.callbacks > indexed && call.changed < before {
                let job = IndexJob {
                    call: call.id,
                    callbacks: call.callbacks,
                    terms: CallTerms::default(),
                };
                found.calls.push((job, self.whole(call)?));
            }
            if examined == MAX_EXAMINED || found.calls.len() == MAX_FOUND {
                found.next = Some(next);
                break;
            }
        }
        Ok(found)
    }
}
