//! The report as a page, CSV and JSON.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use jiff::civil::Date;
use serde::Deserialize;

use super::console::{AdminState, page};
use super::error::AdminError;
use super::frame::Frame;
use crate::debugging::report::{Period, Report};

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage {
    month: String,
    before: Option<String>,
    after: Option<String>,
    report: Report,
    frame: Frame,
}

#[derive(Debug, Deserialize)]
pub struct PageQuery {
    format: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct ReportQuery {
    month: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// `GET /report`: the report of the present month.
pub async fn current(admin: Data<AdminState>) -> Result<HttpResponse, AdminError> {
    let period = this_month(&admin);
    show(&admin, period).await
}

/// `GET /report/2026-11`, and with `?format=csv` as CSV.
pub async fn of_month(
    admin: Data<AdminState>,
    month: Path<String>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, AdminError> {
    let period = Period::month(&month).ok_or(AdminError::NotFound)?;
    match query.format.as_deref() {
        None => show(&admin, period).await,
        Some("csv") => {
            let name = format!("attachment; filename=\"report-{month}.csv\"");
            Ok(HttpResponse::Ok()
                .content_type("text/csv; charset=utf-8")
                .insert_header((header::CONTENT_DISPOSITION, name))
                .body(of(&admin, period).await?.to_csv()))
        }
        Some(_) => Err(AdminError::Query("format must be csv".to_owned())),
    }
}

/// `GET /api/report?month=2026-11`, or `?since=2026-11-02&until=2026-11-08`.
pub async fn json(
    admin: Data<AdminState>,
    query: Query<ReportQuery>,
) -> Result<HttpResponse, AdminError> {
    let day = |text: &String| text.parse::<Date>().ok();
    let period = match (&query.month, &query.since, &query.until) {
        (None, None, None) => Some(this_month(&admin)),
        (Some(month), None, None) => Period::month(month),
        (None, Some(since), Some(until)) => day(since)
            .zip(day(until))
            .and_then(|(since, until)| Period::days(since, until)),
        _ => None,
    };
    let wrong = || AdminError::Query("give month (YYYY-MM), or since and until (days)".to_owned());
    Ok(HttpResponse::Ok().json(of(&admin, period.ok_or_else(wrong)?).await?))
}

fn this_month(admin: &AdminState) -> Period {
    let zone = &admin.bridge.config.borrow().report.time_zone;
    Period::current(admin.bridge.clock.now(), zone)
}

async fn of(admin: &AdminState, period: Period) -> Result<Report, AdminError> {
    let settings = admin.bridge.config.borrow().report.clone();
    let rows = admin
        .bridge
        .store
        .ledger(period.time(&settings.time_zone))
        .await?;
    Ok(Report::of(&rows, period, &settings))
}

async fn show(admin: &AdminState, period: Period) -> Result<HttpResponse, AdminError> {
    let [before, after] = period.neighbours();
    let month = crate::debugging::report::month_text(period.since);
    page(&ReportPage {
        month,
        before,
        after,
        report: of(admin, period).await?,
        frame: Frame::of("/report", admin.bridge.clock.now()),
    })
}
