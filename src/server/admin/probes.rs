//! What balancers and Prometheus ask. None of it depends on Acquire.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use super::console::AdminState;
use crate::server::callbacks::refusal::{AdminError, problem};

/// How long the disk may take to show that a callback could be kept.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The process answers.
pub async fn livez() -> &'static str {
    "alive\n"
}

/// Callbacks can be kept and the bridge is not stopping. Stays ready while Acquire is down: taking
/// the node out would only lose callbacks, since Twilio tries once.
pub async fn readyz(admin: Data<AdminState>) -> HttpResponse {
    let not_ready = |why: &str| problem(StatusCode::SERVICE_UNAVAILABLE, why);
    if admin.stop.is_cancelled() {
        return not_ready("the bridge is stopping");
    }
    match tokio::time::timeout(PING_TIMEOUT, admin.store.ping()).await {
        Ok(Ok(())) => HttpResponse::Ok().body("ready\n"),
        Ok(Err(why)) => {
            tracing::error!("not ready, the store cannot keep callbacks: {why}");
            not_ready("the store cannot keep callbacks; the log says why")
        }
        Err(_) => not_ready("the store did not commit within 2 s; look at the disk"),
    }
}

/// The text that Prometheus scrapes.
pub async fn metrics(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let counts = match admin.store.counts().await {
        Ok(counts) => Some(counts),
        Err(why) if why.is_away() => None,
        Err(why) => return Err(why.into()),
    };
    admin.metrics.spooled(admin.store.spooled().unwrap_or(0));
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(admin.metrics.exposition(counts.as_ref(), admin.clock.now())))
}
