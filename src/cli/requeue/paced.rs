//! Requeues chosen calls at a rate, and waits while the bridge or the database is down.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app;
use crate::cli::act_target::{ActError, ActTarget, OperatorArgs};
use crate::cli::output::{OutputArgs, note, progress_bar};
use crate::cli::{CliError, Exit, serve};
use crate::clock;
use crate::config::partial::ActSettings;
use crate::domain::plural::counted;
use crate::twilio::CallSid;

/// Pause before the next attempt while the bridge restarts or the database is down.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts per call, at [`RETRY_INTERVAL`] about a minute: longer than a restart takes.
const MAX_ATTEMPTS: u32 = 60;

/// The result of requeueing many calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RequeueReport {
    requeued: usize,
    /// Calls that were purged since the search.
    missing: usize,
    is_stopped: bool,
}

/// Requeues calls at a rate per second, until all are done or a signal stops it.
pub fn run(
    config: &ActSettings,
    sids: &[CallSid],
    rate: NonZeroU32,
    (operator, output): (&OperatorArgs, OutputArgs),
) -> Result<Exit, CliError> {
    let report = app::block_on(async {
        let target = ActTarget::open(config, operator)?;
        let stop = serve::stop_on_signals()?;
        let report = requeue(&target, sids, rate, &stop).await?;
        Ok::<_, CliError>(report)
    })?;
    let (done, total) = (report.requeued, sids.len());
    output.print(&json!({ "requeued": done, "total": total }), || {
        format!("{done} of {total} calls requeued")
    })?;
    if report.missing > 0 {
        note!(
            "no longer in the store: {}",
            counted(report.missing, "call")
        );
    }
    if report.is_stopped {
        note!("stopped; the other calls are unchanged");
    }
    Ok(if report.requeued == sids.len() {
        Exit::Done
    } else {
        Exit::Partial
    })
}

/// Requeues the calls one after the other. A requeued call stays requeued if a later one fails.
async fn requeue(
    target: &ActTarget<'_>,
    sids: &[CallSid],
    rate: NonZeroU32,
    stop: &CancellationToken,
) -> anyhow::Result<RequeueReport> {
    let mut report = RequeueReport::default();
    let bar = progress_bar(sids.len() as u64);
    let started = Instant::now();
    for (number, sid) in (0..).zip(sids) {
        // Without a bridge nothing is sent meanwhile, so no rate is needed.
        if target.is_served() {
            // Counted from the start, so that slow calls do not lower the rate.
            let due = Duration::from_secs(1) * number / rate.get();
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock::pause(due.saturating_sub(started.elapsed())) => {}
            }
        }
        if stop.is_cancelled() {
            report.is_stopped = true;
            break;
        }
        let is_known = retry(
            async || target.requeue(sid, None).await,
            RETRY_INTERVAL,
            stop,
        )
        .await;
        if is_known.with_context(|| format!("{number} of {} calls are requeued", sids.len()))? {
            report.requeued += 1;
        } else {
            report.missing += 1;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// Repeats a request while its error is temporary, up to [`MAX_ATTEMPTS`] times; once more if it is
/// stopped.
async fn retry(
    request: impl AsyncFn() -> Result<bool, ActError>,
    pause: Duration,
    stop: &CancellationToken,
) -> Result<bool, ActError> {
    for attempt in 1..MAX_ATTEMPTS {
        match request().await {
            Err(why) if why.is_temporary() => {
                if attempt == 1 {
                    note!("waiting: {why}");
                }
            }
            answer => return answer,
        }
        let waited = stop.run_until_cancelled(clock::pause(pause)).await;
        if waited.is_none() {
            break;
        }
    }
    // Also after a signal: the last attempt decides whether this call is counted as requeued.
    request().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::StoreError;

    async fn attempts(failing: u32, why: StoreError) -> (Result<bool, ActError>, u32) {
        let made = Cell::new(0);
        let request = async || {
            made.set(made.get() + 1);
            if made.get() <= failing {
                Err(why.clone().into())
            } else {
                Ok(true)
            }
        };
        let answer = retry(request, Duration::ZERO, &CancellationToken::new()).await;
        (answer, made.get())
    }

    #[tokio::test]
    async fn a_temporary_error_is_retried() {
        let down = || StoreError::Unavailable("made up".to_owned());
        let (answer, times) = attempts(5, down()).await;
        assert!(matches!(answer, Ok(true)) && times == 6, "{times}");
        let (answer, times) = attempts(u32::MAX, down()).await;
        assert!(answer.is_err() && times == MAX_ATTEMPTS, "{times}");
    }

    #[tokio::test]
    async fn a_permanent_error_is_not_retried() {
        let (answer, times) = attempts(1, StoreError::Closed).await;
        assert!(answer.is_err() && times == 1, "{times}");
    }
}
