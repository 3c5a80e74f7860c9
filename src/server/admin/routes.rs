//! Makes the routes of the admin listener: `HEAD` works where `GET` does, a query key that a route does
//! not know is an error, and so is another method.

use std::future::{Ready, ready};
use std::sync::LazyLock;

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{HttpServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, FormConfig, JsonConfig, PathConfig, QueryConfig, ServiceConfig};
use actix_web::{Error, FromRequest, Handler, HttpResponse, Resource, Responder};

use super::error::AdminError;
use super::frame::short_hash;
use super::guard::PROBES;

/// Bytes of a form or a JSON body.
const MAX_BODY: usize = 64 * 1024;

/// The style and the script of the pages.
const STYLE: &str = include_str!("../../../templates/style.css");
const SCRIPT: &str = include_str!("../../../templates/script.js");

/// The description of all routes, which a test compares with them.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// Paths of style and script, with a hash: a browser keeps them until they change.
static STYLE_PATH: LazyLock<String> = LazyLock::new(|| format!("/style-{}.css", short_hash(STYLE)));
static SCRIPT_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/script-{}.js", short_hash(SCRIPT)));

/// For the template of all pages.
pub fn style_path() -> &'static str {
    &STYLE_PATH
}

/// For the template of all pages.
pub fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// `GET` and `HEAD` of `path`, with these query keys.
pub fn get<H, A>(
    path: &str,
    keys: &'static [&'static str],
    handler: H,
) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    let resource = web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|| refused(AdminError::WrongMethod("GET, HEAD"))));
    with_keys(resource, keys)
}

/// As [`get`], with `POST` of the page's own form.
pub fn page_with_form<G, A, P, B>(
    path: &str,
    keys: &'static [&'static str],
    page: G,
    form: P,
) -> impl HttpServiceFactory + 'static
where
    G: Handler<A>,
    A: FromRequest + 'static,
    G::Output: Responder + 'static,
    P: Handler<B>,
    B: FromRequest + 'static,
    P::Output: Responder + 'static,
{
    let resource = web::resource(path)
        .route(web::get().to(page.clone()))
        .route(web::head().to(page))
        .route(web::post().to(form))
        .default_service(web::to(|| {
            refused(AdminError::WrongMethod("GET, HEAD, POST"))
        }));
    with_keys(resource, keys)
}

/// `POST` of `path`, without query keys.
pub fn post<H, A>(path: &str, handler: H) -> impl HttpServiceFactory + 'static
where
    H: Handler<A>,
    A: FromRequest + 'static,
    H::Output: Responder + 'static,
{
    let resource = web::resource(path)
        .route(web::post().to(handler))
        .default_service(web::to(|| refused(AdminError::WrongMethod("POST"))));
    with_keys(resource, &[])
}

/// The answer on every other path.
pub fn not_found() -> Ready<Result<HttpResponse, AdminError>> {
    refused(AdminError::NotFound)
}

/// Errors of the extractors, and the assets of the pages.
pub fn configure(routes: &mut ServiceConfig) {
    routes
        .app_data(
            QueryConfig::default()
                .error_handler(|why, _| AdminError::Query(why.to_string()).into()),
        )
        .app_data(
            FormConfig::default()
                .limit(MAX_BODY)
                .error_handler(|why, _| AdminError::Query(why.to_string()).into()),
        )
        .app_data(
            JsonConfig::default()
                .limit(MAX_BODY)
                .error_handler(|why, _| AdminError::Query(why.to_string()).into()),
        )
        .app_data(PathConfig::default().error_handler(|_, _| AdminError::NotFound.into()));
}

/// `GET` of [`style_path`].
pub async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", STYLE)
}

/// `GET` of [`script_path`].
pub async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

fn asset(content_type: &str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((
            header::CACHE_CONTROL,
            "private, max-age=31536000, immutable",
        ))
        .body(text)
}

/// `GET /api/openapi.json`.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(OPENAPI)
}

/// `GET /favicon.ico`: browsers ask for it on their own.
pub async fn no_icon() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

fn refused(why: AdminError) -> Ready<Result<HttpResponse, AdminError>> {
    ready(Err(why))
}

fn with_keys(
    resource: Resource,
    keys: &'static [&'static str],
) -> impl HttpServiceFactory + 'static {
    resource.wrap(from_fn(move |request, next| {
        known_keys_only(keys, request, next)
    }))
}

/// A misspelt filter would show other calls than the operator meant.
async fn known_keys_only(
    keys: &'static [&'static str],
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody, BoxBody>>, Error> {
    // A balancer that adds a key must not take every node out of service.
    if PROBES.contains(&request.path()) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let query = serde_urlencoded::from_str::<Vec<(String, String)>>(request.query_string());
    let unknown = query.map(|pairs| {
        pairs
            .into_iter()
            .find(|(key, _)| !keys.contains(&key.as_str()))
    });
    let why = match unknown {
        Ok(None) => return Ok(next.call(request).await?.map_into_left_body()),
        Ok(Some((key, _))) => AdminError::unknown_key(&key, keys),
        Err(why) => AdminError::Query(why.to_string()),
    };
    Ok(request.error_response(why).map_into_right_body())
}
