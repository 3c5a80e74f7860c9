//! Removes calls whose retention is over, a little at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use crate::clock::{self, Clock};
use crate::config::Config;
use crate::store::{Expiry, Store};

/// Calls removed in one transaction: few enough that no accept waits noticeably.
const MAX_PURGE_BATCH: usize = 50;

/// While more is expired, a batch is followed by a pause of so many times what it took, so that the
/// store is left to others for most of the time, however slow its disk.
const PAUSE: u32 = 4;

/// Between two looks when nothing was expired.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// Purges until `stop`.
pub async fn run(
    config: Arc<Config>,
    store: Arc<dyn Store>,
    clock: Clock,
    stop: CancellationToken,
) {
    loop {
        let (begun, now) = (Instant::now(), clock.now());
        let expiry = Expiry {
            delivered_and_skipped: now.minus(config.store.retention),
            parked: now.minus(config.store.parked_retention),
        };
        let purged = store
            .purge(expiry, MAX_PURGE_BATCH)
            .await
            .unwrap_or_else(|why| {
                // The store itself tells that it is away, once.
                if !why.is_away() {
                    error!("failed to purge expired calls: {why}");
                }
                0
            });
        if purged > 0 {
            debug!(purged, "purged {purged} calls whose retention is over");
        }
        let wait = if purged == MAX_PURGE_BATCH {
            begun.elapsed() * PAUSE
        } else {
            PURGE_INTERVAL
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock::pause(wait) => {}
        }
    }
}
