//! Middleware of the admin listener: checks each request before its route, and shows errors to browsers
//! as pages.
//!
//! It checks the host, the origin, who the user is, and whether the user's role may do it. The probes are
//! open, because balancers send no token.

use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Data;
use askama::Template as _;
use tokio::sync::Semaphore;
use tracing::warn;

use super::console::AdminState;
use super::error::AdminError;
use super::error_page::ErrorPage;
use super::sign_in::{self, User};
use super::{masking, site};
use crate::clock;
use crate::config::Role;

/// Routes that need neither a known host nor a token.
pub(super) const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Wrong tokens of one client in a minute that are answered at once.
const FAST_REFUSALS: u64 = 5;

/// Delay of the answer to each further one. It occupies no thread.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// Answers that may be delayed at the same time; further wrong tokens get 429.
static DELAYED: Semaphore = Semaphore::const_new(64);

/// Headers of every response. The pages show requests of strangers, so a browser must run no script and
/// load nothing that is not the bridge's. With `no-referrer`, Chromium would send `Origin: null` with
/// the forms of the pages themselves.
const SAFETY_HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Middleware of all admin routes.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (user, refused) = match admit(&request).await {
        Ok(user) => {
            let refused = user.as_ref().and_then(|user| forbidden(&request, user));
            (user, refused)
        }
        Err(why) => (None, Some(why)),
    };
    sign_in::as_user(user, answer(request, refused, next)).await
}

async fn answer(
    request: ServiceRequest,
    refused: Option<AdminError>,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_browser = accepts_html(request.headers());
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = match refused {
        Some(why) => request.error_response(why),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    if is_browser {
        response = unless_known(known.as_ref(), with_error_page(response));
    }
    let is_viewer = sign_in::current().is_some_and(|user| user.role == Role::Viewer);
    // The description has no calls, but fields with the names of raw ones.
    if is_viewer && response.request().path() != "/api/openapi.json" {
        response = masking::for_viewers(response).await;
    }
    for (name, value) in SAFETY_HEADERS {
        let headers = response.headers_mut();
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}

/// The script of a page asks for it every few seconds; one that has not changed is not sent.
fn unless_known(
    known: Option<&HeaderValue>,
    response: ServiceResponse<BoxBody>,
) -> ServiceResponse<BoxBody> {
    if known.is_none() || response.headers().get(header::ETAG) != known {
        return response;
    }
    response.map_body(|head, _| {
        head.status = StatusCode::NOT_MODIFIED;
        BoxBody::new(())
    })
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT);
    accepted.any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// Programs get `application/problem+json`; a browser would show it as text or offer it for saving.
fn with_error_page(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let error = response.response().error();
    let Some(why) = error.and_then(|error| error.as_error::<AdminError>()) else {
        return response;
    };
    match ErrorPage::of(why).render() {
        Ok(page) => response.map_body(|head, _| {
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            head.headers.insert(header::CONTENT_TYPE, html);
            BoxBody::new(page)
        }),
        Err(_) => response,
    }
}

/// The user of a request, unless it is refused before its route; probes need none. A refusal is counted,
/// and logged once a minute.
async fn admit(request: &ServiceRequest) -> Result<Option<User>, AdminError> {
    let Some(admin) = request.app_data::<Data<AdminState>>() else {
        return Ok(None);
    };
    if PROBES.contains(&request.path()) {
        return Ok(None);
    }
    let bridge = &admin.bridge;
    let settings = bridge.config.borrow().admin.clone();
    let user = site::check(request.head(), &settings.hosts)
        .and_then(|()| sign_in::user(request, &settings));
    let why = match user {
        Ok(user) => return Ok(Some(user)),
        Err(why) => why,
    };
    let Some(reason) = why.refusal_reason() else {
        return Err(why);
    };
    bridge.metrics.admin_refused(reason).inc();
    let client = request.peer_addr().map(|peer| peer.ip().to_string());
    let before = bridge
        .refusals
        .note(reason, client.as_deref(), bridge.clock.now());
    // A browser sends its first request without a token.
    if before == 0 && !matches!(why, AdminError::NoToken) {
        warn!(
            reason,
            client, "refused a request to the admin listener: {why}"
        );
    }
    if matches!(why, AdminError::WrongToken) && before >= FAST_REFUSALS {
        let Ok(_delayed) = DELAYED.try_acquire() else {
            return Err(AdminError::TooManyWrongTokens);
        };
        clock::pause(REFUSAL_DELAY).await;
    }
    Err(why)
}

/// Why the role of a user does not permit this. A path that nothing serves is left to its own answer.
fn forbidden(request: &ServiceRequest, user: &User) -> Option<AdminError> {
    let needed = needed_role(request.method(), &request.match_pattern()?);
    (needed > user.role).then_some(AdminError::Forbidden)
}

/// Routes that the rule below does not fit, with the role that they need.
const EXCEPTIONS: [(&str, &str, Role); 3] = [
    // Searches send what they look for in the body, so that it is in no URL.
    ("POST", "/calls", Role::Viewer),
    ("POST", "/api/calls/search", Role::Viewer),
    ("GET", "/operations/new", Role::Operator),
];

/// The role that a request needs. Viewers read; a route that is forgotten above refuses them.
/// `path` is the pattern of the route.
fn needed_role(method: &Method, path: &str) -> Role {
    let only_reads = [Method::GET, Method::HEAD].contains(method);
    let method = if only_reads { "GET" } else { method.as_str() };
    let exception = EXCEPTIONS
        .iter()
        .find(|(one, pattern, _)| *one == method && *pattern == path);
    match exception {
        Some((.., role)) => *role,
        None if only_reads => Role::Viewer,
        None => Role::Operator,
    }
}
