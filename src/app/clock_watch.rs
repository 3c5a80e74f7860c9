//! Notices jumps of the wall clock, and corrects due times that no right clock could have written.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock;
use crate::domain::plural::counted;
use crate::server::shared::BridgeParts;
use crate::telemetry::metrics::ClockEvent;

/// Between two looks at the clocks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// A smaller step is the usual work of a time service.
const JUMP_MS: i64 = 10_000;

/// Between two corrections while the clock does not jump.
const CORRECTION_INTERVAL: Duration = Duration::from_secs(30);

/// The number of calls that one transaction corrects.
const MAX_CORRECTED: usize = 50;

/// Corrects at the start, after a jump and every half minute, until `stop`.
pub async fn run(bridge: BridgeParts, stop: CancellationToken) {
    let mut last = bridge.clock.reading();
    let mut next_correction = Instant::now();
    loop {
        let reading = bridge.clock.reading();
        let jump = reading.jump_since(&last);
        last = reading;
        if jump.abs() >= JUMP_MS {
            report(&bridge, jump);
            next_correction = Instant::now();
        }
        if Instant::now() >= next_correction {
            correct(&bridge).await;
            next_correction = Instant::now() + CORRECTION_INTERVAL;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock::pause(WATCH_INTERVAL) => {}
        }
    }
}

fn report(bridge: &BridgeParts, jump: i64) {
    let (event, direction) = if jump > 0 {
        (ClockEvent::JumpForward, "forward")
    } else {
        (ClockEvent::JumpBack, "back")
    };
    bridge.metrics.clock_event(event.as_str()).inc();
    let by = Duration::from_secs(jump.unsigned_abs() / 1_000);
    warn!(
        "the clock of this machine was set {direction} by {by:?} and now shows {}; check the time service",
        bridge.clock.now()
    );
}

async fn correct(bridge: &BridgeParts) {
    let longest = bridge.config.borrow().longest_wait();
    loop {
        let now = bridge.clock.now();
        let corrected = bridge
            .store
            .correct_times(now, now.plus(longest), MAX_CORRECTED)
            .await;
        let corrected = match corrected {
            Ok(corrected) => corrected,
            Err(why) if why.is_unavailable() => return,
            Err(why) => return error!("failed to correct due times: {why}"),
        };
        if corrected > 0 {
            let event = ClockEvent::TimeCorrected.as_str();
            bridge.metrics.clock_event(event).inc_by(corrected as u64);
            info!(
                corrected,
                "{} had times more than {longest:?} ahead, which only a wrong clock writes; they were \
                 set to {now}",
                counted(corrected, "call")
            );
            bridge.due.notify_one();
        }
        if corrected < MAX_CORRECTED {
            return;
        }
    }
}
