//! Erasures: their confirmation and their preview. They are operations like others (`operations.rs`).

use actix_web::HttpResponse;
use askama::Template;
use serde::Serialize;

use super::calls::search_of;
use super::console::{AdminState, MAX_PAGE_SIZE, page};
use super::error::AdminError;
use super::frame::Frame;
use super::sign_in::User;
use crate::config::StoreUrl;
use crate::debugging::missing_call::SEARCHED;
use crate::domain::audit::Reason;
use crate::domain::call_filter::{CallFilter, FilterSource};
use crate::domain::subject::{Subject, SubjectError};
use crate::store::erasure::{
    Compaction, NewErasure, Removed, calls_with, is_in_refused, with_legs,
};
use crate::store::{Detail, NewOperation};
use crate::twilio::CallSid;

/// Pages of [`MAX_PAGE_SIZE`] calls that a preview reads, at most.
const MAX_PAGES: usize = 100;

impl From<SubjectError> for AdminError {
    fn from(why: SubjectError) -> Self {
        Self::Query(why.to_string())
    }
}

/// An erasure to make.
pub(super) async fn draft(
    admin: &AdminState,
    user: &User,
    subject: Subject,
    compaction: Compaction,
) -> Result<NewOperation, AdminError> {
    let bridge = &admin.bridge;
    let is_file = matches!(bridge.config.borrow().store.url, StoreUrl::Sqlite(_));
    if compaction == Compaction::Full && is_file {
        let why = "a bridge cannot accept callbacks while its SQLite file is rewritten: stop it, and run \
                   erase --compact";
        return Err(AdminError::Query(why.to_owned()));
    }
    let subject = match &subject {
        Subject::Call(sids) => {
            let sid = CallSid::parse(&sids[0])?;
            with_legs(subject.clone(), &bridge.store.get_all(&sid).await?)
        }
        _ => subject,
    };
    let words = subject.words(&bridge.store.address_hasher().await?);
    let erasure = NewErasure {
        subject,
        words,
        compaction,
    };
    Ok(erasure.operation(user.actor.clone(), bridge.clock.now()))
}

/// Counts of the data that an erasure would remove now. Spools are not searched.
#[derive(Debug, Default, Serialize)]
pub(super) struct Preview {
    #[serde(flatten)]
    removed: Removed,
    /// Whether the search ended early, so that there may be more.
    is_cut: bool,
}

pub(super) async fn preview(admin: &AdminState, subject: &Subject) -> Result<Preview, AdminError> {
    let store = &admin.bridge.store;
    let mut preview = Preview::default();
    for stored in store.refused(SEARCHED).await? {
        preview.removed.refused += u64::from(is_in_refused(subject, &stored.request));
    }
    let mut query = calls_with(subject, Detail::Whole, MAX_PAGE_SIZE);
    for _ in 0..MAX_PAGES {
        let page = store.search(query.clone()).await?;
        for call in &page.calls {
            preview.removed.add_call(call);
        }
        query.from = page.start;
        if query.from.is_none() {
            return Ok(preview);
        }
    }
    preview.is_cut = true;
    Ok(preview)
}

#[derive(Template)]
#[template(path = "erase.html")]
struct ErasePage {
    /// The call, if one is to be erased.
    call: Option<String>,
    filter: String,
    key: String,
    preview: Preview,
    is_file: bool,
    frame: Frame,
}

/// `GET /operations/new?kind=erase`, with `call` or with the `address` of a list.
pub(super) async fn confirm(
    admin: &AdminState,
    pairs: &[(&str, &str)],
) -> Result<HttpResponse, AdminError> {
    let bridge = &admin.bridge;
    let now = bridge.clock.now();
    let mut preview = Preview::default();
    let (mut call, mut filter) = (None, CallFilter::default());
    match pairs {
        [] => {}
        [("call", sid)] => {
            let sid = CallSid::parse(sid)?;
            let calls = bridge.store.get_all(&sid).await?;
            for call in &calls {
                preview.removed.add_call(call);
            }
            call = Some(sid.to_string());
        }
        [("address", hash)] => {
            filter.set("address", hash, now, FilterSource::Url)?;
            let search = search_of(admin, filter.clone()).await?;
            let found = search.query(Detail::Whole, MAX_PAGE_SIZE);
            let found = bridge.store.search(found).await?;
            for call in &found.calls {
                preview.removed.add_call(call);
            }
            preview.is_cut = found.end.is_some();
        }
        _ => {
            let why = "an erasure is of one call, or one address, without other filters";
            return Err(AdminError::Query(why.to_owned()));
        }
    }
    page(&ErasePage {
        call,
        filter: filter.query(),
        key: format!("{:032x}", fastrand::u128(..)),
        preview,
        is_file: matches!(bridge.config.borrow().store.url, StoreUrl::Sqlite(_)),
        // Without a time: a live update must not replace a form that is being filled in.
        frame: Frame {
            as_of: None,
            ..Frame::of("/operations", now)
        },
    })
}

/// The fields of the form.
pub(super) struct EraseForm<'f> {
    pub subject: &'f str,
    /// The address of the list that the form is about.
    pub filter: &'f str,
    pub key: &'f str,
    pub reason: &'f str,
    pub compaction: Compaction,
}

pub(super) async fn of_form(
    admin: &AdminState,
    user: &User,
    form: EraseForm<'_>,
) -> Result<NewOperation, AdminError> {
    let subject = Subject::parse_any(form.subject)?;
    let reason = Reason::parse(form.reason)?;
    let hash = subject.hash(&admin.bridge.store.address_hasher().await?);
    let hash = format!("address={:016x}", hash.0);
    // The list may have been of the last digits, which have two hashes.
    if !form.filter.is_empty() && !form.filter.contains('-') && form.filter != hash {
        let why = "this is not the number or e-mail of the list: open the list of its calls first";
        return Err(AdminError::Query(why.to_owned()));
    }
    Ok(NewOperation {
        key: form.key.to_owned(),
        reason: Some(reason),
        ..draft(admin, user, subject, form.compaction).await?
    })
}
