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
pub mod shared;

use std::sync::Arc;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, QueryConfig, ServiceConfig};
use actix_web::{HttpResponse, Resource};

use admin::console::AdminState;
use admin::error::AdminError;
use callbacks::receive::receive;
use callbacks::refusal::RefusalError;
use callbacks::state::CallbackState;
use recordings::play::Player;

use crate::twilio::callback::CallbackKind;

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

async fn not_found() -> Result<HttpResponse, RefusalError> {
    Err(RefusalError::NotFound)
}

async fn wrong_method() -> Result<HttpResponse, RefusalError> {
    Err(RefusalError::WrongMethod)
}

/// Routes of the admin listener. Probes need no token, because balancers send none.
fn admin_routes(routes: &mut ServiceConfig, state: Data<AdminState>) {
    routes
        .app_data(state)
        .app_data(
            QueryConfig::default()
                .error_handler(|why, _| AdminError::Query(why.to_string()).into()),
        )
        .route("/livez", web::get().to(admin::probes::livez))
        .route("/readyz", web::get().to(admin::probes::readyz))
        .service(
            web::scope("")
                .wrap(from_fn(admin::console::authorize))
                .route("/metrics", web::get().to(admin::probes::metrics))
                .route("/", web::get().to(admin::console::overview))
                .route("/calls/{sid}", web::get().to(admin::console::call_page))
                .route("/refused", web::get().to(admin::refused::overview))
                .route("/api/refused", web::get().to(admin::refused::list))
                .route(
                    "/api/reconcile",
                    web::post().to(admin::reconcile::reconcile),
                )
                .route("/api/calls", web::get().to(admin::console::list))
                .route("/api/calls/{sid}", web::get().to(admin::console::show))
                .route(
                    "/api/calls/{sid}/requeue",
                    web::post().to(admin::console::requeue),
                ),
        );
}
