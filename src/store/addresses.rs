//! The search index: calls by the keyed hashes of their addresses.
//!
//! A settlement writes it. A background task adds the calls that are not settled soon
//! (`app/address_sweep.rs`). Which terms a call has is decided in `domain/call_addresses.rs`.

use async_trait::async_trait;

use super::{CallPage, CallQuery, ListPosition, StoreError, StoredCall, StoredCallback};
use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::call_addresses::{AddressHasher, CallTerms};
use crate::domain::directory::Directory;

/// The terms of these callbacks and attempts of a call.
#[must_use]
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

/// The search index, and the lists that use it.
#[async_trait]
pub trait Addresses {
    /// Hashes with the key of this store.
    async fn address_hasher(&self) -> Result<AddressHasher, StoreError>;

    /// A page of the calls that match a query.
    async fn search(&self, query: CallQuery) -> Result<CallPage, StoreError>;

    /// A few unsettled calls behind `from` that changed before `before` and are not fully indexed.
    async fn unindexed(
        &self,
        before: Millis,
        from: Option<ListPosition>,
    ) -> Result<Unindexed, StoreError>;

    /// Adds calls to the index. A call that was removed or merged meanwhile is left out.
    async fn index(&self, jobs: Vec<IndexJob>) -> Result<(), StoreError>;
}
