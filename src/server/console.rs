//! The operator's pages and API.

use std::sync::Arc;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::error::problem;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::{Counts, Filter, State, Store, StoreError};
use crate::story::{Line, Story};
use crate::twilio::CallSid;

/// Calls on the overview, and the most that one API answer lists.
const PAGE: usize = 50;
const MOST: usize = 1000;

/// What the handlers of the operator's side share.
pub struct Admin {
    pub config: Arc<Config>,
    pub store: Arc<dyn Store>,
    /// Told when a call has become due.
    pub due: Arc<Notify>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Cancelled when the bridge is stopping.
    pub stop: CancellationToken,
}

impl Admin {
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        store: Arc<dyn Store>,
        due: Arc<Notify>,
        metrics: Arc<Metrics>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        Self {
            config,
            store,
            due,
            metrics,
            clock,
            stop,
        }
    }
}

/// Asks for `admin.token` where there is one: as `Bearer`, or as the password of `Basic`.
pub async fn authorized(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody, BoxBody>>, actix_web::Error> {
    let token = request
        .app_data::<Data<Admin>>()
        .and_then(|admin| admin.config.admin.token.clone());
    match token {
        Some(token) if !shows(request.headers(), &token) => {
            let mut answer = problem(StatusCode::UNAUTHORIZED, "admin.token is asked for here");
            let ask = "Basic realm=\"twilio-acquire-bridge\", charset=\"UTF-8\"";
            answer
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static(ask));
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

/// `GET /api/calls?state=parked&limit=50`: newest first.
pub async fn list(admin: Data<Admin>, query: Query<ListQuery>) -> HttpResponse {
    let filter = match filter(&query) {
        Ok(filter) => filter,
        Err(answer) => return answer,
    };
    match admin.store.list(filter).await {
        Ok(calls) => {
            let calls: Vec<Line> = calls.iter().map(Line::of).collect();
            HttpResponse::Ok().json(serde_json::json!({ "calls": calls }))
        }
        Err(why) => broken(&why),
    }
}

/// `GET /api/calls/{CallSid}`: the story of the call that the SID names, or of which it is a leg.
pub async fn show(admin: Data<Admin>, sid: Path<String>) -> HttpResponse {
    match story(&admin, &sid).await {
        Ok(story) => HttpResponse::Ok().json(story),
        Err(answer) => answer,
    }
}

/// `POST /api/calls/{CallSid}/requeue`: all of the call's requests are owed again, due now.
pub async fn requeue(request: HttpRequest, admin: Data<Admin>, sid: Path<String>) -> HttpResponse {
    if is_from_another_site(&request) {
        return problem(
            StatusCode::FORBIDDEN,
            "requests from pages of other sites are not taken",
        );
    }
    let sid = match known_form(&sid) {
        Ok(sid) => sid,
        Err(answer) => return answer,
    };
    match admin.store.requeue(&sid, admin.clock.now()).await {
        Ok(true) => {
            info!(call.sid = %sid, "call {sid} is requeued");
            admin.due.notify_one();
            HttpResponse::Accepted().json(serde_json::json!({ "requeued": sid.as_str() }))
        }
        Ok(false) => not_found(&sid),
        Err(why) => broken(&why),
    }
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
    states: [(&'static str, u64); 5],
    selected: Option<&'static str>,
    calls: Vec<Line>,
    now: String,
}

/// `GET /`: states and the latest calls.
pub async fn overview(admin: Data<Admin>, query: Query<ListQuery>) -> HttpResponse {
    let filter = match filter(&query) {
        Ok(filter) => Filter {
            limit: PAGE,
            ..filter
        },
        Err(answer) => return answer,
    };
    let read = async { Ok((admin.store.counts().await?, admin.store.list(filter).await?)) };
    match read.await {
        Ok((counts, calls)) => page(&OverviewPage {
            states: by_state(&counts),
            selected: filter.state.map(State::as_str),
            calls: calls.iter().map(Line::of).collect(),
            now: admin.clock.now().to_string(),
        }),
        Err(why) => broken(&why),
    }
}

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    story: Story,
    now: String,
}

/// `GET /calls/{CallSid}`: one call's story.
pub async fn call_page(admin: Data<Admin>, sid: Path<String>) -> HttpResponse {
    match story(&admin, &sid).await {
        Ok(story) => page(&CallPage {
            story,
            now: admin.clock.now().to_string(),
        }),
        Err(answer) => answer,
    }
}

async fn story(admin: &Admin, sid: &str) -> Result<Story, HttpResponse> {
    let sid = known_form(sid)?;
    match admin.store.get(&sid).await {
        Ok(Some(call)) => Ok(Story::of(&call, &admin.config.rules)),
        Ok(None) => Err(not_found(&sid)),
        Err(why) => Err(broken(&why)),
    }
}

fn known_form(sid: &str) -> Result<CallSid, HttpResponse> {
    CallSid::parse(sid).map_err(|why| problem(StatusCode::BAD_REQUEST, &format!("a CallSid {why}")))
}

fn filter(query: &ListQuery) -> Result<Filter, HttpResponse> {
    let state = match &query.state {
        None => None,
        Some(text) => Some(State::parse(text).ok_or_else(|| {
            let states = State::ALL.map(State::as_str).join(", ");
            problem(
                StatusCode::BAD_REQUEST,
                &format!("state must be one of {states}"),
            )
        })?),
    };
    Ok(Filter {
        state,
        limit: query.limit.unwrap_or(PAGE).min(MOST),
    })
}

fn by_state(counts: &Counts) -> [(&'static str, u64); 5] {
    State::ALL.map(|state| (state.as_str(), counts.in_state(state)))
}

fn page(template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(html) => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ))
            .insert_header(("Cache-Control", "no-store"))
            .body(html),
        Err(why) => {
            error!("failed to render a page: {why}");
            HttpResponse::InternalServerError().finish()
        }
    }
}

fn not_found(sid: &CallSid) -> HttpResponse {
    problem(
        StatusCode::NOT_FOUND,
        &format!("no callback of {sid} was recorded here"),
    )
}

fn broken(why: &StoreError) -> HttpResponse {
    error!("failed to read the store: {why}");
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "the store cannot be read; the log says why",
    )
}
