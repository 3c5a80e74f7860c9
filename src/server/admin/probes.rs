//! Probes for balancers and metrics for Prometheus. None depends on Acquire.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use super::console::AdminState;
use super::error::AdminError;
use crate::server::connections::{ConnectionState, OpenConnections};
use crate::server::shared::{PING_TIMEOUT, problem};

/// `GET /livez`: the process answers.
pub async fn livez() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the store can record callbacks and the bridge is not stopping. Stays ready while
/// Acquire is down: without this node callbacks would be lost, because Twilio sends each once.
pub async fn readyz(admin: Data<AdminState>) -> HttpResponse {
    let not_ready = |why: &str| problem(StatusCode::SERVICE_UNAVAILABLE, why);
    if admin.stop.is_cancelled() {
        return not_ready("the bridge is stopping");
    }
    let store = &admin.bridge.store;
    let pinged = tokio::time::timeout(PING_TIMEOUT, store.ping()).await;
    let warning = store.warning().map(|warning| warning.to_string());
    match pinged {
        Ok(Ok(())) => {
            let lines = ["ready".to_owned()].into_iter().chain(warning);
            let lines = lines.chain(full(&admin.public));
            HttpResponse::Ok().body(lines.map(|line| line + "\n").collect::<String>())
        }
        Ok(Err(why)) => {
            tracing::error!("not ready, the store cannot record callbacks: {why}");
            let unknown = "the store cannot record callbacks; the log says why";
            not_ready(warning.as_deref().unwrap_or(unknown))
        }
        Err(_) => {
            let unknown = format!(
                "the store did not commit within {PING_TIMEOUT:?}; check the disk of store.url"
            );
            not_ready(&warning.unwrap_or(unknown))
        }
    }
}

/// A full listener stays ready: clients that keep their connections open would drain all nodes.
fn full(public: &OpenConnections) -> Option<String> {
    let total = public.limits.total;
    public.is_full().then(|| {
        format!(
            "the public listener is full: it has {total} connections (server.max_connections), and each \
             new client closes the one that has been idle or incomplete longest"
        )
    })
}

/// `GET /metrics`: the text that Prometheus scrapes.
pub async fn metrics(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let bridge = &admin.bridge;
    let counts = match bridge.store.counts().await {
        Ok(counts) => Some(counts),
        Err(why) if why.is_unavailable() => None,
        Err(why) => return Err(why.into()),
    };
    // While the database is down, the last value stays.
    if let Ok(causes) = bridge.store.parked().await {
        let retention = bridge.config.borrow().store.parked_retention;
        let first = causes.iter().map(|of| of.since.plus(retention)).min();
        bridge.metrics.parked_next_expiry(first.unwrap_or_default());
    }
    bridge.metrics.spooled(bridge.store.spooled().unwrap_or(0));
    bridge.metrics.store_files(bridge.store.files());
    for (state, count) in ConnectionState::ALL.iter().zip(admin.public.counts()) {
        bridge.metrics.connections(state.as_str(), count);
    }
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(
            bridge
                .metrics
                .exposition(counts.as_ref(), bridge.clock.now()),
        ))
}
