//! The hot handler: a signed form is read, recorded, answered.

use std::time::{Duration, Instant};

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use tracing::{debug, error};

use super::error::Refusal;
use super::intake::Intake;
use super::signed::SignedForm;
use crate::metrics::Verdict;
use crate::store::{NewCallback, Recorded};
use crate::twilio::callback::{self, Form};

/// Twilio gives up after 15 s and tries once, so an answer must come well before.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// `POST /twilio/voice/status` and `/twilio/voice/recording`: 204 once the callback is on disk, or was
/// there already.
pub async fn callback(
    request: HttpRequest,
    form: SignedForm,
    intake: Data<Intake>,
) -> Result<HttpResponse, Refusal> {
    let began = Instant::now();
    let account = form.account.clone();
    let recorded = record(form, &intake)
        .await
        .inspect_err(|refusal| intake.refused(&request, Some(&account), refusal))?;
    intake.metrics.received(
        &account,
        match recorded {
            Recorded::New => Verdict::New,
            Recorded::Repeated => Verdict::Repeated,
        },
    );
    intake.metrics.acknowledged_after(began.elapsed());
    Ok(HttpResponse::NoContent().finish())
}

async fn record(form: SignedForm, intake: &Intake) -> Result<Recorded, Refusal> {
    let callback = read(form)?;
    let key = callback.key.clone();
    let recording = intake.store.record(callback, intake.clock.now());
    let recorded = match tokio::time::timeout(COMMIT_TIMEOUT, recording).await {
        Ok(Ok(recorded)) => recorded,
        Ok(Err(why)) => {
            error!(callback.key = %key, "failed to record callback {key}: {why}");
            return Err(Refusal::Unavailable);
        }
        Err(_) => {
            error!(
                callback.key = %key,
                "failed to record callback {key}: no commit within {COMMIT_TIMEOUT:?}"
            );
            return Err(Refusal::Unavailable);
        }
    };
    if recorded == Recorded::New {
        intake.due.notify_one();
    }
    debug!(callback.key = %key, "callback {key} is recorded ({recorded:?})");
    Ok(recorded)
}

fn read(form: SignedForm) -> Result<NewCallback, Refusal> {
    callback::expect_utf8(&form.request.body)?;
    let email = callback::email(form.request.query())?;
    let callback = callback::parse(Form::at(&form.request.url), &form.fields, email)?;
    Ok(NewCallback {
        call: callback.call().clone(),
        key: callback.key(),
        account: callback.account,
        leg: callback.leg,
        request: form.request,
    })
}
