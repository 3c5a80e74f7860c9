//! Probes for balancers and metrics for Prometheus. None depends on Acquire.

use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use tokio_util::sync::CancellationToken;

use super::console::AdminState;
use super::error::AdminError;
use crate::server::connections::{ConnectionState, OpenConnections};
use crate::server::shared::{BridgeParts, PING_TIMEOUT, problem};
use crate::telemetry::metrics::{MetricsFormat, timestamp};

/// The most operations that are counted, those that are not finished first.
const MAX_OPERATIONS: usize = 1_000;

/// `GET /livez`: the process answers.
pub async fn livez() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the store can record callbacks and the bridge is not stopping. Stays ready while
/// Acquire is down: without this node callbacks would be lost, because Twilio sends each once.
pub async fn readyz(admin: Data<AdminState>) -> HttpResponse {
    match readiness(&admin.bridge, &admin.stop).await {
        Ok(warning) => {
            let lines = ["ready".to_owned()].into_iter().chain(warning);
            let lines = lines.chain(full(&admin.public));
            HttpResponse::Ok()
                .content_type("text/plain; charset=utf-8")
                .body(lines.map(|line| line + "\n").collect::<String>())
        }
        Err(why) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// A warning about the store, if there is one; the error says why the bridge is not ready.
pub(super) async fn readiness(
    bridge: &BridgeParts,
    stop: &CancellationToken,
) -> Result<Option<String>, String> {
    if stop.is_cancelled() {
        return Err("the bridge is stopping".to_owned());
    }
    let store = &bridge.store;
    let pinged = tokio::time::timeout(PING_TIMEOUT, store.ping()).await;
    let warning = store.warning().map(|warning| warning.to_string());
    match pinged {
        Ok(Ok(())) => Ok(warning),
        Ok(Err(why)) => {
            tracing::error!("not ready, the store cannot record callbacks: {why}");
            let unknown = "the store cannot record callbacks; the log says why";
            Err(warning.unwrap_or_else(|| unknown.to_owned()))
        }
        Err(_) => {
            let unknown = || {
                format!(
                    "the store did not commit within {PING_TIMEOUT:?}; check the disk of store.url"
                )
            };
            Err(warning.unwrap_or_else(unknown))
        }
    }
}

/// A full listener stays ready: clients that keep their connections open would drain all nodes.
fn full(public: &OpenConnections) -> Option<String> {
    let (total, setting) = (public.limits.total, public.limits.total_setting);
    public.is_full().then(|| {
        format!(
            "the public listener is full: it has {total} connections ({setting}), and each \
             new client closes the one that has been idle or incomplete longest"
        )
    })
}

/// `GET /metrics`: the text that Prometheus scrapes, in the format that `Accept` selects.
pub async fn metrics(
    admin: Data<AdminState>,
    request: HttpRequest,
) -> Result<HttpResponse, AdminError> {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let format = MetricsFormat::accepted(accept.unwrap_or_default());
    let bridge = &admin.bridge;
    let metrics = &bridge.metrics;
    let is_ready = readiness(bridge, &admin.stop).await.is_ok();
    metrics.ready().set(is_ready.into());
    let counts = match bridge.store.counts().await {
        Ok(counts) => Some(counts),
        Err(why) if why.is_unavailable() => None,
        Err(why) => return Err(why.into()),
    };
    // While the database is down, the last value stays.
    if let Ok(causes) = bridge.store.parked().await {
        let retention = bridge.config.borrow().store.parked_retention;
        let first = causes.iter().map(|of| of.since.plus(retention)).min();
        let first = timestamp(first.unwrap_or_default());
        metrics.parked_next_expiry().set(first);
    }
    if let Ok(operations) = bridge.store.operations(MAX_OPERATIONS).await {
        metrics.count_operations(&operations);
    }
    metrics.spooled().set(bridge.store.spooled().unwrap_or(0));
    metrics.store_files(bridge.store.files());
    for (state, count) in ConnectionState::ALL.iter().zip(admin.public.counts()) {
        metrics.connections(state.as_str()).set(count as u64);
    }
    Ok(HttpResponse::Ok()
        .content_type(format.content_type())
        .body(metrics.exposition(counts.as_ref(), bridge.clock.now(), format)))
}
