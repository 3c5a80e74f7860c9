//! The parked calls by cause, as a page and JSON. The counts are kept, so that no request counts calls.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use serde::Serialize;

use super::console::{AdminState, page};
use super::error::AdminError;
use super::frame::Frame;
use crate::store::ParkedCause;

/// One cause, as a page and the API show it. Times are RFC 3339.
#[derive(Serialize)]
struct ParkedLine {
    cause: String,
    calls: u64,
    sentence: String,
    remedy: &'static str,
    since: String,
    latest: String,
    /// The `CallSid` of the last of them.
    example: String,
    /// When the first of them is removed.
    first_removed: String,
}

#[derive(Template)]
#[template(path = "parked.html")]
struct ParkedPage {
    causes: Vec<ParkedLine>,
    frame: Frame,
}

/// `GET /parked`: one entry for each cause, the most frequent first.
pub async fn overview(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    page(&ParkedPage {
        causes: causes(&admin).await?,
        frame: Frame::of("/parked", admin.bridge.clock.now()),
    })
}

/// `GET /api/parked`.
pub async fn list(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let causes = causes(&admin).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "causes": causes })))
}

async fn causes(admin: &AdminState) -> Result<Vec<ParkedLine>, AdminError> {
    let causes = admin.bridge.store.parked().await?;
    let retention = admin.bridge.config.borrow().store.parked_retention;
    let line = |of: &ParkedCause| ParkedLine {
        cause: of.cause.to_string(),
        calls: of.calls,
        sentence: of.cause.sentence(),
        remedy: of.cause.remedy(),
        since: of.since.to_string(),
        latest: of.latest.to_string(),
        example: of.example.to_string(),
        first_removed: of.since.plus(retention).to_string(),
    };
    Ok(causes.iter().map(line).collect())
}
