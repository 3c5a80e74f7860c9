//! Requeues many calls, at a rate, until done or stopped.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::target::{RequeueError, RequeueTarget};
use crate::cli::output;
use crate::clock;
use crate::twilio::CallSid;

/// A bridge that restarts, or a database that is away, is asked again after this.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// So often; then it is more than a restart.
const MAX_PER_REQUEST: u32 = 60;

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequeueReport {
    pub requeued: usize,
    /// Purged meanwhile.
    pub missing: usize,
    pub is_stopped: bool,
}

/// One after the other; each that is done stays done.
pub async fn requeue(
    door: &RequeueTarget<'_>,
    sids: &[CallSid],
    rate: NonZeroU32,
    stop: &CancellationToken,
) -> anyhow::Result<RequeueReport> {
    let mut done = RequeueReport::default();
    let bar = output::bar(sids.len() as u64);
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
        let known = patiently(async || door.requeue(sid).await, RETRY_INTERVAL, stop).await;
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

/// Asks until it is answered, while what is in the way may pass; once more when it is stopped.
async fn patiently(
    ask: impl AsyncFn() -> Result<bool, RequeueError>,
    again: Duration,
    stop: &CancellationToken,
) -> Result<bool, RequeueError> {
    for asked in 1..MAX_PER_REQUEST {
        match ask().await {
            Err(why) if why.may_pass() => {
                if asked == 1 {
                    eprintln!("waits, since {why}");
                }
            }
            answer => return answer,
        }
        let waited = stop.run_until_cancelled(clock::pause(again)).await;
        if waited.is_none() {
            break;
        }
    }
    ask().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::StoreError;

    async fn asked(failing: u32, why: StoreError) -> (Result<bool, RequeueError>, u32) {
        let asked = Cell::new(0);
        let ask = async || {
            asked.set(asked.get() + 1);
            if asked.get() <= failing {
                Err(why.clone().into())
            } else {
                Ok(true)
            }
        };
        let answer = patiently(ask, Duration::ZERO, &CancellationToken::new()).await;
        (answer, asked.get())
    }

    #[tokio::test]
    async fn what_is_away_for_a_while_is_asked_again() {
        let away = || StoreError::Away("made up".to_owned());
        let (answer, times) = asked(5, away()).await;
        assert!(matches!(answer, Ok(true)) && times == 6, "{times}");
        let (answer, times) = asked(u32::MAX, away()).await;
        assert!(answer.is_err() && times == MAX_PER_REQUEST, "{times}");
    }

    #[tokio::test]
    async fn what_is_refused_is_not_asked_again() {
        let (answer, times) = asked(1, StoreError::Closed).await;
        assert!(answer.is_err() && times == 1, "{times}");
    }
}
