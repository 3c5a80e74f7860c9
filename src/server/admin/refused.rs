//! The operator's page and API for refused requests: counted by cause, and the latest of one cause.

use std::num::NonZeroUsize;

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;

use super::console::{AdminState, page, page_size};
use super::error::AdminError;
use super::frame::Frame;
use crate::debugging::timeline::refused::{CauseLine, RefusedLine};
use crate::store::{RefusedCause, RefusedFilter};
use crate::telemetry::metrics::check_refusal_cause;

#[derive(Debug, Deserialize)]
pub struct RefusedQuery {
    cause: Option<String>,
    limit: Option<NonZeroUsize>,
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    causes: Vec<CauseLine>,
    selected: Option<String>,
    requests: Vec<RefusedLine>,
    frame: Frame,
}

/// `GET /refused?cause=no-match`: the number of requests per cause, and the latest of one cause.
pub async fn overview(
    admin: Data<AdminState>,
    query: Query<RefusedQuery>,
) -> Result<HttpResponse, AdminError> {
    let causes = causes(&admin).await?;
    let requests = match query.cause {
        Some(_) => latest(&admin, &query).await?,
        None => Vec::new(),
    };
    page(&RefusedPage {
        causes,
        selected: query.cause.clone(),
        requests,
        frame: Frame::of("/refused", admin.bridge.clock.now()),
    })
}

/// `GET /api/refused?cause=no-match&limit=50`: all causes, or the latest requests of one cause.
pub async fn list(
    admin: Data<AdminState>,
    query: Query<RefusedQuery>,
) -> Result<HttpResponse, AdminError> {
    let answer = match query.cause {
        Some(_) => serde_json::json!({ "refused": latest(&admin, &query).await? }),
        None => serde_json::json!({ "causes": causes(&admin).await? }),
    };
    Ok(HttpResponse::Ok().json(answer))
}

async fn causes(admin: &AdminState) -> Result<Vec<CauseLine>, AdminError> {
    let causes = admin.bridge.store.refused_by_cause().await?;
    let config = admin.bridge.config.borrow().clone();
    let line = |cause: &RefusedCause| {
        let names = config.accounts.iter().map(|of| &*of.acquire_account_id);
        let counted = admin.bridge.metrics.refusals(&cause.cause, names);
        CauseLine {
            counted: Some(counted).filter(|counted| *counted > cause.count),
            ..CauseLine::of(cause)
        }
    };
    Ok(causes.iter().map(line).collect())
}

async fn latest(admin: &AdminState, query: &RefusedQuery) -> Result<Vec<RefusedLine>, AdminError> {
    if let Some(cause) = &query.cause {
        check_refusal_cause(cause).map_err(AdminError::Query)?;
    }
    let filter = RefusedFilter {
        id: None,
        cause: query.cause.clone(),
        limit: page_size(query.limit),
    };
    let requests = admin.bridge.store.refused(filter).await?;
    Ok(requests.iter().map(RefusedLine::of).collect())
}
