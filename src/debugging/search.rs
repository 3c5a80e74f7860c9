//! Finds stored calls by a filter: also by what only their callbacks show.
//!
//! It reads a store and decides nothing about delivery.

use std::collections::HashSet;
use std::sync::Arc;

use crate::clock::Millis;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::call_filter::CallFilter;
use crate::domain::plan::Rules;
use crate::store::{CallQuery, ReadStore, StoreError, StoredCall, Wanted, terms_of};
use crate::twilio::CallbackContent;

/// Calls that a command reads at once.
const BATCH: usize = 500;

/// The query for the first page of calls that match a [resolved](CallFilter::resolved) filter.
#[must_use]
pub fn query(
    filter: &CallFilter,
    hasher: &AddressHasher,
    rules: &Arc<Rules>,
    limit: usize,
) -> CallQuery {
    CallQuery {
        wanted: filter
            .needs_callbacks()
            .then(|| wanted(filter.clone(), hasher.clone(), Arc::clone(rules))),
        ..CallQuery::of(filter.clone(), limit)
    }
}

/// Whether a call has the address and the status.
fn wanted(filter: CallFilter, hasher: AddressHasher, rules: Arc<Rules>) -> Wanted {
    Arc::new(move |call: &StoredCall| {
        let has_status = filter.status.as_ref().is_none_or(|wanted| {
            call.callbacks.iter().any(|stored| {
                let read = stored.request.read();
                matches!(read.map(|read| read.kind), Ok(CallbackContent::Status(reported)) if reported.status == *wanted)
            })
        });
        let has_address = || {
            let terms = terms_of(&call.callbacks, &call.attempts, &rules.directory);
            filter.has_address(&terms, &hasher)
        };
        has_status && has_address()
    })
}

/// Reads all calls that match, in the order of the list, until `limit`; before them those that the search
/// index lacks.
pub fn each(
    reader: &dyn ReadStore,
    mut query: CallQuery,
    limit: usize,
    found: &mut dyn FnMut(StoredCall),
) -> Result<(), StoreError> {
    let mut left = limit;
    let mut early = HashSet::new();
    let mut next = query.filter.address.is_some().then_some(None);
    while let Some(from) = next {
        let lacking = reader.unindexed(Millis(i64::MAX), from)?;
        for (_, call) in lacking.calls {
            if left > 0 && query.matches(&call) {
                left -= 1;
                early.insert((call.summary.account.clone(), call.summary.sid.clone()));
                found(call);
            }
        }
        next = lacking.next.map(Some);
    }
    while left > 0 {
        query.limit = left.min(BATCH);
        let page = reader.search(&query)?;
        for call in page.calls {
            if !early.contains(&(call.summary.account.clone(), call.summary.sid.clone())) {
                left -= 1;
                found(call);
            }
        }
        match page.end {
            Some(end) => query.from = Some(end),
            None => break,
        }
    }
    Ok(())
}
