//! What the handlers of Twilio's side share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use tokio::sync::Notify;
use tracing::warn;

use super::error::Refusal;
use super::signed::Verifier;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{self, Metrics};
use crate::store::Store;

/// Verifies, keeps, counts; one for all HTTP workers.
pub struct Intake {
    pub verifier: Verifier,
    /// How long a body may take to arrive.
    pub request_timeout: Duration,
    pub store: Arc<dyn Store>,
    /// Told when a call has become due.
    pub due: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

impl Intake {
    #[must_use]
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        due: Arc<Notify>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        Self {
            verifier: Verifier::new(config),
            request_timeout: config.server.request_timeout,
            store,
            due,
            metrics,
            clock,
        }
    }

    /// Counts and logs a refusal, once. `account` is known once the signature held.
    pub fn refused(&self, request: &HttpRequest, account: Option<&str>, refusal: &Refusal) {
        let account = account.unwrap_or(metrics::UNKNOWN_ACCOUNT);
        let verdict = refusal.verdict();
        self.metrics.received(account, verdict);
        if verdict == metrics::Verdict::Forged {
            self.metrics.signature_failed(refusal.reason());
        }
        // Neither body nor query: both hold personal data.
        warn!(
            reason = refusal.reason(),
            account,
            client = request.peer_addr().map(|address| address.ip().to_string()),
            path = request.path(),
            "refused a request: {refusal}"
        );
    }
}
