//! Keeps refused requests for diagnosis: a bounded buffer, written to the store once per second. A
//! request that does not fit is counted and dropped, so that a flood costs neither memory nor disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, ResponseError as _};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::refusal::RefusalError;
use crate::clock::{self, Millis};
use crate::config::Config;
use crate::server::shared::{BridgeParts, target};
use crate::store::{RefusedLimits, RefusedRequest};
use crate::telemetry::metrics::Metrics;
use crate::twilio::diagnosis::is_diagnostic_header;

/// Requests of one cause in the buffer. Each cause has its own share, so that a flood of one cause
/// does not displace another.
const MAX_PER_CAUSE: usize = 4;

/// Pause between two writes to the store.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Every so many flushes the store is called without new requests too, to remove expired ones.
const FLUSHES_PER_TRIM: u32 = 60;

/// Limits per request, in bytes; a larger part is cut off. Twilio's requests are below 2 KiB.
pub(super) const MAX_KEPT_BODY_BYTES: usize = 16 * 1024;
const MAX_KEPT_TARGET_BYTES: usize = 4 * 1024;
const MAX_HEADERS: usize = 16;
const MAX_HEADER_BYTES: usize = 1024;

/// Headers to keep, beside those that the diagnosis reads.
const KEPT_HEADERS: [&str; 5] = [
    "content-type",
    "x-twilio-signature",
    "i-twilio-idempotency-token",
    "user-agent",
    "x-forwarded-for",
];

/// Refused requests that wait for the next write to the store.
pub struct RefusedBuffer {
    requests: Mutex<Vec<RefusedRequest>>,
    metrics: Arc<Metrics>,
}

impl RefusedBuffer {
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            requests: Mutex::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Adds a request, or counts it as dropped. Calls `request` only if there is room, because making
    /// it copies the body.
    pub fn push(&self, cause: &str, request: impl FnOnce() -> RefusedRequest) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let same_cause = requests.iter().filter(|other| other.cause == cause).count();
        if same_cause < MAX_PER_CAUSE {
            requests.push(request());
        } else {
            self.metrics.refused_not_kept().inc();
        }
    }

    fn take_all(&self) -> Vec<RefusedRequest> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut requests)
    }

    /// Writes the buffer to the store once per second, and a last time after `ended`. Logs the number
    /// of repeated refusals meanwhile.
    pub async fn flush_until(&self, bridge: &BridgeParts, ended: &CancellationToken) {
        for flush in 0_u32.. {
            // Read before the write: a request that arrives after `ended` would be lost.
            let is_last = ended.is_cancelled();
            let requests = self.take_all();
            bridge.refusals.log_repeats(bridge.clock.now());
            if !requests.is_empty() || flush % FLUSHES_PER_TRIM == 0 {
                self.write(requests, bridge).await;
            }
            if is_last {
                return;
            }
            tokio::select! {
                () = ended.cancelled() => {}
                () = clock::pause(FLUSH_INTERVAL) => {}
            }
        }
    }

    async fn write(&self, requests: Vec<RefusedRequest>, bridge: &BridgeParts) {
        let count = requests.len();
        let settings = bridge.config.borrow().refused;
        let limits = RefusedLimits {
            most: settings.keep,
            retention: settings.retention,
        };
        let now = bridge.clock.now();
        if let Err(why) = bridge.store.refuse(requests, limits, now).await {
            self.metrics.refused_not_kept().inc_by(count as u64);
            warn!("failed to keep {count} refused requests: {why}");
        }
    }
}

/// The request as it arrived, cut to the limits.
pub fn refused_request(
    request: &HttpRequest,
    body: &Bytes,
    peer: Option<String>,
    refusal: &RefusalError,
    config: &Config,
    now: Millis,
) -> RefusedRequest {
    // Control characters could send commands to the terminal that shows the request.
    let target: String = target(request)
        .chars()
        .take(MAX_KEPT_TARGET_BYTES)
        .map(|char| if char.is_control() { '?' } else { char })
        .collect();
    let kept = &body[..body.len().min(MAX_KEPT_BODY_BYTES)];
    RefusedRequest {
        at: now,
        cause: refusal.reason().to_owned(),
        explanation: refusal.to_string(),
        status: refusal.status_code().as_u16(),
        peer: peer.unwrap_or_default(),
        method: request.method().to_string(),
        // Any public URL will do, because the signature matched none; there is at least one.
        url: config.server.public_urls[0].served_url(&target),
        target,
        headers: header_lines(request.headers()),
        // A slice of `body` would keep all of it in memory.
        body: Bytes::copy_from_slice(kept),
        body_bytes: content_length(request).max(body.len() as u64),
    }
}

/// The announced length of the body, of which only a part was read if it is refused.
fn content_length(request: &HttpRequest) -> u64 {
    let length = request.headers().get(CONTENT_LENGTH);
    let length: Option<u32> = length.and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or_default().into()
}

fn header_lines(headers: &HeaderMap) -> String {
    let is_kept = |name: &str| is_diagnostic_header(name) || KEPT_HEADERS.contains(&name);
    selected(headers, is_kept)
        .into_iter()
        .flat_map(|(name, value)| [name, ": ", value, "\n"])
        .collect()
}

/// The headers that `is_wanted` names, without oversized ones, at most [`MAX_HEADERS`].
pub fn selected(headers: &HeaderMap, is_wanted: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let mut selected: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| is_wanted(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .filter(|(_, value)| value.len() <= MAX_HEADER_BYTES)
        .collect();
    // The map's order is random. The sort is stable, so repeats of one name keep their order.
    selected.sort_by_key(|(name, _)| *name);
    selected.truncate(MAX_HEADERS);
    selected
}
