//! The HTTP server: one route table for each of its two listeners.
//!
//! A callback passes these steps, from the socket to its answer:
//!
//! 1. `listener`: accept the connection, read its PROXY header, decrypt TLS, parse HTTP/1.1.
//! 2. `callbacks::extract`: read the body, verify Twilio's signature.
//! 3. `callbacks::receive`: read the callback, record it, count it, answer 204.
//! 4. `callbacks::log_refusals`: count, log and keep the request, if it was refused.
//!
//! Nothing here waits for Acquire: `delivery` sends the recorded calls, on a thread of its own.

mod admin;
pub mod callbacks;
mod client_ip;
pub mod connections;
pub mod listener;
mod recordings;
pub mod refusal_log;
pub mod shared;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource};

use admin::console::AdminState;
use admin::routes::{get, page_with_form, post, script_path, style_path};
use callbacks::extract::refuse;
use callbacks::receive::receive;
use callbacks::refusal::RefusalError;
use callbacks::state::CallbackState;
use recordings::play::Player;
use shared::target;

use crate::twilio::callback::CallbackKind;

pub use admin::status::facts;

/// Routes of the public listener: callbacks, and recordings where the bridge plays them.
///
/// Each path is also served below the path of each public URL, because a proxy may forward that path
/// instead of removing it.
pub fn public_routes(
    routes: &mut ServiceConfig,
    state: Data<CallbackState>,
    player: Option<Data<Player>>,
) {
    let verifier = Arc::clone(&state.verifier.borrow());
    // Routes are fixed at the start, which is why server.public_url needs a restart.
    for prefix in verifier.prefixes() {
        for kind in CallbackKind::ALL {
            routes.service(callback(&format!("{prefix}{}", kind.path()), kind));
        }
        if player.is_some() {
            routes.service(recordings::play::resource(prefix));
        }
    }
    if let Some(player) = player {
        routes.app_data(player);
    }
    routes.app_data(state).default_service(web::to(not_found));
}

fn callback(path: &str, kind: CallbackKind) -> Resource {
    web::resource(path)
        .route(web::post().to(move |form, state| receive(kind, form, state)))
        .default_service(web::to(wrong_method))
}

async fn not_found(request: HttpRequest, body: Payload) -> Result<HttpResponse, RefusalError> {
    if is_health_check(&request) {
        return Err(RefusalError::HealthCheck);
    }
    Err(refuse(&request, body.into_inner(), RefusalError::NotFound).await)
}

async fn wrong_method(request: HttpRequest, body: Payload) -> Result<HttpResponse, RefusalError> {
    Err(refuse(&request, body.into_inner(), RefusalError::WrongMethod).await)
}

/// Whether a load balancer asks the port to which it forwards: `GET /`, `HEAD /`, `OPTIONS /` or
/// `OPTIONS *`. Twilio's requests have a signature.
fn is_health_check(request: &HttpRequest) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method())
        && ["/", "*"].contains(&target(request))
        && !request.headers().contains_key("x-twilio-signature")
}

/// Routes of the admin listener, each with its query keys.
fn admin_routes(routes: &mut ServiceConfig, state: Data<AdminState>) {
    let new_keys = admin::operations::NEW_KEYS;
    let audit: &[&str] = &["actor", "act", "since", "limit", "cursor"];
    let refused: &[&str] = &["cause", "limit"];
    routes
        .app_data(state)
        .configure(admin::routes::configure)
        .service(
            web::scope("")
                .wrap(from_fn(admin::guard::guard))
                .service(get("/livez", &[], admin::probes::livez))
                .service(get("/readyz", &[], admin::probes::readyz))
                .service(get("/metrics", &[], admin::probes::metrics))
                .service(get("/favicon.ico", &[], admin::routes::no_icon))
                .service(get(style_path(), &[], admin::routes::style))
                .service(get(script_path(), &[], admin::routes::script))
                .service(get("/", &[], admin::status::today))
                .service(page_with_form(
                    "/calls",
                    admin::calls::PAGE_KEYS,
                    admin::calls::calls_page,
                    admin::calls::find_words,
                ))
                .service(page_with_form(
                    "/calls/{sid}",
                    &[],
                    admin::call::call_page,
                    admin::acts::call_form,
                ))
                .service(get("/refused", refused, admin::refused::overview))
                .service(get("/api/refused", refused, admin::refused::list))
                .service(get("/parked", &[], admin::parked::overview))
                .service(get("/api/parked", &[], admin::parked::list))
                .service(get("/report", &[], admin::report::current))
                .service(get("/report/{month}", &["format"], admin::report::of_month))
                .service(get(
                    "/api/report",
                    &["month", "since", "until"],
                    admin::report::json,
                ))
                .service(post("/api/reconcile", admin::reconcile::reconcile))
                .service(get("/api/openapi.json", &[], admin::routes::openapi))
                .service(get("/api/status", &[], admin::status::status))
                .service(get(
                    "/api/calls",
                    admin::calls::API_KEYS,
                    admin::calls::list,
                ))
                .service(post("/api/calls/search", admin::calls::search))
                .service(get("/api/calls/{sid}", &[], admin::call::show))
                .service(post("/api/calls/{sid}/requeue", admin::acts::requeue))
                .service(post("/api/calls/{sid}/dismiss", admin::acts::dismiss))
                .service(page_with_form(
                    "/operations",
                    &[],
                    admin::operations::overview,
                    admin::operations::make_form,
                ))
                .service(get("/operations/new", new_keys, admin::operations::confirm))
                .service(post("/operations/{id}", admin::operations::change_form))
                .service(page_with_form(
                    "/api/operations",
                    &["limit"],
                    admin::operations::list,
                    admin::operations::make,
                ))
                .service(post(
                    "/api/operations/{id}/{change}",
                    admin::operations::change,
                ))
                .service(get("/audit", audit, admin::audit::overview))
                .service(get("/api/audit", audit, admin::audit::list))
                .default_service(web::to(admin::routes::not_found)),
        );
}
