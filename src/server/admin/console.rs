//! The operator's pages and API.

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
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::clock::Clock;
use crate::config::Config;
use crate::debugging::timeline::{CallLine, CallTimeline};
use crate::domain::plan::Rules;
use crate::server::callbacks::refusal::AdminError;
use crate::store::{ListFilter, State, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::twilio::CallSid;

/// Calls on the overview, and the most that one API answer lists.
pub(crate) const PAGE_SIZE: usize = 50;
pub(crate) const MAX_PAGE_SIZE: usize = 1000;

/// What the handlers of the operator's side share.
pub struct AdminState {
    pub config: watch::Receiver<Arc<Config>>,
    pub store: Arc<dyn Store>,
    /// Told when a call has become due.
    pub due: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// As they stand now: the directory may change.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Cancelled when the bridge is stopping.
    pub stop: CancellationToken,
}

/// Asks for `admin.token` where there is one: as `Bearer`, or as the password of `Basic`.
pub async fn authorized(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody, BoxBody>>, actix_web::Error> {
    let token = request
        .app_data::<Data<AdminState>>()
        .and_then(|admin| admin.config.borrow().admin.token.clone());
    match token {
        Some(token) if !shows(request.headers(), &token) => {
            let answer = AdminError::NoToken.error_response();
            Ok(request.into_response(answer).map_into_right_body())
        }
        _ => Ok(next.call(request).await?.map_into_left_body()),
    }
}

fn shows(headers: &HeaderMap, token: &SecretString) -> bool {
    let Some(value) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let same = |shown: &[u8]| bool::from(shown.ct_eq(token.expose_secret().as_bytes()));
    match value.split_once(' ') {
        Some((scheme, shown)) if scheme.eq_ignore_ascii_case("bearer") => same(shown.as_bytes()),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = STANDARD.decode(pair.trim()).unwrap_or_default();
            pair.iter()
                .position(|b| *b == b':')
                .is_some_and(|colon| same(&pair[colon + 1..]))
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
    let calls = admin.store.list(query.filter()?).await?;
    let calls: Vec<CallLine> = calls.iter().map(CallLine::of).collect();
    Ok(HttpResponse::Ok().json(serde_json::json!({ "calls": calls })))
}

/// `GET /api/calls/{CallSid}`: the story of the call that the SID names, or of which it is a leg.
pub async fn show(admin: Data<AdminState>, sid: Path<String>) -> Result<HttpResponse, AdminError> {
    Ok(HttpResponse::Ok().json(story(&admin, &sid).await?))
}

/// `POST /api/calls/{CallSid}/requeue`: all of the call's requests are owed again, behind fresh calls.
pub async fn requeue(
    request: HttpRequest,
    admin: Data<AdminState>,
    sid: Path<String>,
) -> Result<HttpResponse, AdminError> {
    if is_from_another_site(&request) {
        return Err(AdminError::AnotherSite);
    }
    let sid = CallSid::parse(&sid)?;
    if !admin.store.requeue(&sid, admin.clock.now()).await? {
        return Err(AdminError::UnknownCall(sid));
    }
    info!(call.sid = %sid, "call {sid} is requeued");
    admin.due.notify_one();
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "requeued": sid.as_str() })))
}

/// A browser says where a request comes from; programs do not. Without a token, or with one that
/// the browser remembers, any page could otherwise requeue calls.
fn is_from_another_site(request: &HttpRequest) -> bool {
    request
        .headers()
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none")
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    /// Not known while the database is away.
    states: [(&'static str, Option<u64>); 5],
    /// Callbacks in the spool, while the database is away.
    spooled: Option<u64>,
    selected: Option<&'static str>,
    calls: Vec<CallLine>,
    now: String,
}

/// `GET /`: states and the latest calls; while the database is away, those in the spool.
pub async fn overview(
    admin: Data<AdminState>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, AdminError> {
    let filter = query.filter()?;
    let (counts, spooled) = match (admin.store.counts().await, admin.store.spooled()) {
        (Err(StoreError::Away(_)), Some(spooled)) => (None, Some(spooled)),
        (counts, _) => (Some(counts?), None),
    };
    let calls = admin.store.list(filter).await?;
    page(&OverviewPage {
        states: State::ALL.map(|state| {
            let calls = counts.as_ref().map(|counts| counts.in_state(state));
            (state.as_str(), calls)
        }),
        spooled,
        selected: filter.state.map(State::as_str),
        calls: calls.iter().map(CallLine::of).collect(),
        now: admin.clock.now().to_string(),
    })
}

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    story: CallTimeline,
    now: String,
}

/// `GET /calls/{CallSid}`: one call's story.
pub async fn call_page(
    admin: Data<AdminState>,
    sid: Path<String>,
) -> Result<HttpResponse, AdminError> {
    let story = story(&admin, &sid).await?;
    let now = admin.clock.now().to_string();
    page(&CallPage { story, now })
}

async fn story(admin: &AdminState, sid: &str) -> Result<CallTimeline, AdminError> {
    let sid = CallSid::parse(sid)?;
    let call = admin.store.get(&sid).await?;
    let call = call.ok_or(AdminError::UnknownCall(sid))?;
    let rules = Arc::clone(&admin.rules.borrow());
    let config = Arc::clone(&admin.config.borrow());
    let account = config.account(&call.summary.account);
    let outage = account.and_then(|account| admin.metrics.outages.of(&account.acquire_account_id));
    Ok(CallTimeline::of(&call, &rules, outage, admin.clock.now()))
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

pub(crate) fn page(template: &impl Template) -> Result<HttpResponse, AdminError> {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                  form-action 'none'; frame-ancestors 'none'";
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("Content-Security-Policy", policy))
        .insert_header(("Cache-Control", "no-store"))
        .body(template.render()?))
}
