//! The state that only a running bridge knows, for `doctor`.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::console::AdminState;

/// `GET /api/status`: the version of the program, and the accounts to which deliveries are paused.
pub async fn status(admin: Data<AdminState>) -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "outages": admin.bridge.outages.all(),
    }))
}
