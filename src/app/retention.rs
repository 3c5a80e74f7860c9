//! Removes expired calls in small batches, by a time that a wrong clock does not move.
//!
//! How long a call is kept is a setting (`store.retention`, `store.parked_retention`); which rows
//! go is decided in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::clock::{self, ClockReading, Millis};
use crate::config::Config;
use crate::domain::plural::counted;
use crate::domain::purge_clock::PurgeClock;
use crate::server::shared::BridgeParts;
use crate::store::{Expiry, ListFilter, Purged, State, Store, StoreError};
use crate::telemetry::metrics::{ClockEvent, Metrics};
use crate::twilio::callback;

/// The number of calls that one transaction removes: few enough that no callback waits noticeably.
const MAX_PURGE_BATCH: usize = 50;

/// The pause after a full batch, as a multiple of the batch's duration: most of the time the store is
/// free for other work, however slow its disk is.
const PAUSE_FACTOR: u32 = 4;

/// The same for a purge that takes longer than [`PURGE_INTERVAL`]: more calls expire than it removes.
const LATE_PAUSE_FACTOR: u32 = 1;

/// The wait between two purges.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// A difference between the wall clock and the time of the purge that is reported.
const HELD: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How long before parked calls expire the log warns, at most half of `store.parked_retention`.
const NOTICE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Removes expired calls until `stop`.
pub async fn run(config: Arc<Config>, bridge: BridgeParts, stop: CancellationToken) {
    let mut retention = Retention {
        config,
        store: bridge.store,
        metrics: bridge.metrics,
        last: None,
        is_held: false,
        warned: None,
    };
    loop {
        let reading = bridge.clock.reading();
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = retention.purge(&reading) => done,
        };
        match done {
            // The store itself logs once that it is unavailable.
            Err(why) if !why.is_unavailable() => error!("failed to remove expired calls: {why}"),
            _ => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock::pause(PURGE_INTERVAL) => {}
        }
    }
}

fn pause_factor(purge: Duration) -> u32 {
    if purge < PURGE_INTERVAL {
        PAUSE_FACTOR
    } else {
        LATE_PAUSE_FACTOR
    }
}

struct Retention {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    last: Option<PurgeClock>,
    /// Whether the wall clock is reported to be ahead of the purge.
    is_held: bool,
    /// When the log last warned of parked calls that will expire.
    warned: Option<Instant>,
}

impl Retention {
    async fn purge(&mut self, reading: &ClockReading) -> Result<(), StoreError> {
        let clock = self.next_clock(reading).await?;
        self.store.set_purge_clock(clock.clone()).await?;
        let settings = &self.config.store;
        let expiry = Expiry {
            now: clock.used,
            delivered_and_skipped: clock.used.minus(settings.retention),
            parked: clock.used.minus(settings.parked_retention),
        };
        self.report_difference(&clock, reading);
        self.last = Some(clock);
        let mut parked = 0;
        let first = Instant::now();
        loop {
            let started = Instant::now();
            let purged = self.store.purge(expiry, MAX_PURGE_BATCH).await?;
            self.count(purged);
            parked += purged.parked;
            // Only a full batch can have left expired calls behind.
            if purged.removed() + purged.deferred < MAX_PURGE_BATCH {
                break;
            }
            clock::pause(started.elapsed() * pause_factor(first.elapsed())).await;
        }
        if parked > 0 {
            error!(
                parked,
                "{} expired undelivered (store.parked_retention); `show CALLSID` says so for each",
                counted(parked, "parked call")
            );
        }
        self.warn_of_expiry(expiry).await
    }

    /// The later of the clocks that this bridge and the store remember, moved on.
    async fn next_clock(&self, reading: &ClockReading) -> Result<PurgeClock, StoreError> {
        let stored = self.store.purge_clock().await?;
        let clocks = self.last.clone().into_iter().chain(stored);
        let Some(last) = clocks.max_by_key(|clock| clock.known_at(reading)) else {
            return Ok(PurgeClock::first(reading));
        };
        let reported = if reading.now > last.known_at(reading).plus(PURGE_INTERVAL) {
            self.last_report().await?
        } else {
            None
        };
        Ok(last.next(reading, reported))
    }

    /// The latest time that Twilio signed for the newest call.
    async fn last_report(&self) -> Result<Option<Millis>, StoreError> {
        let newest = ListFilter {
            state: None,
            limit: 1,
        };
        let Some(newest) = self.store.list(newest).await?.pop() else {
            return Ok(None);
        };
        let call = self.store.get_listed(&newest).await?;
        let callbacks = call.map(|call| call.callbacks).unwrap_or_default();
        let times = callbacks
            .iter()
            .filter_map(|stored| callback::reported_at(&stored.request.body));
        Ok(times.max())
    }

    fn report_difference(&mut self, clock: &PurgeClock, reading: &ClockReading) {
        let is_held = reading.now.since(clock.known) > HELD;
        if is_held && !self.is_held {
            self.metrics
                .clock_event(ClockEvent::PurgeHeld.as_str())
                .inc();
            warn!(
                "the clock of this machine shows {}, but only {} is certain: expired calls are kept until \
                 Twilio's Timestamp of a new callback confirms the clock; check the time service",
                reading.now, clock.known
            );
        } else if self.is_held && !is_held {
            info!("the clock of this machine is confirmed; expired calls are removed again");
        }
        self.is_held = is_held;
    }

    fn count(&self, purged: Purged) {
        let removed = purged.removed();
        for (state, calls) in [
            (State::Delivered, purged.delivered),
            (State::Skipped, purged.skipped),
            (State::Parked, purged.parked),
        ] {
            self.metrics.expired(state.as_str()).inc_by(calls as u64);
        }
        let deferred = self
            .metrics
            .clock_event(ClockEvent::RemovalDeferred.as_str());
        deferred.inc_by(purged.deferred as u64);
        if removed > 0 {
            debug!(removed, "removed {}", counted(removed, "expired call"));
        }
        if purged.deferred > 0 {
            warn!(
                "{} would have been removed too early: Twilio's Timestamp is later than the time of this \
                 machine was; check the time service",
                counted(purged.deferred, "call")
            );
        }
    }

    /// Once a day.
    async fn warn_of_expiry(&mut self, expiry: Expiry) -> Result<(), StoreError> {
        if self.warned.is_some_and(|warned| warned.elapsed() < DAY) {
            return Ok(());
        }
        let notice = NOTICE.min(self.config.store.parked_retention / 2);
        let expiring = self.store.parked_before(expiry.parked.plus(notice)).await?;
        if expiring > 0 {
            self.warned = Some(Instant::now());
            let days = notice.as_secs() / DAY.as_secs();
            warn!(
                expiring,
                "parked calls that expire within {days} days (store.parked_retention) if they are not \
                 requeued: {expiring}; see `list --state parked`"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_that_falls_behind_pauses_less_than_before() {
        assert_eq!(pause_factor(PURGE_INTERVAL / 2), 4);
        assert_eq!(pause_factor(PURGE_INTERVAL), 1);
    }
}
