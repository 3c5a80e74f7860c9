//! Compares again and again, and runs the comparisons that operators ask for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    AccountReport, HeldGaps, KnownStore, Mode, ReconcileError, ReconcileRequest, Reconciler,
};
use crate::clock::{Clock, Millis};
use crate::domain::reconcile::MissingCause;
use crate::server::shared::{BridgeParts, ReconcileOrder};
use crate::twilio::AccountSid;
use crate::twilio_api::TwilioApiError;

/// Each pass begins so long before the end of the last one.
const OVERLAP: Duration = Duration::from_secs(3_600);

const DAY: Duration = Duration::from_secs(86_400);

/// The second looks: the note of the last one, how often, and how far back. In rare cases a record takes
/// up to 14 days to become final (Twilio's error 20009). Each call is looked at once after 3 and once
/// after 14 days, so the window is longer by the time between two looks.
const SECOND_LOOKS: [(&str, Duration, Duration); 2] = [
    ("daily", DAY, Duration::from_secs((3 + 1) * 86_400)),
    (
        "weekly",
        Duration::from_secs(7 * 86_400),
        Duration::from_secs((14 + 7) * 86_400),
    ),
];

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
    if settings.every.is_some() {
        for account in &parts.config.borrow().accounts {
            let label = &account.acquire_account_id;
            parts.metrics.reconcile_account(label, &MissingCause::ALL);
        }
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
            // What was imported stays; the next process begins at the watermark.
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

fn reconciler(parts: &BridgeParts, clock: &Clock) -> Reconciler {
    Reconciler {
        config: Arc::clone(&parts.config.borrow()),
        store: KnownStore::Live(Arc::clone(&parts.store)),
        clock: clock.clone(),
        metrics: Arc::clone(&parts.metrics),
    }
}

/// A pass over all accounts; the error is that of the last account that failed.
async fn pass(parts: &BridgeParts, clock: &Clock) -> Result<(), ReconcileError> {
    let request = ReconcileRequest {
        from: None,
        until: None,
        account: None,
        calls: Vec::new(),
        mode: Mode::Import,
        held: HeldGaps::Keep,
    };
    let results = reconciler(parts, clock).run(&request, &|_| {}).await;
    parts.due.notify_one();
    let results = results.unwrap_or_else(|why| vec![Err(why)]);
    results.iter().for_each(log);
    let mut failed = results.into_iter().filter_map(Result::err);
    failed.next_back().map_or(Ok(()), Err)
}

async fn ordered(parts: &BridgeParts, clock: &Clock, request: Value) -> Result<Value, String> {
    let request: ReconcileRequest =
        serde_json::from_value(request).map_err(|why| why.to_string())?;
    let results = reconciler(parts, clock).run(&request, &|_| {}).await;
    parts.due.notify_one();
    let reports: Result<Vec<AccountReport>, ReconcileError> =
        results.and_then(|results| results.into_iter().collect());
    reports
        .map(|reports| json!(reports))
        .map_err(|why| why.to_string())
}

fn log(result: &Result<AccountReport, ReconcileError>) {
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

fn key(name: &str, account: &AccountSid) -> String {
    format!("{name}/{account}")
}

async fn time(reconciler: &Reconciler, key: &str) -> Result<Option<Millis>, ReconcileError> {
    let notes = reconciler.store.notes(key).await?.into_iter();
    Ok(notes
        .map(|(_, text)| text)
        .next()
        .and_then(|text| Millis::try_from(text).ok()))
}

/// Where a pass begins: before the watermark, or further back if a second look is due. Without a
/// watermark, at the first day of the store.
pub(super) async fn window_start(
    reconciler: &Reconciler,
    account: &AccountSid,
) -> Result<Millis, ReconcileError> {
    let now = reconciler.clock.now();
    let Some(watermark) = time(reconciler, &key("watermark", account)).await? else {
        return Ok(Millis(0));
    };
    let mut from = watermark.minus(OVERLAP);
    for (name, every, back) in SECOND_LOOKS {
        let last = time(reconciler, &key(name, account)).await?;
        if last.is_none_or(|last| now.since(last) >= every) {
            from = from.min(now.minus(back));
        }
    }
    Ok(from)
}

/// Notes the end of a whole pass from `from` on, and the second looks that it included.
pub(super) async fn note_window(
    reconciler: &Reconciler,
    account: &AccountSid,
    from: Millis,
    report: &AccountReport,
) -> Result<(), ReconcileError> {
    let (now, store) = (reconciler.clock.now(), &reconciler.store);
    let watermark = time(reconciler, &key("watermark", account)).await?;
    // A pass by hand over a short time leaves a gap before it. The first pass must have been cut at the
    // first day of the store, or at its retention.
    if watermark.map_or(report.from <= from, |watermark| watermark < from) {
        return Ok(());
    }
    let until = report.until.max(watermark.unwrap_or_default());
    store
        .note(key("watermark", account), Some(until.to_string()))
        .await?;
    for (name, _, back) in SECOND_LOOKS {
        if from <= now.minus(back).plus(OVERLAP) {
            store
                .note(key(name, account), Some(now.to_string()))
                .await?;
        }
    }
    Ok(())
}
