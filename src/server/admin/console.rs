//! The operator's pages and API for calls, and the token that protects both.
//!
//! No page talks to Acquire: a requeue changes the store, and the worker sends.

use std::sync::Arc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::error::AdminError;
use crate::debugging::timeline::{CallLine, CallTimeline};
use crate::server::connections::OpenConnections;
use crate::server::shared::BridgeParts;
use crate::store::{ListFilter, State, StoreError};
use crate::twilio::CallSid;

/// Items on a page or in an API answer, unless `limit` is given.
pub(super) const PAGE_SIZE: usize = 50;
/// The largest `limit`.
pub(super) const MAX_PAGE_SIZE: usize = 1000;

/// State that the handlers of the admin listener share.
pub struct AdminState {
    pub bridge: BridgeParts,
    /// The connections of the public listener.
    pub public: Arc<OpenConnections>,
    /// Cancelled when the bridge is stopping.
    pub stop: CancellationToken,
}

/// Requires `admin.token`, if it is set: as `Bearer`, or as the password of `Basic` for browsers.
pub async fn authorize(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody, BoxBody>>, actix_web::Error> {
    let token = request
        .app_data::<Data<AdminState>>()
        .and_then(|admin| admin.bridge.config.borrow().admin.token.clone());
    match token {
        Some(token) if !has_token(request.headers(), &token) => {
            let answer = AdminError::NoToken.error_response();
            Ok(request.into_response(answer).map_into_right_body())
        }
        _ => Ok(next.call(request).await?.map_into_left_body()),
    }
}

fn has_token(headers: &HeaderMap, token: &SecretString) -> bool {
    let Some(value) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    // In constant time, so that response times do not reveal how many bytes were right.
    let is_token = |given: &[u8]| bool::from(given.ct_eq(token.expose_secret().as_bytes()));
    match value.split_once(' ') {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => {
            is_token(given.as_bytes())
        }
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = STANDARD.decode(pair.trim()).unwrap_or_default();
            // The user name is ignored: browsers ask for one, and there is a single token.
            pair.iter()
                .position(|b| *b == b':')
                .is_some_and(|colon| is_token(&pair[colon + 1..]))
        }
        _ => false,
    }
}

#[derive(Debug, Deserialize)]
pub struct ListQuery {
    state: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/calls?state=parked&limit=50`, in the order of [`ListFilter`].
pub async fn list(
    admin: Data<AdminState>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, AdminError> {
    let calls = admin.bridge.store.list(query.filter()?).await?;
    let calls: Vec<CallLine> = calls.iter().map(CallLine::of).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "calls": calls })))
}

/// `GET /api/calls/{CallSid}`: the timeline of a call, found by its SID or the SID of a leg.
pub async fn show(admin: Data<AdminState>, sid: Path<String>) -> Result<HttpResponse, AdminError> {
    Ok(HttpResponse::Ok().json(timeline(&admin, &sid).await?))
}

/// `POST /api/calls/{CallSid}/requeue`: queues a call for delivery again, behind new calls.
pub async fn requeue(
    request: HttpRequest,
    admin: Data<AdminState>,
    sid: Path<String>,
) -> Result<HttpResponse, AdminError> {
    if is_from_another_site(&request) {
        return Err(AdminError::AnotherSite);
    }
    let sid = CallSid::parse(&sid)?;
    let bridge = &admin.bridge;
    if !bridge.store.requeue(&sid, bridge.clock.now()).await? {
        return Err(AdminError::UnknownCall(sid));
    }
    info!(call.sid = %sid, "call {sid} is requeued");
    bridge.due.notify_one();
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "requeued": sid.as_str() })))
}

/// Browsers send `Sec-Fetch-Site`; programs do not. Without this check any web page could requeue
/// calls, because a browser sends the token that it remembers.
pub(super) fn is_from_another_site(request: &HttpRequest) -> bool {
    request
        .headers()
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none")
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    /// Unknown while the database is down.
    states: [(&'static str, Option<u64>); 5],
    /// Callbacks in the spool, while the database is down.
    spooled: Option<u64>,
    selected: Option<&'static str>,
    calls: Vec<CallLine>,
    now: String,
}

/// `GET /`: calls per state and the latest calls; while the database is down, the calls in the spool.
pub async fn overview(
    admin: Data<AdminState>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, AdminError> {
    let filter = query.filter()?;
    let store = &admin.bridge.store;
    let (counts, spooled) = match (store.counts().await, store.spooled()) {
        (Err(StoreError::Unavailable(_)), Some(spooled)) => (None, Some(spooled)),
        (counts, _) => (Some(counts?), None),
    };
    let calls = store.list(filter).await?;
    page(&OverviewPage {
        states: State::ALL.map(|state| {
            let calls = counts.as_ref().map(|counts| counts.in_state(state));
            (state.as_str(), calls)
        }),
        spooled,
        selected: filter.state.map(State::as_str),
        calls: calls.iter().map(CallLine::of).collect(),
        now: admin.bridge.clock.now().to_string(),
    })
}

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    timeline: CallTimeline,
    now: String,
}

/// `GET /calls/{CallSid}`: the timeline of a call.
pub async fn call_page(
    admin: Data<AdminState>,
    sid: Path<String>,
) -> Result<HttpResponse, AdminError> {
    let timeline = timeline(&admin, &sid).await?;
    let now = admin.bridge.clock.now().to_string();
    page(&CallPage { timeline, now })
}

async fn timeline(admin: &AdminState, sid: &str) -> Result<CallTimeline, AdminError> {
    let bridge = &admin.bridge;
    let sid = CallSid::parse(sid)?;
    let call = bridge.store.get(&sid).await?;
    let call = call.ok_or(AdminError::UnknownCall(sid))?;
    let rules = Arc::clone(&bridge.rules.borrow());
    let config = Arc::clone(&bridge.config.borrow());
    let account = config.account(&call.summary.account);
    let outage = account.and_then(|account| bridge.outages.of(&account.acquire_account_id));
    Ok(CallTimeline::of(&call, &rules, outage, bridge.clock.now()))
}

impl ListQuery {
    fn filter(&self) -> Result<ListFilter, AdminError> {
        let parse = |text: &String| State::parse(text).ok_or(AdminError::UnknownState);
        Ok(ListFilter {
            state: self.state.as_ref().map(parse).transpose()?,
            limit: self.limit.unwrap_or(PAGE_SIZE).min(MAX_PAGE_SIZE),
        })
    }
}

/// Renders a page. Its policy forbids scripts and foreign content, because requests of strangers are
/// shown on it.
pub(super) fn page(template: &impl Template) -> Result<HttpResponse, AdminError> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("Content-Security-Policy", policy))
        .insert_header(("Cache-Control", "no-store"))
        .body(template.render()?))
}
