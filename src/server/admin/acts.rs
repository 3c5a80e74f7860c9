//! The acts of operators on one call. No route talks to Acquire: a requeue changes the store, and the worker
//! sends.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Bytes, Data, Form, Path};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing::info;

use super::console::AdminState;
use super::error::{AdminError, Traces};
use super::sign_in::User;
use crate::domain::audit::{Reason, ReasonError};
use crate::store::Dismissal;
use crate::twilio::CallSid;

/// The body of a request, which may be empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    reason: Option<String>,
}

impl Why {
    fn read(body: &[u8]) -> Result<Option<Reason>, AdminError> {
        let why: Self = read_json(body)?;
        Ok(why.reason.as_deref().map(Reason::parse).transpose()?)
    }
}

/// Reads the body of a request; an empty one is `{}`.
pub(super) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|why| AdminError::Query(format!("the body is not as expected: {why}")))
}

/// `POST /api/calls/{CallSid}/requeue`: queues a call for delivery again, behind new calls.
pub async fn requeue(
    admin: Data<AdminState>,
    user: User,
    sid: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, AdminError> {
    let sid = CallSid::parse(&sid)?;
    let reason = Why::read(&body)?;
    requeue_call(&admin, user, &sid, reason).await?;
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "requeued": sid.as_str() })))
}

/// Requeues a call and wakes the worker.
pub(super) async fn requeue_call(
    admin: &AdminState,
    user: User,
    sid: &CallSid,
    reason: Option<Reason>,
) -> Result<(), AdminError> {
    let bridge = &admin.bridge;
    let now = bridge.clock.now();
    if !bridge.store.requeue(sid, user.actor, reason, now).await? {
        return Err(AdminError::UnknownCall(sid.clone(), Traces::default()));
    }
    info!(call.sid = %sid, "call {sid} is requeued");
    bridge.due.notify_one();
    Ok(())
}

/// The act of a form.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CallAct {
    Requeue,
    Dismiss,
}

/// The form on the page of a call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallForm {
    act: CallAct,
    #[serde(default)]
    reason: String,
}

/// `POST /calls/{CallSid}`: answers with the page itself.
pub async fn call_form(
    admin: Data<AdminState>,
    user: User,
    sid: Path<String>,
    form: Form<CallForm>,
) -> Result<HttpResponse, AdminError> {
    let sid = CallSid::parse(&sid)?;
    let reason = Some(form.reason.trim()).filter(|text| !text.is_empty());
    let reason = reason.map(Reason::parse).transpose()?;
    match form.act {
        CallAct::Requeue => requeue_call(&admin, user, &sid, reason).await?,
        CallAct::Dismiss => {
            let reason = reason.ok_or(ReasonError::Missing)?;
            dismiss_call(&admin, user, &sid, reason).await?;
        }
    }
    Ok(see_other(&format!("/calls/{sid}")))
}

/// After a form, so that a reload of the page sends nothing again.
pub(super) fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, path))
        .finish()
}

/// `POST /api/calls/{CallSid}/dismiss`: decides that a parked call is not sent.
pub async fn dismiss(
    admin: Data<AdminState>,
    user: User,
    sid: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, AdminError> {
    let sid = CallSid::parse(&sid)?;
    let reason = Why::read(&body)?.ok_or(ReasonError::Missing)?;
    dismiss_call(&admin, user, &sid, reason).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "dismissed": sid.as_str() })))
}

/// Dismisses a parked call.
pub(super) async fn dismiss_call(
    admin: &AdminState,
    user: User,
    sid: &CallSid,
    reason: Reason,
) -> Result<(), AdminError> {
    let bridge = &admin.bridge;
    let now = bridge.clock.now();
    match bridge.store.dismiss(sid, user.actor, reason, now).await? {
        Dismissal::Unknown => Err(AdminError::UnknownCall(sid.clone(), Traces::default())),
        Dismissal::NotParked(state) => Err(AdminError::NotParked(state)),
        Dismissal::Dismissed => {
            info!(call.sid = %sid, "call {sid} is dismissed");
            Ok(())
        }
    }
}
