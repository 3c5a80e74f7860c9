//! Counts the whole store again from time to time, so that a call that went missing is noticed
//! before somebody misses it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::clock::Clock;
use crate::config::{self, StoreUrl};
use crate::store;
use crate::telemetry::metrics::Metrics;

/// After the start, so that starts in a row do not count each.
const FIRST_CHECK_DELAY: Duration = Duration::from_secs(60);

/// Checks the conservation of calls every `store.check_every` until `stop`, tells the metrics, and
/// logs each disagreement.
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
        match on_a_thread(move || disagreements(&url)).await {
            Ok(found) => {
                metrics.conservation_checked(found.len(), clock.now());
                for disagreement in &found {
                    error!(
                        "the store does not agree with itself: {disagreement} (look with `check --store`)"
                    );
                }
                debug!("counted the store again: {} disagreements", found.len());
            }
            Err(why) => warn!("failed to count the store again: {why}"),
        }
    }
}

fn disagreements(url: &StoreUrl) -> Result<Vec<String>, String> {
    let reader = store::open_to_read(url).map_err(|why| why.to_string())?;
    reader.verify_consistency().map_err(|why| why.to_string())
}

/// On a thread that nobody waits for when the bridge stops: a large store takes minutes.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (done, waiting) = oneshot::channel();
    let work = move || {
        // Nobody waits any more if this fails.
        let _ = done.send(work());
    };
    thread::Builder::new()
        .name("store-audit".to_owned())
        .spawn(work)
        .map_err(|why| format!("no thread for it: {why}"))?;
    let ended = waiting.await;
    ended.unwrap_or_else(|_| Err("it panicked".to_owned()))
}
