//! The handler of both callback routes: reads a signed form, records it and answers. It neither maps
//! a callback nor waits for its delivery.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use tracing::debug;

use super::refusal::RefusalError;
use super::signed_form::SignedForm;
use super::state::CallbackState;
use crate::server::shared::BridgeParts;
use crate::store::records::ends_canary;
use crate::store::{NewCallback, Recorded, SignedRequest, Store};
use crate::twilio::Evidence;
use crate::twilio::callback::{self, CallbackKind};
use crate::twilio::form::Form;

/// Twilio waits 15 s for an answer and sends a callback once, so the answer must come well before.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// `POST /twilio/voice/status` and `/twilio/voice/recording`: 204 once the callback is on disk, or was
/// there already.
pub async fn receive(
    kind: CallbackKind,
    form: SignedForm,
    state: Data<CallbackState>,
) -> Result<HttpResponse, RefusalError> {
    let (callback, evidence) = read(kind, &form.fields, form.request)?;
    // While the database is down, the spool stores a canary like any other callback.
    if matches!(
        ends_canary(&*state.bridge.store, &callback.leg).await,
        Ok(true)
    ) {
        return Ok(HttpResponse::NoContent().finish());
    }
    let recorded = record(callback, &state.bridge).await?;
    let metrics = &state.bridge.metrics;
    let took = form.received_at.elapsed();
    let now = state.bridge.clock.now();
    metrics.recorded(&form.account, recorded, evidence, took, now);
    Ok(HttpResponse::NoContent().finish())
}

fn read(
    kind: CallbackKind,
    fields: &Form,
    request: SignedRequest,
) -> Result<(NewCallback, Evidence), RefusalError> {
    // On the raw body: the decoded fields no longer show what was not UTF-8.
    callback::expect_utf8(&request.body)?;
    let email = callback::email(request.query())?;
    let callback = callback::parse(kind, fields, email)?;
    let evidence = callback.evidence();
    Ok((NewCallback::of(callback, request), evidence))
}

/// With the cause, if the store knows one.
fn late(store: &dyn Store) -> String {
    let cause = store.warning().map(|warning| format!(": {warning}"));
    format!(
        "no commit within {COMMIT_TIMEOUT:?}{}",
        cause.unwrap_or_default()
    )
}

async fn record(callback: NewCallback, bridge: &BridgeParts) -> Result<Recorded, RefusalError> {
    let key = callback.key.clone();
    let now = bridge.clock.now();
    let offer = bridge.hand_over.offer();
    let is_offered = offer.is_some();
    let recording = match offer {
        Some(offer) => bridge.store.record_for(callback, now, offer),
        None => bridge.store.record(callback, now),
    };
    let recorded = tokio::time::timeout(COMMIT_TIMEOUT, recording)
        .await
        .map_err(|_| RefusalError::Unavailable(late(&*bridge.store)))?
        .map_err(|why| RefusalError::Unavailable(why.to_string()))?;
    // A repeat makes nothing due. An offer that was not taken has woken the worker.
    if recorded == Recorded::New && !is_offered {
        bridge.due.notify_one();
    }
    debug!(callback.key = %key, "callback {key} is recorded ({})", recorded.as_str());
    Ok(recorded)
}
