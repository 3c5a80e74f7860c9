//! What the handlers of Twilio's side share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, ResponseError as _};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::diagnosis::SignatureDiagnosis;
use super::refusal::RefusalError;
use super::refused_buffer;
use super::signed_form::Verifier;
use crate::clock::Clock;
use crate::config::Config;
use crate::server::client_ip;
use crate::store::Store;
use crate::telemetry::logs::masked;
use crate::telemetry::metrics::{self, Metrics};

/// Verifies, keeps, counts; one for all HTTP workers.
pub struct CallbackState {
    /// As the configuration is now.
    pub verifier: watch::Receiver<Arc<Verifier>>,
    pub config: watch::Receiver<Arc<Config>>,
    /// How long a body may take to arrive.
    pub request_timeout: Duration,
    pub store: Arc<dyn Store>,
    /// Told when a call has become due.
    pub due: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Told of signatures that do not hold.
    pub doctor: SignatureDiagnosis,
}

impl CallbackState {
    #[must_use]
    pub fn new(
        config: watch::Receiver<Arc<Config>>,
        verifier: watch::Receiver<Arc<Verifier>>,
        store: Arc<dyn Store>,
        due: Arc<Notify>,
        metrics: Arc<Metrics>,
        clock: Clock,
        doctor: SignatureDiagnosis,
    ) -> Self {
        let request_timeout = config.borrow().server.request_timeout;
        Self {
            verifier,
            config,
            request_timeout,
            store,
            due,
            metrics,
            clock,
            doctor,
        }
    }

    /// Counts and logs a refusal, once. `form` is there once the signature held.
    pub fn refused(&self, request: &HttpRequest, form: Option<&Verified>, refusal: &RefusalError) {
        let body = form.map(|form| form.body.clone()).unwrap_or_default();
        self.refused_with(request, form, &body, refusal);
    }

    /// As [`CallbackState::refused`], with what was read of the body.
    pub fn refused_with(
        &self,
        request: &HttpRequest,
        form: Option<&Verified>,
        body: &Bytes,
        refusal: &RefusalError,
    ) {
        let account = form.map_or(metrics::UNKNOWN_ACCOUNT, |form| &form.account);
        let reason = refusal.reason();
        self.metrics.received(account, reason);
        // The doctor counts those that it takes, once it knows more.
        if refusal.status_code() == StatusCode::FORBIDDEN && !SignatureDiagnosis::takes(refusal) {
            self.metrics.signature_failed(reason);
        }
        // Neither body nor query: both hold personal data.
        let (path, from) = (request.path(), form.map(|form| masked(&form.from)));
        let client = client_ip::address(request, &self.config.borrow().server.trusted_proxies);
        self.doctor.submit(request, body, refusal, || {
            let config = Arc::clone(&self.config.borrow());
            let (client, now) = (client.clone(), self.clock.now());
            refused_buffer::as_it_arrived(request, body, client, refusal, &config, now)
        });
        if let RefusalError::Unavailable(why) = refusal {
            error!(
                reason,
                account, client, path, from, "refused a request: {refusal} ({why})"
            );
        } else {
            warn!(
                reason,
                account, client, path, from, "refused a request: {refusal}"
            );
        }
    }
}

/// What is known of a request whose signature held.
pub struct Verified {
    /// The `acquire_account_id`.
    pub account: String,
    pub from: String,
    pub body: Bytes,
}
