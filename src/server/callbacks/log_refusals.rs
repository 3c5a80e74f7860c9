//! Middleware that counts, logs and keeps each refused request. The answer is already made: nothing
//! here changes it.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, ResponseError as _};
use tracing::{error, info, warn};

use super::extract::RequestFacts;
use super::refusal::RefusalError;
use super::refused_buffer::refused_request;
use super::state::CallbackState;
use crate::domain::plain_text::cut;
use crate::server::client_ip;
use crate::server::refusal_log::MAX_LOGGED_PATH;
use crate::telemetry::logs::masked;
use crate::telemetry::metrics::UNKNOWN_ACCOUNT;

/// Wraps the routes of callbacks. Recordings log their own refusals.
pub async fn log_refusals<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let response = next.call(request).await?;
    let error = response.response().error();
    if let Some(refusal) = error.and_then(Error::as_error::<RefusalError>) {
        let request = response.request();
        if let Some(state) = request.app_data::<Data<CallbackState>>() {
            let facts = request.extensions().get::<Rc<RequestFacts>>().cloned();
            log(refusal, request, &facts.unwrap_or_default(), state);
        }
    }
    Ok(response)
}

fn log(refusal: &RefusalError, request: &HttpRequest, facts: &RequestFacts, state: &CallbackState) {
    let metrics = &state.bridge.metrics;
    let config = Arc::clone(&state.bridge.config.borrow());
    let now = state.bridge.clock.now();
    let reason = refusal.reason();
    let account = facts.sender.as_ref().map(|(account, _)| account.as_str());
    let account = account.unwrap_or(UNKNOWN_ACCOUNT);
    let client = client_ip::address(request, &config.server.trusted_proxies);

    metrics.received(account, reason).inc();
    let refused = || refused_request(request, &facts.body, client.clone(), refusal, &config, now);
    if refusal.has_hidden_cause() {
        // Counted as a signature failure once the cause is known.
        let diagnosis = &state.diagnosis;
        diagnosis.submit(request, &facts.body, reason, refused);
    } else if !matches!(refusal, RefusalError::HealthCheck) {
        if refusal.status_code() == StatusCode::FORBIDDEN {
            metrics.signature_failed(reason).inc();
        }
        state.refused.push(reason, refused);
    }
    let refusals = &state.bridge.refusals;
    if refusals.note(reason, client.as_deref(), now) > 0 {
        return;
    }
    let path = cut(request.path(), MAX_LOGGED_PATH);
    // A phone number is personal data. So are body and query, which are not logged at all.
    let from = facts.sender.as_ref().map(|(_, from)| masked(from));
    match refusal {
        RefusalError::Unavailable(why) => error!(
            reason,
            account, client, path, from, "refused a request: {refusal} ({why})"
        ),
        RefusalError::HealthCheck => {
            info!(reason, client, path, "refused a request: {refusal}");
        }
        _ => warn!(
            reason,
            account, client, path, from, "refused a request: {refusal}"
        ),
    }
}
