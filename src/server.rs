//! The routes of both listeners, on one screen.

pub mod admin;
pub mod callbacks;
pub mod client_ip;
pub mod listener;
pub mod recordings;
pub mod shared;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::uri::PathAndQuery;
use actix_web::web::{self, Data, QueryConfig, ServiceConfig};
use actix_web::{HttpRequest, Resource};

use callbacks::refusal::{AdminError, RefusalError};
use callbacks::state::CallbackState;
use recordings::play::Player;

use crate::twilio::callback::CallbackKind;

/// How long a connection may stay open between two requests; longer than balancers keep theirs.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What Twilio reaches, and listeners where recordings are played; under each prefix of a public URL
/// too, where no proxy strips it.
pub fn public_routes(
    routes: &mut ServiceConfig,
    intake: Data<CallbackState>,
    player: Option<Data<Player>>,
) {
    let verifier = Arc::clone(&intake.verifier.borrow());
    for prefix in verifier.prefixes() {
        for form in CallbackKind::ALL {
            routes.service(callback(&format!("{prefix}{}", form.path())));
        }
        if player.is_some() {
            routes.service(recordings::play::resource(prefix));
        }
    }
    if let Some(player) = player {
        routes.app_data(player);
    }
    routes.app_data(intake).default_service(web::to(not_found));
}

fn callback(path: &str) -> Resource {
    web::resource(path)
        .route(web::post().to(callbacks::receive::callback))
        .default_service(web::to(wrong_method))
}

/// What operators and their tools reach.
pub fn admin_routes(routes: &mut ServiceConfig, admin: Data<admin::console::AdminState>) {
    routes
        .app_data(admin)
        .app_data(
            QueryConfig::default()
                .error_handler(|why, _| AdminError::Query(why.to_string()).into()),
        )
        .route("/livez", web::get().to(admin::probes::livez))
        .route("/readyz", web::get().to(admin::probes::readyz))
        .service(
            web::scope("")
                .wrap(actix_web::middleware::from_fn(admin::console::authorized))
                .route("/metrics", web::get().to(admin::probes::metrics))
                .route("/", web::get().to(admin::console::overview))
                .route("/calls/{sid}", web::get().to(admin::console::call_page))
                .route("/refused", web::get().to(admin::refused::overview))
                .route("/api/refused", web::get().to(admin::refused::list))
                .route("/api/calls", web::get().to(admin::console::list))
                .route("/api/calls/{sid}", web::get().to(admin::console::show))
                .route(
                    "/api/calls/{sid}/requeue",
                    web::post().to(admin::console::requeue),
                ),
        );
}

/// Path and query as they arrived.
fn target(request: &HttpRequest) -> &str {
    let target = request.uri().path_and_query();
    target.map_or("/", PathAndQuery::as_str)
}

async fn not_found(
    request: HttpRequest,
    intake: Data<CallbackState>,
) -> Result<&'static str, RefusalError> {
    refuse(&request, &intake, RefusalError::NotFound)
}

async fn wrong_method(
    request: HttpRequest,
    intake: Data<CallbackState>,
) -> Result<&'static str, RefusalError> {
    refuse(&request, &intake, RefusalError::WrongMethod)
}

fn refuse(
    request: &HttpRequest,
    intake: &CallbackState,
    refusal: RefusalError,
) -> Result<&'static str, RefusalError> {
    intake.refused(request, None, &refusal);
    Err(refusal)
}
