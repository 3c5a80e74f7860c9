//! The search index: calls by the keyed hashes of their addresses.
//!
//! A settlement writes it. A background task adds the calls that are not settled soon
//! (`app/address_sweep.rs`). Which terms a call has is decided in `domain/call_addresses.rs`.

use super::sql::Sql;
use super::{ListPosition, Store, StoreError, StoredCall, StoredCallback, read};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::call_addresses::{AddressHasher, CallTerms};
use crate::domain::directory::Directory;

/// The terms of these callbacks and attempts of a call.
pub fn terms_of<'a>(
    callbacks: &[StoredCallback],
    attempts: impl IntoIterator<Item = &'a Attempt>,
    directory: &Directory,
) -> CallTerms {
    let mut terms = CallTerms::default();
    for StoredCallback { request, .. } in callbacks {
        terms.add_request(&request.url, &request.headers, &request.body, directory);
    }
    for attempt in attempts {
        terms.add_sent(&attempt.sent);
    }
    terms
}

/// A call to add to the index.
#[derive(Clone, Debug)]
pub struct IndexJob {
    /// The call's row.
    pub(crate) call: i64,
    /// How many callbacks it has.
    pub(crate) callbacks: i64,
    pub terms: CallTerms,
}

/// Calls that the index lacks or has without their latest callbacks.
#[derive(Debug, Default)]
pub struct Unindexed {
    /// Each with its job, which has no terms yet.
    pub calls: Vec<(IndexJob, StoredCall)>,
    /// Where the search continues; None: at its end.
    pub next: Option<ListPosition>,
}

/// The search index.
impl dyn Store + '_ {
    /// Hashes with the key of this store.
    pub async fn address_hasher(&self) -> Result<AddressHasher, StoreError> {
        read(self, async |reads| hasher(reads.sql()).await).await
    }

    /// A few unsettled calls behind `from` that changed before `before` and are not fully indexed.
    pub async fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError> {
        read(self, async move |reads| reads.unindexed(before, from).await).await
    }
}

/// The hasher of addresses, with the key of this database.
pub(super) async fn hasher(sql: Sql<'_>) -> Result<AddressHasher, StoreError> {
    // The key is text in PostgreSQL.
    let key = sql.words(
        "SELECT key FROM address_key",
        "SELECT convert_to(key, 'UTF8') FROM address_key",
    );
    let key: Option<Vec<u8>> = sql.first(key, &[], |row| row.get(0)).await?;
    let missing = || StoreError::Database("the table address_key has no row".to_owned());
    Ok(AddressHasher::new(&key.ok_or_else(missing)?))
}
