//! Requeues many calls, at a rate, until done or stopped.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use crate::cli::progress;
use crate::clock;
use crate::twilio::CallSid;

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub requeued: usize,
    /// Purged meanwhile.
    pub missing: usize,
    pub is_stopped: bool,
}

/// One after the other; each that is done stays done.
pub async fn requeue(
    door: &Door<'_>,
    sids: &[CallSid],
    rate: NonZeroU32,
    stop: &CancellationToken,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    let bar = progress::bar(sids.len() as u64);
    let began = Instant::now();
    for (number, sid) in (0..).zip(sids) {
        if door.is_attended() {
            let turn = Duration::from_secs(1) * number / rate.get();
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::pause(turn.saturating_sub(began.elapsed())) => {}
            }
        }
        if stop.is_cancelled() {
            done.is_stopped = true;
            break;
        }
        let known = door.requeue(sid).await;
        if known.with_context(|| format!("{number} of {} calls are requeued", sids.len()))? {
            done.requeued += 1;
        } else {
            done.missing += 1;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(done)
}
