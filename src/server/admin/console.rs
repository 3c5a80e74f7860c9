//! The operator's pages and API for calls.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::error::AdminError;
use super::frame::Frame;
use super::routes::short_hash;
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

#[derive(Debug, Deserialize)]
pub struct ListQuery {
    state: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct CallAnswer {
    #[serde(flatten)]
    first: CallTimeline,
    /// The calls of other accounts that signed the same SID.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_accounts: Vec<CallTimeline>,
}

/// `GET /api/calls/{CallSid}`: the timeline of a call, found by its SID or the SID of a leg.
pub async fn show(admin: Data<AdminState>, sid: Path<String>) -> Result<HttpResponse, AdminError> {
    let (first, other_accounts) = timelines(&admin, &sid).await?;
    Ok(HttpResponse::Ok().json(CallAnswer {
        first,
        other_accounts,
    }))
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
    frame: Frame,
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
        frame: Frame::of("/", admin.bridge.clock.now()),
    })
}

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    sid: String,
    /// One for each account that signed the SID.
    timelines: Vec<CallTimeline>,
    frame: Frame,
}

/// `GET /calls/{CallSid}`: the timeline of a call, of each account that signed its SID.
pub async fn call_page(
    admin: Data<AdminState>,
    sid: Path<String>,
) -> Result<HttpResponse, AdminError> {
    let (first, others) = timelines(&admin, &sid).await?;
    page(&CallPage {
        sid: first.line.call_sid.clone(),
        timelines: std::iter::once(first).chain(others).collect(),
        frame: Frame::of("/", admin.bridge.clock.now()),
    })
}

/// The first call with this SID, and those of other accounts.
async fn timelines(
    admin: &AdminState,
    sid: &str,
) -> Result<(CallTimeline, Vec<CallTimeline>), AdminError> {
    let bridge = &admin.bridge;
    let sid = CallSid::parse(sid)?;
    let calls = bridge.store.get_all(&sid).await?;
    let rules = Arc::clone(&bridge.rules.borrow());
    let config = Arc::clone(&bridge.config.borrow());
    let mut timelines = calls.iter().map(|call| {
        let account = config.account(&call.summary.account);
        let outage = account.and_then(|account| bridge.outages.of(&account.acquire_account_id));
        CallTimeline::of(call, &rules, outage, bridge.clock.now())
    });
    let first = timelines.next().ok_or(AdminError::UnknownCall(sid))?;
    Ok((first, timelines.collect()))
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

/// Renders a page. Its `ETag` leaves out the frame, which has the time.
pub(super) fn page(template: &impl Template) -> Result<HttpResponse, AdminError> {
    let html = template.render()?;
    let main = html.split_once("<main").map_or("", |(_, main)| main);
    let etag = format!("\"{}\"", short_hash(main));
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::ETAG, etag))
        .body(html))
}
