//! Removes expired calls in small batches.
//!
//! How long a call is kept is a setting (`store.retention`, `store.parked_retention`); which rows
//! go is decided in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::clock::{self, Clock};
use crate::config::Config;
use crate::domain::plural::counted;
use crate::store::{Expiry, Store};

/// The number of calls that one transaction removes: few enough that no callback waits noticeably.
const MAX_PURGE_BATCH: usize = 50;

/// The pause after a full batch, as a multiple of the batch's duration: most of the time the store is
/// free for other work, however slow its disk is.
const PAUSE_FACTOR: u32 = 4;

/// The wait after a batch that was not full.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// Removes expired calls until `stop`.
pub async fn run(
    config: Arc<Config>,
    store: Arc<dyn Store>,
    clock: Clock,
    stop: CancellationToken,
) {
    loop {
        let (started, now) = (Instant::now(), clock.now());
        let expiry = Expiry {
            now,
            delivered_and_skipped: now.minus(config.store.retention),
            parked: now.minus(config.store.parked_retention),
        };
        let purged = store
            .purge(expiry, MAX_PURGE_BATCH)
            .await
            .unwrap_or_else(|why| {
                // The store itself logs once that it is unavailable.
                if !why.is_unavailable() {
                    error!("failed to remove expired calls: {why}");
                }
                0
            });
        if purged > 0 {
            debug!(purged, "removed {}", counted(purged, "expired call"));
        }
        // Only a full batch can have left expired calls behind.
        let wait = if purged == MAX_PURGE_BATCH {
            started.elapsed() * PAUSE_FACTOR
        } else {
            PURGE_INTERVAL
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock::pause(wait) => {}
        }
    }
}
