//! Adds the calls that are not settled soon to the search index: during an outage, those are searched for.
//!
//! A settlement indexes its call itself (`delivery/settle.rs`).

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock;
use crate::server::shared::BridgeParts;
use crate::store::{StoreError, terms_of};

/// A call that changed less long ago is left to its settlement.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// The wait between two rounds through the unsettled calls.
const ROUND_INTERVAL: Duration = Duration::from_secs(2);

/// The pause after a part of a round, as a multiple of its duration: most of the time the store is free.
const PAUSE_FACTOR: u32 = 4;

/// Indexes unsettled calls until `stop`.
pub async fn run(bridge: BridgeParts, stop: CancellationToken) {
    loop {
        let complete_to = bridge.clock.now().minus(SETTLES_WITHIN);
        let done = stop.run_until_cancelled(round(&bridge)).await;
        match done {
            None => return,
            Some(Ok(())) => bridge.search_progress.is_complete_to(complete_to),
            // The store itself logs once that it is unavailable.
            Some(Err(why)) if why.is_unavailable() => {}
            Some(Err(why)) => error!("failed to index calls for the search: {why}"),
        }
        let next = bridge.clock.now().plus(ROUND_INTERVAL);
        let waited = stop.run_until_cancelled(bridge.clock.reach(next)).await;
        if waited.is_none() {
            return;
        }
    }
}

/// Looks at all unsettled calls once, the longest due first.
async fn round(bridge: &BridgeParts) -> Result<(), StoreError> {
    let before = bridge.clock.now().minus(SETTLES_WITHIN);
    let mut from = None;
    loop {
        let started = Instant::now();
        let part = bridge.store.unindexed(before, from).await?;
        let jobs = part.calls.into_iter().map(|(mut job, call)| {
            let rules = bridge.rules.borrow();
            job.terms = terms_of(&call.callbacks, &call.attempts, &rules.directory);
            job
        });
        let jobs: Vec<_> = jobs.collect();
        if !jobs.is_empty() {
            bridge.store.index(jobs).await?;
        }
        from = part.next;
        if from.is_none() {
            return Ok(());
        }
        clock::pause(started.elapsed() * PAUSE_FACTOR).await;
    }
}
