//! Keeps what was refused as evidence, behind the answers: a bounded tray, emptied into the store
//! once in a second. What does not fit is counted and dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, ResponseError as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::refusal::RefusalError;
use crate::clock::{self, Clock, Millis};
use crate::config::Config;
use crate::server::target;
use crate::store::{RefusedLimits, RefusedRequest, Store};
use crate::telemetry::metrics::Metrics;
use crate::twilio::diagnosis::is_telling;

/// The most of one cause that wait: each has its own places, whatever floods the others.
const MAX_PER_CAUSE: usize = 4;

/// Between two writes.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// So often what is past its time is removed though nothing new was refused, in [`FLUSH_INTERVAL`]s.
const TRIM_EVERY: u32 = 60;

/// More than these of a request is cut off; what Twilio sends is below 2 KiB.
const MAX_BODY: usize = 16 * 1024;
const MAX_TARGET: usize = 4 * 1024;
const MAX_HEADERS: usize = 16;
const MAX_HEADER_BYTES: usize = 1024;

/// Kept beside what tells of proxies.
const KEPT_HEADERS: [&str; 5] = [
    "content-type",
    "x-twilio-signature",
    "i-twilio-idempotency-token",
    "user-agent",
    "x-forwarded-for",
];

/// Where refused requests wait to be kept.
pub struct RefusedBuffer {
    waiting: Mutex<Vec<RefusedRequest>>,
    metrics: Arc<Metrics>,
}

impl RefusedBuffer {
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Takes a request, or counts that it did not. It is made only where there is a place for it.
    pub fn push(&self, cause: &str, request: impl FnOnce() -> RefusedRequest) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = waiting.iter().filter(|other| other.cause == cause).count();
        if alike < MAX_PER_CAUSE {
            waiting.push(request());
        } else {
            self.metrics.refused_not_kept(1);
        }
    }

    fn take(&self) -> Vec<RefusedRequest> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting)
    }
}

/// A refused request as it arrived, from whom.
pub fn as_it_arrived(
    request: &HttpRequest,
    body: &Bytes,
    peer: Option<String>,
    refusal: &RefusalError,
    config: &Config,
    now: Millis,
) -> RefusedRequest {
    let target = target(request).chars().take(MAX_TARGET);
    // Shown on terminals, which some of them would command.
    let target: String = target
        .map(|char| if char.is_control() { '?' } else { char })
        .collect();
    let kept = &body[..body.len().min(MAX_BODY)];
    RefusedRequest {
        at: now,
        cause: refusal.reason().to_owned(),
        explanation: refusal.to_string(),
        status: refusal.status_code().as_u16(),
        peer: peer.unwrap_or_default(),
        method: request.method().to_string(),
        url: config.server.public_urls[0].signed_url(&target),
        target,
        headers: headers(request.headers()),
        // A part of a large body would keep all of it.
        body: Bytes::copy_from_slice(kept),
        body_bytes: body.len() as u64,
    }
}

fn headers(headers: &HeaderMap) -> String {
    let kept = some_of(headers, |name| {
        is_telling(name) || KEPT_HEADERS.contains(&name)
    });
    let lines = kept.into_iter();
    lines
        .flat_map(|(name, value)| [name, ": ", value, "\n"])
        .collect()
}

/// Those that matter, no more and no larger ones than are worth a look.
pub fn some_of(headers: &HeaderMap, matters: impl Fn(&str) -> bool) -> Vec<(&str, &str)> {
    let mut some: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| matters(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .filter(|(_, value)| value.len() <= MAX_HEADER_BYTES)
        .collect();
    // They come in the order of a hash; those of one name keep theirs.
    some.sort_by_key(|(name, _)| *name);
    some.truncate(MAX_HEADERS);
    some
}

/// Empties the tray, for the last time once nobody lays anything into it any more.
pub async fn keep(
    tray: &RefusedBuffer,
    store: Arc<dyn Store>,
    config: watch::Receiver<Arc<Config>>,
    clock: Clock,
    ended: &CancellationToken,
) {
    for turn in 0_u32.. {
        let is_last = ended.is_cancelled();
        let requests = tray.take();
        let count = requests.len();
        if count > 0 || turn % TRIM_EVERY == 0 {
            let settings = config.borrow().refused;
            let keep = RefusedLimits {
                most: settings.keep,
                retention: settings.retention,
            };
            if let Err(why) = store.refuse(requests, keep, clock.now()).await {
                tray.metrics.refused_not_kept(count);
                warn!("failed to keep {count} refused requests: {why}");
            }
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
