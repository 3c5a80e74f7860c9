//! Checks the whole store from time to time, so that a missing call is noticed early.
//!
//! It repairs nothing. The rules of the check belong to `store`.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::clock::Clock;
use crate::config::{self, StoreUrl};
use crate::domain::plural::counted;
use crate::store;
use crate::telemetry::metrics::Metrics;

/// The time from the start to the first check: several starts in a row must not each read the store.
const FIRST_CHECK_DELAY: Duration = Duration::from_secs(60);

/// Checks the store every `store.check_every` until `stop`, updates the metrics, and logs each error.
pub async fn run(
    settings: config::StoreSettings,
    metrics: Arc<Metrics>,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut next = clock.now().plus(FIRST_CHECK_DELAY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.reach(next) => {}
        }
        next = clock.now().plus(settings.check_every);
        let url = settings.url.clone();
        match on_a_thread(move || consistency_errors(&url)).await {
            Ok(found) => {
                metrics.checked_consistency(found.len(), clock.now());
                for wrong in &found {
                    error!("consistency check failed: {wrong}; run `check --store` for details");
                }
                debug!("consistency check: {}", counted(found.len(), "error"));
            }
            Err(why) => warn!("failed to check the consistency of the store: {why}"),
        }
    }
}

fn consistency_errors(url: &StoreUrl) -> Result<Vec<String>, String> {
    let reader = store::open_to_read(url).map_err(|why| why.to_string())?;
    reader.verify_consistency().map_err(|why| why.to_string())
}

/// Runs on a thread that a stopping bridge does not wait for: a large store takes minutes.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, waiting) = oneshot::channel();
    let work = move || {
        // Fails only if the bridge has stopped.
        let _ = done.send(work());
    };
    thread::Builder::new()
        .name("store-check".to_owned())
        .spawn(work)
        .map_err(|why| format!("cannot start a thread: {why}"))?;
    let ended = waiting.await;
    ended.unwrap_or_else(|_| Err("the check panicked".to_owned()))
}
