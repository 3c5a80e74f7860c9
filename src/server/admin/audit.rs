//! The audit log as a page and in the API.

use std::num::NonZeroUsize;

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::console::{AdminState, page, page_size};
use super::error::AdminError;
use super::frame::Frame;
use crate::clock::Millis;
use crate::domain::audit::Act;
use crate::domain::call_filter::{CallFilterError, FilterKey, parse_time};
use crate::store::{AuditFilter, StoredAuditRow};

#[derive(Debug, Deserialize)]
pub struct AuditQuery {
    actor: Option<String>,
    act: Option<String>,
    since: Option<String>,
    limit: Option<NonZeroUsize>,
    cursor: Option<i64>,
}

impl AuditQuery {
    fn filter(&self, now: Millis) -> Result<AuditFilter, AdminError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let act = given(&self.act).map(|act| {
            Act::parse(&act).ok_or_else(|| {
                let known = Act::ALL.map(Act::as_str).join(", ");
                AdminError::Query(format!("act must be one of {known}"))
            })
        });
        let since = given(&self.since).map(|since| {
            parse_time(&since, now, &TimeZone::UTC).ok_or(CallFilterError::Time(FilterKey::Since))
        });
        Ok(AuditFilter {
            actor: given(&self.actor),
            act: act.transpose()?,
            since: since.transpose()?,
            before: self.cursor,
            limit: page_size(self.limit),
        })
    }
}

/// Rows, and the cursor of the next page.
async fn rows(
    admin: &AdminState,
    query: &AuditQuery,
) -> Result<(Vec<StoredAuditRow>, Option<i64>), AdminError> {
    let mut filter = query.filter(admin.bridge.clock.now())?;
    let limit = filter.limit;
    filter.limit += 1;
    let mut rows = admin.bridge.store.audit(filter).await?;
    let is_cut = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().map(|last| last.row.number);
    Ok((rows, last.filter(|_| is_cut)))
}

/// `GET /api/audit?actor=alice&act=requeue&since=2026-01-31`, newest first.
pub async fn list(
    admin: Data<AdminState>,
    query: Query<AuditQuery>,
) -> Result<HttpResponse, AdminError> {
    let (rows, cursor) = rows(&admin, &query).await?;
    let mut answer = serde_json::json!({ "audit": rows });
    if let Some(cursor) = cursor {
        answer["cursor"] = cursor.to_string().into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    rows: Vec<StoredAuditRow>,
    acts: [Act; Act::ALL.len()],
    query: AuditQuery,
    older: Option<String>,
    frame: Frame,
}

/// `GET /audit`: who did what.
pub async fn overview(
    admin: Data<AdminState>,
    query: Query<AuditQuery>,
) -> Result<HttpResponse, AdminError> {
    let (rows, cursor) = rows(&admin, &query).await?;
    let older = cursor.map(|cursor| {
        let keep = [
            ("actor", query.actor.clone()),
            ("act", query.act.clone()),
            ("since", query.since.clone()),
            ("cursor", Some(cursor.to_string())),
        ];
        let pairs = keep
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        serde_urlencoded::to_string(pairs.collect::<Vec<_>>()).unwrap_or_default()
    });
    page(&AuditPage {
        rows,
        acts: Act::ALL,
        query: query.into_inner(),
        older,
        frame: Frame::of("/audit", admin.bridge.clock.now()),
    })
}
