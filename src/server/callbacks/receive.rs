//! The hot handler: a signed form is read, recorded, answered.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use tracing::debug;

use super::refusal::RefusalError;
use super::signed_form::SignedForm;
use super::state::{CallbackState, Verified};
use crate::store::{NewCallback, Recorded};
use crate::twilio::callback::{self, CallbackKind};

/// Twilio gives up after 15 s and tries once, so an answer must come well before.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// `POST /twilio/voice/status` and `/twilio/voice/recording`: 204 once the callback is on disk, or was
/// there already.
pub async fn callback(
    request: HttpRequest,
    form: SignedForm,
    intake: Data<CallbackState>,
) -> Result<HttpResponse, RefusalError> {
    let began = form.began;
    let verified = Verified {
        account: form.account.clone(),
        from: form.field("From").unwrap_or_default().to_owned(),
        body: form.request.body.clone(),
    };
    let refused = |refusal: &RefusalError| intake.refused(&request, Some(&verified), refusal);
    let callback = read(form).inspect_err(refused)?;
    let recorded = record(callback, &intake).await.inspect_err(refused)?;
    intake
        .metrics
        .received(&verified.account, recorded.as_str());
    intake.metrics.acknowledged_after(began.elapsed());
    Ok(HttpResponse::NoContent().finish())
}

fn read(form: SignedForm) -> Result<NewCallback, RefusalError> {
    callback::expect_utf8(&form.request.body)?;
    let email = callback::email(form.request.query())?;
    let callback = callback::parse(CallbackKind::of_url(&form.request.url), &form.fields, email)?;
    Ok(NewCallback::of(callback, form.request))
}

async fn record(callback: NewCallback, intake: &CallbackState) -> Result<Recorded, RefusalError> {
    let key = callback.key.clone();
    let recording = intake.store.record(callback, intake.clock.now());
    let recorded = tokio::time::timeout(COMMIT_TIMEOUT, recording)
        .await
        .map_err(|_| RefusalError::Unavailable(format!("no commit within {COMMIT_TIMEOUT:?}")))?
        .map_err(|why| RefusalError::Unavailable(why.to_string()))?;
    if recorded == Recorded::New {
        intake.due.notify_one();
    }
    debug!(callback.key = %key, "callback {key} is recorded ({})", recorded.as_str());
    Ok(recorded)
}
