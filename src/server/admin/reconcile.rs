//! Passes a comparison with Twilio's own records to the task that runs it.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Json};
use serde_json::Value;
use tokio::sync::oneshot;

use super::console::AdminState;
use super::error::AdminError;
use crate::server::shared::problem;

/// `POST /api/reconcile`: answers when the comparison has ended.
pub async fn reconcile(
    admin: Data<AdminState>,
    order: Json<Value>,
) -> Result<HttpResponse, AdminError> {
    let (answer, answered) = oneshot::channel();
    let order = (order.into_inner(), answer);
    let stopping = || problem(StatusCode::SERVICE_UNAVAILABLE, "the bridge is stopping");
    Ok(match admin.bridge.reconcile.send(order).await {
        Ok(()) => match answered.await {
            Ok(Ok(reports)) => HttpResponse::Ok().json(reports),
            Ok(Err(why)) => problem(StatusCode::CONFLICT, &why),
            Err(_) => stopping(),
        },
        Err(_) => stopping(),
    })
}
