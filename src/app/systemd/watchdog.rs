//! The watchdog: systemd restarts a bridge that is stuck, and no other.
//!
//! It checks only faults that a restart could repair. `/readyz`, metrics and the log report all
//! others, such as Acquire being down or a full disk: the bridge recovers from those by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock;
use crate::delivery::heartbeat::{HEARTBEAT_INTERVAL, Heartbeat};
use crate::store::{Store, StoreError};

/// A fault that a restart could repair.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum StuckError {
    #[error("the run loop of the delivery worker has not run for {0:.0?}")]
    Worker(Duration),
    #[error("the store did not answer within {0:.0?}")]
    Store(Duration),
    #[error("the store is closed")]
    Closed,
}

/// Notifies systemd twice in each `WatchdogSec=` while the bridge is not stuck. While it stops,
/// `server.stop_timeout` and `TimeoutStopSec=` apply instead.
pub async fn keep(store: Arc<dyn Store>, heartbeat: Heartbeat, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    info!("systemd restarts the bridge if it is stuck for {limit:?}");
    loop {
        let started = Instant::now();
        // At most a quarter, so that a turn with a slow store ends within half of the limit.
        let answer = tokio::time::timeout(limit / 4, store.ping()).await;
        match check(limit, heartbeat.age(), answer.as_ref().ok()) {
            Err(why) if !stop.is_cancelled() => error!("stuck: {why}"),
            _ => super::notify(&[NotifyState::Watchdog]),
        }
        clock::pause((limit / 2).saturating_sub(started.elapsed())).await;
    }
}

/// Checks the age of the worker's last tick, and the store's answer, if it came in a quarter of `limit`.
fn check(
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
        // An error is an answer too: a restart would not free a full disk.
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fault_that_a_restart_could_repair_is_stuck() {
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
            assert_eq!(check(limit, age, answer.as_ref()), expected, "{case}");
        }
    }
}
