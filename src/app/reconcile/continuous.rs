//! Compares again and again, and runs the comparisons that operators ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    AccountReport, HeldGaps, KnownStore, Mode, ReconcileError, ReconcileRequest, Reconciler,
    Reports, Result,
};
use crate::clock::Clock;
use crate::domain::reconcile::MissingCause;
use crate::server::shared::{BridgeParts, ReconcileOrder};
use crate::twilio_api::TwilioApiError;

/// A pass is followed by a pause of so many times its length: a large account slows it by itself.
const PAUSE_FACTOR: u32 = 4;

/// After a refused key, which may pass, or while another node compares.
const SOON: Duration = Duration::from_secs(20);

/// How often in a row a refused key is tried again soon.
const REFUSED_TRIES: u32 = 3;

/// Compares every `reconcile.every` and by order, until `stop`.
pub async fn run(
    parts: BridgeParts,
    mut orders: mpsc::Receiver<ReconcileOrder>,
    clock: Clock,
    stop: CancellationToken,
) {
    let settings = parts.config.borrow().reconcile.clone();
    // Also without `every`: Prometheus sees no increase from no series to the first missing call.
    for account in &parts.config.borrow().accounts {
        let label = &account.acquire_account_id;
        parts.metrics.reconcile_account(label, &MissingCause::ALL);
    }
    let mut next = clock.now();
    let mut refused = 0;
    loop {
        let due = async {
            match settings.every {
                Some(_) => clock.reach(next).await,
                None => std::future::pending().await,
            }
        };
        let turn = async {
            tokio::select! {
                order = orders.recv() => order,
                () = due => None,
            }
        };
        let order = tokio::select! {
            () = stop.cancelled() => return,
            order = turn => order,
        };
        let work = async {
            if let Some((request, answer)) = order {
                // Fails only if the operator no longer waits.
                let _ = answer.send(ordered(&parts, &clock, request).await);
                return None;
            }
            let started = Instant::now();
            let ended = pass(&parts, &clock).await;
            Some((ended, started.elapsed()))
        };
        let worked = tokio::select! {
            // Imported records stay; the next process starts at the watermark.
            () = stop.cancelled() => return,
            worked = work => worked,
        };
        let (Some((ended, took)), Some(every)) = (worked, settings.every) else {
            continue;
        };
        let is_refused = matches!(
            ended,
            Err(ReconcileError::Twilio(TwilioApiError::KeyRefused { .. }))
        );
        refused = if is_refused { refused + 1 } else { 0 };
        let is_soon =
            matches!(ended, Err(ReconcileError::Leased)) || (is_refused && refused < REFUSED_TRIES);
        let wait = if is_soon { SOON.min(every) } else { every };
        next = clock.now().plus(wait.max(took * PAUSE_FACTOR));
    }
}

async fn run_once(
    parts: &BridgeParts,
    clock: &Clock,
    request: &ReconcileRequest,
) -> Result<Vec<Result<AccountReport>>> {
    let config = Arc::clone(&parts.config.borrow());
    let store = Some(Arc::clone(&parts.store));
    let reconciler = Reconciler {
        store: KnownStore::open(&config.store.url, store).await?,
        config,
        clock: clock.clone(),
        metrics: Arc::clone(&parts.metrics),
    };
    let results = reconciler.run(request, &|_| {}).await;
    parts.due.notify_one();
    results
}

/// A pass over all accounts; the error is that of the last account that failed.
async fn pass(parts: &BridgeParts, clock: &Clock) -> Result<()> {
    let request = ReconcileRequest {
        from: None,
        until: None,
        account: None,
        calls: Vec::new(),
        mode: Mode::Import,
        held: HeldGaps::Keep,
    };
    let results = run_once(parts, clock, &request).await;
    let results = results.unwrap_or_else(|why| vec![Err(why)]);
    results.iter().for_each(log);
    let mut failed = results.into_iter().filter_map(Result::err);
    failed.next_back().map_or(Ok(()), Err)
}

async fn ordered(parts: &BridgeParts, clock: &Clock, request: Value) -> Result<Value, String> {
    let request: ReconcileRequest =
        serde_json::from_value(request).map_err(|why| why.to_string())?;
    let results = run_once(parts, clock, &request).await;
    let reports = results.map(Reports::of).map_err(|why| why.to_string())?;
    match reports.failed {
        Some(why) if reports.accounts.is_empty() => Err(why),
        _ => Ok(json!(reports)),
    }
}

fn log(result: &Result<AccountReport>) {
    let report = match result {
        Ok(report) => report,
        Err(why @ ReconcileError::Leased) => return debug!("reconcile: {why}"),
        Err(why @ (ReconcileError::Store(_) | ReconcileError::Spooled)) => {
            return warn!("reconcile: {why}; it continues later");
        }
        Err(why) => return error!("reconcile failed: {why}; it starts again at its watermark"),
    };
    let account = report.account_sid.as_str();
    let (missing, imported, held) = (report.missing(), report.imported(), report.held);
    if report.is_incomplete() {
        warn!(
            account,
            missing,
            imported,
            held,
            "reconcile: {missing} records were missing, {imported} were imported, {held} are \
             held; run `reconcile --dry-run` for details"
        );
    } else if imported > 0 {
        info!(
            account,
            imported, "reconcile: imported {imported} missing records from Twilio"
        );
    } else {
        debug!(account, "reconcile: every listed call is here");
    }
}
