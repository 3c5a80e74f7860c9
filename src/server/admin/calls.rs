//! The list of calls: its page, the search box, and the API.
//!
//! URLs have no number and no e-mail, only keyed hashes. What a filter means is in `domain/call_filter.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Form, Json, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::console::{AdminState, PAGE_SIZE, page, page_size};
use super::error::AdminError;
use super::frame::Frame;
use super::sign_in;
use crate::clock::Millis;
use crate::config::{Role, duration};
use crate::debugging::search::{CallRow, CallSearch};
use crate::domain::call_addresses::{AddressHasher, HashedAddress};
use crate::domain::call_filter::{CallFilter, CallFilterError, FilterKey, FilterSource, Search};
use crate::domain::plural::counted;
use crate::store::{CallPage, Detail, ListPosition, StoreError, Towards};

/// Query keys of the page: the filters and the cursor.
pub const PAGE_KEYS: &[&str] = &[
    "state", "cause", "wait", "reason", "status", "account", "since", "until", "address", "cursor",
];

/// Query keys of the API. Numbers and e-mails are refused with a hint.
pub const API_KEYS: &[&str] = &[
    "state", "cause", "wait", "reason", "status", "account", "since", "until", "address", "cursor",
    "limit", "number", "email",
];

/// Keys and values of a query, or of an object of the API.
type Pairs = Vec<(String, String)>;

/// A page of calls with its search.
struct Listing {
    search: CallSearch,
    page: CallPage,
    is_first: bool,
    limit: usize,
}

async fn find(
    admin: &AdminState,
    pairs: &Pairs,
    source: FilterSource,
) -> Result<Listing, AdminError> {
    let bridge = &admin.bridge;
    let now = bridge.clock.now();
    let (mut filter, mut cursor, mut limit) = (CallFilter::default(), None, PAGE_SIZE);
    for (key, value) in pairs {
        match key.as_str() {
            "cursor" => cursor = Some(value),
            "limit" => {
                let why = |_| AdminError::Query("limit must be a number from 1".to_owned());
                limit = page_size(Some(value.parse().map_err(why)?));
            }
            "number" | "email" => filter.set(FilterKey::Address.as_str(), value, now, source)?,
            key => filter.set(key, value, now, source)?,
        }
    }
    let search = search_of(admin, filter).await?;
    let mut query = search.query(Detail::Whole, limit);
    if let Some(cursor) = cursor {
        let why = || AdminError::Query("the cursor is not one of this list".to_owned());
        let (from, towards) = search.read_cursor(cursor).ok_or_else(why)?;
        (query.from, query.towards) = (Some(from), towards);
    }
    let is_viewer = sign_in::current().is_some_and(|user| user.role == Role::Viewer);
    if is_viewer
        && matches!(
            search.filter().hashed_address(),
            Some(HashedAddress::LastDigits { .. })
        )
    {
        let why = "a viewer finds a number only in full, with + and the country code";
        return Err(AdminError::Query(why.to_owned()));
    }
    let is_first = query.from.is_none();
    let page = bridge.store.search(query).await?;
    Ok(Listing {
        search,
        page,
        is_first,
        limit,
    })
}

/// The search for the calls of a filter, as this bridge knows them now.
pub(super) async fn search_of(
    admin: &AdminState,
    filter: CallFilter,
) -> Result<CallSearch, AdminError> {
    let bridge = &admin.bridge;
    let hasher = hasher(admin, &filter).await?;
    let (config, outages) = (
        Arc::clone(&bridge.config.borrow()),
        Arc::clone(&bridge.outages),
    );
    let outage_of = Arc::new(move |account: &_| {
        let account = config.account(account)?;
        outages.of(&account.acquire_account_id)
    });
    let view = (Arc::clone(&bridge.rules.borrow()), outage_of as _);
    Ok(CallSearch::new(filter, hasher, view, bridge.clock.now()))
}

/// While the database is down, the calls in the spool are listed, which needs no key.
async fn hasher(admin: &AdminState, filter: &CallFilter) -> Result<AddressHasher, AdminError> {
    match admin.bridge.store.address_hasher().await {
        Err(StoreError::Unavailable(_)) if filter.address.is_none() => Ok(AddressHasher::new(&[])),
        hasher => Ok(hasher?),
    }
}

/// `GET /api/calls`: a page of calls, with the filters of the search box.
pub async fn list(
    admin: Data<AdminState>,
    query: Query<Pairs>,
) -> Result<HttpResponse, AdminError> {
    Ok(answer(&find(&admin, &query, FilterSource::Url).await?))
}

/// `POST /api/calls/search`: the same, with the filters in a JSON object, where numbers and e-mails may be.
pub async fn search(
    admin: Data<AdminState>,
    filters: Json<BTreeMap<String, Value>>,
) -> Result<HttpResponse, AdminError> {
    let filters = filters.into_inner().into_iter().map(|(key, value)| {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        (key, value)
    });
    let found = find(&admin, &filters.collect(), FilterSource::Typed).await?;
    Ok(answer(&found))
}

fn answer(listing: &Listing) -> HttpResponse {
    let Listing { search, page, .. } = listing;
    let calls: Vec<CallRow> = page.calls.iter().map(|call| search.row(call)).collect();
    let mut answer = serde_json::json!({ "calls": calls });
    if let Some(end) = page.end {
        answer["cursor"] = search.cursor(end, Towards::End).into();
    }
    HttpResponse::Ok().json(answer)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchForm {
    q: String,
}

/// `POST /calls`: the search box. Answers with the URL of the call or the list.
pub async fn find_words(
    admin: Data<AdminState>,
    form: Form<SearchForm>,
) -> Result<HttpResponse, AdminError> {
    let now = admin.bridge.clock.now();
    let location = match Search::parse(&form.q, now)? {
        Search::Call(sid) => format!("/calls/{sid}"),
        Search::Calls(filter) => {
            let hasher = hasher(&admin, &filter).await?;
            path(&filter.resolved(&hasher, now), None)
        }
    };
    Ok(HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .finish())
}

/// The path of the list with these filters.
fn path(filter: &CallFilter, cursor: Option<String>) -> String {
    let mut query = filter.query();
    if let Some(cursor) = cursor {
        let gap = if query.is_empty() { "" } else { "&" };
        query = format!("{query}{gap}cursor={cursor}");
    }
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/calls{mark}{query}")
}

/// A filter of the page, with the link that removes it.
struct ActiveFilter {
    words: String,
    remove: String,
}

#[derive(Template)]
#[template(path = "calls.html")]
struct CallsPage {
    filters: Vec<ActiveFilter>,
    caption: String,
    rows: Vec<CallRow>,
    newer: Option<String>,
    older: Option<String>,
    is_cut: bool,
    /// The query of the filters, for operations on all calls that match.
    act_on: Option<String>,
    /// The query of the address alone, to erase the person.
    erase: Option<String>,
    /// Callbacks in the spool, while the database is down.
    spooled: Option<u64>,
    /// Up to when the search by address is complete, if it lags.
    complete_to: Option<Millis>,
    frame: Frame,
}

impl CallsPage {
    fn length(row: &CallRow) -> String {
        let seconds = row.facts.duration.map(Duration::from_secs);
        seconds.map(duration::show).unwrap_or_default()
    }
}

/// `GET /calls`: a page of calls.
pub async fn calls_page(
    admin: Data<AdminState>,
    query: Query<Pairs>,
) -> Result<HttpResponse, AdminError> {
    let listing = find(&admin, &query, FilterSource::Url).await?;
    let store = &admin.bridge.store;
    let now = admin.bridge.clock.now();
    let kept = match store.counts().await {
        Err(StoreError::Unavailable(_)) => None,
        counts => Some(counts?),
    };
    let Listing {
        search,
        page: found,
        ..
    } = &listing;
    let filter = search.filter();
    let link = |position: Option<ListPosition>, towards| {
        position.map(|position| path(filter, Some(search.cursor(position, towards))))
    };
    let is_empty_page = found.calls.is_empty() && !listing.is_first;
    let only_state = CallFilter {
        state: filter.state,
        ..CallFilter::default()
    };
    let total = kept.as_ref().filter(|_| *filter == only_state);
    let total = total.map(|kept| match filter.state {
        Some(state) => kept.in_state(state),
        None => kept.seen - kept.purged,
    });
    page(&CallsPage {
        filters: active_filters(&listing),
        caption: caption(&listing, total),
        rows: found.calls.iter().map(|call| search.row(call)).collect(),
        newer: link(found.start, Towards::Start).or(is_empty_page.then(|| path(filter, None))),
        older: link(found.end, Towards::End),
        is_cut: found.is_cut,
        erase: filter.address.is_some().then(|| {
            let only_address = CallFilter {
                address: filter.address.clone(),
                ..CallFilter::default()
            };
            only_address.query()
        }),
        act_on: Some(filter.query()).filter(|query| !query.is_empty()),
        spooled: store.spooled().filter(|_| kept.is_none()),
        complete_to: filter
            .address
            .as_ref()
            .and_then(|_| admin.bridge.search_progress.lags_at(now)),
        frame: Frame::of("/calls", now),
    })
}

fn caption(listing: &Listing, total: Option<u64>) -> String {
    let shown = listing.page.calls.len();
    match total {
        Some(total) if total > shown as u64 => format!("{shown} of {total} calls"),
        _ if !listing.is_first => format!("{} on this page", counted(shown, "call")),
        _ if listing.page.end.is_some() => format!("more than {} calls", listing.limit.min(shown)),
        _ => counted(shown, "call"),
    }
}

fn active_filters(listing: &Listing) -> Vec<ActiveFilter> {
    let filter = listing.search.filter();
    let filters = filter.pairs().into_iter().map(|(key, value)| {
        let value = match key {
            // The URL has a hash; the calls that were found have the address.
            FilterKey::Address => {
                let calls = &listing.page.calls;
                let found = calls
                    .first()
                    .and_then(|call| listing.search.address_in(call));
                found.unwrap_or_else(|| "as entered".to_owned())
            }
            _ => value,
        };
        ActiveFilter {
            words: format!("{} {value}", key.as_str()),
            remove: path(&filter.without(key), None),
        }
    });
    filters.collect()
}

impl From<CallFilterError> for AdminError {
    fn from(why: CallFilterError) -> Self {
        Self::Filter(why)
    }
}
