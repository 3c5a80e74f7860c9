//! The watchdog: systemd restarts a bridge that has stopped turning, and no other.
//!
//! Only what a restart could mend counts. Acquire away, a full or failing disk, and a store that
//! refuses are told by `/readyz`, metrics and the log: there the bridge goes on by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock;
use crate::delivery::heartbeat::{HEARTBEAT_INTERVAL, Heartbeat};
use crate::store::{Store, StoreError};

/// What a restart could mend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum StuckError {
    #[error("the delivery worker has not turned for {0:.0?}")]
    Worker(Duration),
    #[error("the store did not answer within {0:.0?}")]
    Store(Duration),
    #[error("the store is closed")]
    Closed,
}

/// Tells systemd twice in each `WatchdogSec=` that the bridge turns, for as long as it does.
/// While it stops, its own deadline and `TimeoutStopSec=` count instead.
pub async fn keep(store: Arc<dyn Store>, heartbeat: Heartbeat, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    info!("systemd restarts the bridge if it is stuck for {limit:?}");
    loop {
        let begun = Instant::now();
        let answer = tokio::time::timeout(limit / 4, store.ping()).await;
        match judge(limit, heartbeat.age(), answer.as_ref().ok()) {
            Err(why) if !stop.is_cancelled() => error!("stuck: {why}"),
            _ => super::notify(&[NotifyState::Watchdog]),
        }
        clock::pause((limit / 2).saturating_sub(begun.elapsed())).await;
    }
}

/// Judges by the worker's last beat and the store's answer, if it came in a quarter of `limit`.
fn judge(
    limit: Duration,
    age: Duration,
    answer: Option<&Result<(), StoreError>>,
) -> Result<(), StuckError> {
    if age > limit / 2 + 2 * HEARTBEAT_INTERVAL {
        return Err(StuckError::Worker(age));
    }
    match answer {
        None => Err(StuckError::Store(limit / 4)),
        Some(Err(StoreError::Closed)) => Err(StuckError::Closed),
        // An answer that refuses is an answer: a restart would not free a disk.
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_restart_could_mend_is_stuck() {
        let limit = Duration::from_secs(60);
        let (fresh, old) = (Duration::from_secs(1), Duration::from_secs(33));
        let full = || StoreError::Database("database or disk is full".to_owned());
        let cases = [
            (fresh, Some(Ok(())), Ok(())),
            (fresh, Some(Err(full())), Ok(())),
            (
                fresh,
                Some(Err(StoreError::Closed)),
                Err(StuckError::Closed),
            ),
            (fresh, None, Err(StuckError::Store(limit / 4))),
            (old, Some(Ok(())), Err(StuckError::Worker(old))),
        ];
        for (age, answer, expected) in cases {
            let case = format!("{age:?}, {answer:?}");
            assert_eq!(judge(limit, age, answer.as_ref()), expected, "{case}");
        }
    }
}
