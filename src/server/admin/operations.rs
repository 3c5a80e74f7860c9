//! Bulk operations: their pages, forms and API. A background task carries them out.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Form, Path, Query};
use askama::Template;
use serde::{Deserialize, Serialize};

use super::acts::{read_json, see_other};
use super::calls::search_of;
use super::console::{AdminState, MAX_PAGE_SIZE, PAGE_SIZE, page, page_size};
use super::erasure::{self, EraseForm};
use super::error::AdminError;
use super::frame::Frame;
use super::sign_in::User;
use crate::clock::Millis;
use crate::domain::audit::Reason;
use crate::domain::call_filter::{CallFilter, FilterSource};
use crate::domain::operation::{OperationChange, OperationKind, OperationState};
use crate::domain::subject::{Subject, SubjectError};
use crate::store::erasure::{Compaction, Receipt};
use crate::store::{Cursor, Detail, NewOperation, Operation, State};

/// Query keys of `/operations/new`: the kind, and those of the filter.
pub const NEW_KEYS: &[&str] = &[
    "kind", "state", "cause", "wait", "reason", "status", "account", "since", "until", "address",
    "call",
];

/// More calls than this are confirmed by their number.
const TYPED_COUNT: u64 = 100;

/// Bytes of the one-time id of an operation.
const MAX_KEY: usize = 64;

/// Pages of [`MAX_PAGE_SIZE`] calls that a count reads, at most.
const MAX_PAGES: usize = 100;

/// An operation as the API and pages show it.
#[derive(Debug, Serialize)]
pub struct OperationLine {
    id: i64,
    kind: OperationKind,
    state: OperationState,
    filter: String,
    total: u64,
    is_counted: bool,
    done: u64,
    failed: u64,
    left: u64,
    rate: NonZeroU32,
    /// Until it is done, if nothing holds it.
    seconds_left: u64,
    held_for: Option<String>,
    actor: String,
    reason: Option<String>,
    made: Millis,
    changed: Millis,
    /// Of an erasure, once it has ended.
    receipt: Option<Receipt>,
}

impl OperationLine {
    fn of(operation: Operation) -> Self {
        let left = operation.left();
        Self {
            left,
            receipt: operation.receipt().cloned(),
            seconds_left: left / u64::from(operation.rate.get()),
            is_counted: operation.counted == Cursor::End,
            id: operation.id,
            kind: operation.kind,
            state: operation.state,
            filter: operation.words,
            total: operation.total,
            done: operation.done,
            failed: operation.failed,
            rate: operation.rate,
            held_for: operation.held_for,
            actor: operation.actor,
            reason: operation.reason,
            made: operation.made,
            changed: operation.changed,
        }
    }

    fn may(&self, change: OperationChange) -> bool {
        change.applied_to(self.state).is_some()
    }
}

#[derive(Debug, Deserialize)]
pub struct ListQuery {
    limit: Option<NonZeroUsize>,
}

/// `GET /api/operations`: those that are not finished first.
pub async fn list(
    admin: Data<AdminState>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, AdminError> {
    let lines = lines(&admin, page_size(query.limit)).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({ "operations": lines })))
}

async fn lines(admin: &AdminState, limit: usize) -> Result<Vec<OperationLine>, AdminError> {
    let operations = admin.bridge.store.operations(limit).await?;
    Ok(operations.into_iter().map(OperationLine::of).collect())
}

/// The body of `POST /api/operations`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    kind: OperationKind,
    /// Texts: a filter that is left out would select more calls than meant.
    #[serde(default)]
    filter: BTreeMap<String, String>,
    rate: Option<NonZeroU32>,
    reason: Option<String>,
    #[serde(default)]
    dry_run: bool,
    /// Calls that changed later are left alone; by default the time of the request.
    before: Option<Millis>,
    /// A one-time id: a request that is repeated makes no second operation.
    key: Option<String>,
    /// Of an erasure.
    #[serde(default)]
    compaction: Compaction,
}

/// `POST /api/operations`: makes an operation, or with `dry_run` only counts its calls.
pub async fn make(
    admin: Data<AdminState>,
    user: User,
    body: Bytes,
) -> Result<HttpResponse, AdminError> {
    let order: Order = read_json(&body)?;
    let pairs = order.filter.iter();
    let pairs = pairs.map(|(key, value)| (key.as_str(), value.as_str()));
    let mut new = if order.kind == OperationKind::Erase {
        let [(key, value)] = pairs.collect::<Vec<_>>()[..] else {
            return Err(SubjectError::Missing.into());
        };
        let subject = Subject::parse(key, value)?;
        if order.dry_run {
            return Ok(HttpResponse::Ok().json(erasure::preview(&admin, &subject).await?));
        }
        erasure::draft(&admin, &user, subject, order.compaction).await?
    } else {
        draft(&admin, &user, order.kind, pairs, FilterSource::Typed).await?
    };
    new.rate = order.rate.unwrap_or(new.rate);
    new.before = order.before.unwrap_or(new.before);
    new.key = order.key.unwrap_or(new.key);
    if order.dry_run {
        let counted = count(&admin, &new).await?;
        return Ok(HttpResponse::Ok().json(counted));
    }
    new.reason = order.reason.as_deref().map(Reason::parse).transpose()?;
    let id = store(&admin, new).await?;
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "id": id })))
}

/// An operation without a reason.
async fn draft<'p>(
    admin: &AdminState,
    user: &User,
    kind: OperationKind,
    pairs: impl Iterator<Item = (&'p str, &'p str)>,
    source: FilterSource,
) -> Result<NewOperation, AdminError> {
    let bridge = &admin.bridge;
    let now = bridge.clock.now();
    let mut filter = CallFilter::default();
    for (key, value) in pairs.filter(|(_, value)| !value.is_empty()) {
        filter.set(key, value, now, source)?;
    }
    if filter.is_empty() {
        let why = "choose calls with a filter, such as state: an operation never means all calls";
        return Err(AdminError::Query(why.to_owned()));
    }
    if kind == OperationKind::Dismiss {
        // Others cannot be dismissed, so they need not be read.
        filter.state.get_or_insert(State::Parked);
    }
    let filter = filter.resolved(&bridge.store.address_hasher().await?, now);
    Ok(NewOperation::new(kind, filter, user.actor.clone(), now))
}

async fn store(admin: &AdminState, new: NewOperation) -> Result<i64, AdminError> {
    if new.kind != OperationKind::Requeue && new.reason.is_none() {
        return Err(crate::domain::audit::ReasonError::Missing.into());
    }
    let is_key = (1..=MAX_KEY).contains(&new.key.len());
    if !is_key || !new.key.bytes().all(|b| b.is_ascii_graphic()) {
        let why = format!("key must have 1 to {MAX_KEY} printable ASCII characters");
        return Err(AdminError::Query(why));
    }
    let now = admin.bridge.clock.now();
    let made = admin.bridge.store.make_operation(new, now).await?;
    tracing::info!(
        "operation {} is made: {} {}",
        made.id,
        made.kind.as_str(),
        made.words
    );
    Ok(made.id)
}

/// The calls that an operation would change now.
#[derive(Debug, Default, Serialize)]
struct Counted {
    count: u64,
    /// Acquire accepted these before, and receives them again.
    delivered: u64,
    /// Whether the count ended early, so that there may be more.
    is_cut: bool,
}

async fn count(admin: &AdminState, new: &NewOperation) -> Result<Counted, AdminError> {
    let bridge = &admin.bridge;
    let operation = Operation::new(new, bridge.clock.now());
    let search = search_of(admin, new.filter.clone()).await?;
    let mut query = search.query(Detail::Summary, MAX_PAGE_SIZE);
    let mut counted = Counted::default();
    for _ in 0..MAX_PAGES {
        let page = bridge.store.search(query.clone()).await?;
        let calls = page.calls.iter().map(|call| &call.summary);
        for call in calls.filter(|call| operation.admits(call)) {
            counted.count += 1;
            counted.delivered += u64::from(call.state == State::Delivered);
        }
        query.from = page.end;
        if query.from.is_none() {
            return Ok(counted);
        }
    }
    counted.is_cut = true;
    Ok(counted)
}

/// The body of `POST /api/operations/{id}/resume`, which may be empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    rate: Option<NonZeroU32>,
}

/// `POST /api/operations/{id}/pause`, `/resume` and `/cancel`.
pub async fn change(
    admin: Data<AdminState>,
    user: User,
    path: Path<(i64, OperationChange)>,
    body: Bytes,
) -> Result<HttpResponse, AdminError> {
    let (id, change) = path.into_inner();
    let rate: Rate = read_json(&body)?;
    let line = change_operation(&admin, user, id, (change, rate.rate)).await?;
    Ok(HttpResponse::Ok().json(line))
}

async fn change_operation(
    admin: &AdminState,
    user: User,
    id: i64,
    (change, rate): (OperationChange, Option<NonZeroU32>),
) -> Result<OperationLine, AdminError> {
    let store = &admin.bridge.store;
    let now = admin.bridge.clock.now();
    let changed = store.change_operation(id, change, rate, user.actor, now);
    let operation = changed.await?.ok_or(AdminError::UnknownOperation(id))?;
    Ok(OperationLine::of(operation))
}

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    open: Vec<OperationLine>,
    finished: Vec<OperationLine>,
    frame: Frame,
}

/// `GET /operations`.
pub async fn overview(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let lines = lines(&admin, PAGE_SIZE).await?;
    let (finished, open) = lines.into_iter().partition(|line| line.state.is_final());
    page(&OperationsPage {
        open,
        finished,
        frame: Frame::of("/operations", admin.bridge.clock.now()),
    })
}

/// A form for one operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeForm {
    act: OperationChange,
    rate: Option<NonZeroU32>,
}

/// `POST /operations/{id}`.
pub async fn change_form(
    admin: Data<AdminState>,
    user: User,
    id: Path<i64>,
    form: Form<ChangeForm>,
) -> Result<HttpResponse, AdminError> {
    let change = (form.act, form.rate);
    change_operation(&admin, user, id.into_inner(), change).await?;
    Ok(see_other("/operations"))
}

#[derive(Template)]
#[template(path = "operation_new.html")]
struct NewPage {
    kind: OperationKind,
    words: String,
    filter: String,
    key: String,
    before: Millis,
    counted: Counted,
    is_typed: bool,
    rate: NonZeroU32,
    minutes: u64,
    frame: Frame,
}

/// `GET /operations/new?kind=requeue&state=parked`: asks for confirmation.
pub async fn confirm(
    admin: Data<AdminState>,
    user: User,
    query: Query<Vec<(String, String)>>,
) -> Result<HttpResponse, AdminError> {
    let (kinds, pairs): (Vec<_>, Vec<_>) = query
        .into_inner()
        .into_iter()
        .partition(|(key, _)| key == "kind");
    let kind = kinds.first().map_or("", |(_, kind)| kind.as_str());
    let kind = OperationKind::ALL
        .into_iter()
        .find(|of| of.as_str() == kind);
    let kind =
        kind.ok_or_else(|| AdminError::Query("kind must be requeue, dismiss or erase".to_owned()))?;
    let pairs = pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    if kind == OperationKind::Erase {
        return erasure::confirm(&admin, &pairs.collect::<Vec<_>>()).await;
    }
    let new = draft(&admin, &user, kind, pairs, FilterSource::Url).await?;
    let counted = count(&admin, &new).await?;
    page(&NewPage {
        kind,
        words: new.filter.to_string(),
        filter: new.filter.query(),
        is_typed: counted.count > TYPED_COUNT,
        minutes: counted.count / u64::from(new.rate.get()) / 60 + 1,
        key: new.key,
        before: new.before,
        counted,
        rate: new.rate,
        // Without a time: a live update must not replace a form that is being filled in.
        frame: Frame {
            as_of: None,
            ..Frame::of("/operations", admin.bridge.clock.now())
        },
    })
}

/// The form of [`confirm`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewForm {
    kind: OperationKind,
    filter: String,
    key: String,
    /// The time of the page.
    before: Option<Millis>,
    /// As the page showed it.
    count: Option<u64>,
    #[serde(default)]
    typed: String,
    rate: Option<NonZeroU32>,
    reason: String,
    /// Of an erasure.
    #[serde(default)]
    subject: String,
    #[serde(default)]
    compaction: Compaction,
}

/// `POST /operations`: makes the operation once, however often the form is sent.
pub async fn make_form(
    admin: Data<AdminState>,
    user: User,
    form: Form<NewForm>,
) -> Result<HttpResponse, AdminError> {
    if form.kind == OperationKind::Erase {
        let erase = EraseForm {
            subject: &form.subject,
            filter: &form.filter,
            key: &form.key,
            reason: &form.reason,
            compaction: form.compaction,
        };
        let new = erasure::of_form(&admin, &user, erase).await?;
        store(&admin, new).await?;
        return Ok(see_other("/operations"));
    }
    let (Some(before), Some(count), Some(rate)) = (form.before, form.count, form.rate) else {
        let why = "the form must have before, count and rate";
        return Err(AdminError::Query(why.to_owned()));
    };
    let typed = form.typed.replace([',', ' ', '.'], "");
    if count > TYPED_COUNT && typed != count.to_string() {
        return Err(AdminError::Query(format!(
            "to confirm, type the number of calls: {count}"
        )));
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&form.filter)
        .map_err(|why| AdminError::Query(format!("filter: {why}")))?;
    let pairs = pairs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let new = draft(&admin, &user, form.kind, pairs, FilterSource::Url).await?;
    let new = NewOperation {
        key: form.key.clone(),
        before,
        rate,
        reason: Some(Reason::parse(&form.reason)?),
        ..new
    };
    store(&admin, new).await?;
    Ok(see_other("/operations"))
}
