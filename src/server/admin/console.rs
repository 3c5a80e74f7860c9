//! Parts that the handlers of the admin listener share.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header;
use askama::Template;
use tokio_util::sync::CancellationToken;

use super::error::AdminError;
use crate::server::connections::OpenConnections;
use crate::server::shared::BridgeParts;

/// Items on a page or in an API answer, unless `limit` is given.
pub(super) const PAGE_SIZE: usize = 50;
/// The largest `limit`.
pub(super) const MAX_PAGE_SIZE: usize = 1000;

/// The items for a `limit`.
pub(super) fn page_size(limit: Option<NonZeroUsize>) -> usize {
    limit.map_or(PAGE_SIZE, |limit| limit.get().min(MAX_PAGE_SIZE))
}

/// State that the handlers of the admin listener share.
pub struct AdminState {
    pub bridge: BridgeParts,
    /// The connections of the public listener.
    pub public: Arc<OpenConnections>,
    /// Cancelled when the bridge is stopping.
    pub stop: CancellationToken,
}

/// Keys of this process: from a hash without a key, a viewer could guess the digits that a page masks.
static ETAG_KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Renders a page. Its `ETag` leaves out the frame, which has the time.
pub(super) fn page(template: &impl Template) -> Result<HttpResponse, AdminError> {
    let html = template.render()?;
    let main = html.split_once("<main").map_or("", |(_, main)| main);
    let etag = format!("\"{:016x}\"", ETAG_KEYS.hash_one(main));
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::ETAG, etag))
        .body(html))
}
