//! Parts that the listeners share with the rest of a running bridge, and helpers for their handlers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::uri::PathAndQuery;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::refusal_log::RefusalLog;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::call_addresses::SearchProgress;
use crate::domain::outage::Outages;
use crate::domain::plan::Rules;
use crate::net::tls::TlsError;
use crate::store::{HandOver, Store};
use crate::telemetry::metrics::Metrics;

/// How long `/readyz` waits for the store to show that it could record a callback.
pub const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address} ({key})")]
    Bind {
        /// The setting that names the address.
        key: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// An operator's request for a comparison with Twilio's own records, as JSON, and the receiver of its
/// result.
pub type ReconcileOrder = (Value, oneshot::Sender<Result<Value, String>>);

/// The parts that listeners, the delivery worker and background tasks of one bridge share.
#[derive(Clone)]
pub struct BridgeParts {
    /// The current configuration: a reload replaces it.
    pub config: watch::Receiver<Arc<Config>>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    /// The delivery worker writes them, the admin listener shows them.
    pub outages: Arc<Outages>,
    /// Notified when a call has become due.
    pub due: Arc<Notify>,
    /// To the delivery worker.
    pub hand_over: Arc<HandOver>,
    /// The current rules: the directory of e-mails may change without a reload.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Runs comparisons, one at a time.
    pub reconcile: mpsc::Sender<ReconcileOrder>,
    /// A background task writes it, the pages of calls show it.
    pub search_progress: Arc<SearchProgress>,
    /// Refusals of both listeners.
    pub refusals: Arc<RefusalLog>,
}

/// Path and query of a request, byte for byte: Twilio signs them as it sends them.
pub(super) fn target(request: &HttpRequest) -> &str {
    let target = request.uri().path_and_query();
    target.map_or("/", PathAndQuery::as_str)
}

/// A short `application/problem+json` (RFC 9457).
pub(super) fn problem(status: StatusCode, detail: &str) -> HttpResponse {
    let body = serde_json::json!({
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    HttpResponseBuilder::new(status)
        .content_type("application/problem+json")
        .body(body.to_string())
}
