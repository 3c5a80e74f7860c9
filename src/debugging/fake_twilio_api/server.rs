//! The HTTP server of the fake Twilio API: routes, filters, pages and faults.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::fake_server::{FakeServer, cut_short};
use super::rows::{ListRow, number_row};
use super::{ApiFault, Deviation, FakeRecords, Shared};
use crate::clock::{self, Millis};
use crate::twilio::form::{Form, fields};

/// Rows of a page, if the request does not say.
const PAGE_SIZE: usize = 50;

const DAY: i64 = 86_400_000;

pub(super) fn start(listen: SocketAddr, shared: &Arc<Shared>) -> io::Result<FakeServer> {
    let shared = web::Data::from(Arc::clone(shared));
    FakeServer::start(listen, 1, move |routes| {
        routes
            .app_data(shared.clone())
            .service(web::resource("{path:.*}").route(web::get().to(get)));
    })
}

async fn get(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let now = shared.now();
    let (fault, delay, (status, body)) = {
        let mut records = shared.lock();
        records.requests.push(target.to_owned());
        let fault = records.faults.pop_front();
        let answer = match fault {
            Some(ApiFault::TooMany) => (429, error(20_429, "Too Many Requests")),
            Some(ApiFault::Unauthorized) => (401, error(20_003, "Authenticate")),
            Some(ApiFault::PermissionMissing) => (
                401,
                error(70_051, "Authorization Error: /twilio/voice/calls/list"),
            ),
            Some(ApiFault::FailsAbove(rows)) if page_size(target) > rows => {
                // Until a smaller page is asked for.
                records.faults.push_front(ApiFault::FailsAbove(rows));
                (500, error(20_500, "Internal Server Error"))
            }
            _ => answer(&records, target, &key(&request), now),
        };
        if answer.0 == 200
            && let Some(call) = records.arriving.pop_front()
        {
            records.calls.retain(|other| other.sid != call.sid);
            records.calls.push(call);
        }
        (fault, records.delay, answer)
    };
    if !delay.is_zero() {
        clock::pause(delay).await;
    }
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default());
    response.insert_header((CONTENT_TYPE, "application/json"));
    let since_epoch = std::time::UNIX_EPOCH + now.since(Millis(0));
    response.insert_header((DATE, httpdate::fmt_http_date(since_epoch)));
    if status == 429 {
        response.insert_header((RETRY_AFTER, "0"));
    }
    let body = body.to_string();
    if fault == Some(ApiFault::CutBody) {
        let half = body[..body.len() / 2].to_owned();
        return cut_short(response, body.len() as u64, Some(half));
    }
    response.body(body)
}

/// The name of the API key.
fn key(request: &HttpRequest) -> String {
    let header = request.headers().get("authorization");
    let basic = header.and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let decoded = basic.and_then(|text| STANDARD.decode(text).ok());
    let text = String::from_utf8(decoded.unwrap_or_default()).unwrap_or_default();
    text.split(':').next().unwrap_or_default().to_owned()
}

fn error(code: u32, message: &str) -> Value {
    json!({ "code": code, "message": message, "more_info": "", "status": 0 })
}

fn page_size(target: &str) -> usize {
    let query = Query::of(target);
    query
        .get("PageSize")
        .and_then(|size| size.parse().ok())
        .unwrap_or(PAGE_SIZE)
}

struct Query(Form);

impl Query {
    fn of(target: &str) -> Self {
        let (_, query) = target.split_once('?').unwrap_or_default();
        Self(fields(query.as_bytes()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.value(name)
    }
}

/// Status and body of the answer to a GET.
pub(super) fn answer(records: &FakeRecords, target: &str, key: &str, now: Millis) -> (u16, Value) {
    let not_found = || (404, error(20_404, "The requested resource was not found"));
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["v1", "Alerts"] if records.deviates(Deviation::TooManyAlerts) => {
            (400, error(20_001, "Invalid page and pageSize combination"))
        }
        ["v1", "Alerts"] => (200, alerts(records, target, now)),
        ["v1", "Alerts", sid] => {
            let found = records.alerts.iter().find(|alert| alert.sid == *sid);
            found.map_or_else(not_found, |alert| (200, alert.details("http://127.0.0.1")))
        }
        ["2010-04-01", "Accounts", account, rest @ ..] => {
            let may_read = |accounts: &Vec<String>| accounts.iter().any(|one| one == account);
            if !records.keys.is_empty() && !records.keys.get(key).is_some_and(may_read) {
                return (401, error(20_003, "Authenticate"));
            }
            match of_account(records, account, rest, target, now) {
                Some(body) => (200, body),
                None => not_found(),
            }
        }
        _ => not_found(),
    }
}

fn of_account(
    records: &FakeRecords,
    account: &str,
    resource: &[&str],
    target: &str,
    now: Millis,
) -> Option<Value> {
    let calls = || {
        let own = records.calls.iter().filter(|call| call.account == account);
        own.filter(|call| call.listed <= now)
    };
    let call = |sid: &str| calls().find(|call| call.sid == sid);
    let query = Query::of(target);
    match resource {
        ["Calls.json"] => {
            let is_by_end = ["EndTime", "EndTime>", "EndTime<"]
                .iter()
                .any(|name| query.get(name).is_some());
            let is_within = within(records, &query, "EndTime");
            let rows = calls().filter(|call| {
                let status = query.get("Status");
                status.is_none_or(|status| status == call.status)
                    && (!is_by_end || call.ended.is_some_and(&is_within))
            });
            Some(page(records, "calls", rows.collect(), target))
        }
        ["Calls", file] => call(file.strip_suffix(".json")?).map(ListRow::json),
        ["Calls", sid, "Events.json"] => {
            let events = call(sid)?.events();
            Some(page(records, "events", events.iter().collect(), target))
        }
        ["Recordings.json"] => {
            let is_within = within(records, &query, "DateCreated");
            let rows = records.recordings.iter().filter(|recording| {
                recording.account == account
                    && recording.created <= now
                    && query.get("CallSid").is_none_or(|sid| sid == recording.call)
                    && is_within(recording.created)
            });
            Some(page(records, "recordings", rows.collect(), target))
        }
        ["IncomingPhoneNumbers.json"] => {
            let numbers = (1..).zip(&records.numbers);
            let rows: Vec<Value> = numbers
                .map(|(place, (number, callback))| number_row(account, place, number, callback))
                .collect();
            let rows = rows.iter().collect();
            Some(page(records, "incoming_phone_numbers", rows, target))
        }
        _ => None,
    }
}

/// Whether times match the filters `NAME`, `NAME>` (on or after) and `NAME<` (before): whole UTC days,
/// unless the time of day is observed.
fn within(records: &FakeRecords, query: &Query, name: &str) -> impl Fn(Millis) -> bool + use<> {
    let by_time = records.deviates(Deviation::FilterByTime);
    let is_ignored = records.deviates(Deviation::IgnoredFilter);
    // Once for all rows of a list.
    let [from, until, day] = [">", "<", ""].map(|operator| {
        let text = query.get(&format!("{name}{operator}"))?;
        let time = text.parse::<jiff::Timestamp>().ok();
        let day = || format!("{text}T00:00:00Z").parse::<jiff::Timestamp>().ok();
        let at = Millis(time.or_else(day)?.as_millisecond());
        Some(if by_time { at } else { at.start_of_day() })
    });
    move |at| {
        is_ignored
            || (from.is_none_or(|from| at >= from)
                && until.is_none_or(|until| at < until)
                && day.is_none_or(|day| (day.0..day.0 + DAY).contains(&at.0)))
    }
}

fn alerts(records: &FakeRecords, target: &str, now: Millis) -> Value {
    let query = Query::of(target);
    let time = |name: &str| {
        let time = query.get(name)?.parse::<jiff::Timestamp>().ok()?;
        Some(Millis(time.as_millisecond()))
    };
    let (from, until) = (time("StartDate"), time("EndDate"));
    let listed = records.alerts.iter().filter(|alert| {
        alert.at <= now
            && from.is_none_or(|from| alert.at >= from)
            && until.is_none_or(|until| alert.at <= until)
    });
    let rows: Vec<Value> = listed.map(|alert| alert.row("http://127.0.0.1")).collect();
    let url = format!("http://127.0.0.1{target}");
    json!({
        "alerts": rows,
        "meta": {
            "first_page_url": url, "key": "alerts", "next_page_url": null, "page": 0,
            "page_size": page_size(target), "previous_page_url": null, "url": url,
        },
    })
}

/// One page of a list, the newest row first unless the order deviates. The token names the last row of
/// the page before.
fn page<T: ListRow>(records: &FakeRecords, member: &str, mut rows: Vec<&T>, target: &str) -> Value {
    let shuffled = |row: &&T| {
        row.sid().bytes().fold(7_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        })
    };
    if records.deviates(Deviation::Shuffled) {
        rows.sort_by_key(shuffled);
    } else if records.deviates(Deviation::OldestFirst) {
        rows.sort_by(|one, other| (one.at(), one.sid()).cmp(&(other.at(), other.sid())));
    } else {
        rows.sort_by(|one, other| (other.at(), other.sid()).cmp(&(one.at(), one.sid())));
    }
    let query = Query::of(target);
    let size = page_size(target).min(1_000);
    let token = query
        .get("PageToken")
        .and_then(|token| token.strip_prefix("PA"));
    let after = |last: &str| rows.iter().position(|row| row.sid() == last);
    let start = token.and_then(after).map_or(0, |place| place + 1);
    let end = (start + size).min(rows.len());
    let number: usize = query
        .get("Page")
        .and_then(|page| page.parse().ok())
        .unwrap_or(0);
    let path = target.split('?').next().unwrap_or_default();
    let own = |name: &str| !["Page", "PageToken", "PageSize"].contains(&name);
    let encode = |text: &str| {
        let text = text.replace('>', "%3E").replace('<', "%3C");
        text.replace('+', "%2B")
    };
    let mut filters = String::new();
    for (name, value) in query.0.iter().filter(|(name, _)| own(name)) {
        filters.extend([&encode(name), "=", &encode(value), "&"]);
    }
    let uri = |page: usize| format!("{path}?{filters}PageSize={size}&Page={page}");
    let mut next = (end < rows.len()).then(|| {
        let last = rows.get(end.saturating_sub(1)).map(|row| row.sid());
        let last = last.unwrap_or_default();
        format!("{}&PageToken=PA{last}", uri(number + 1))
    });
    if records.deviates(Deviation::ForeignNextPage) {
        next = Some(format!("https://elsewhere.example.com{}", uri(number + 1)));
    } else if records.deviates(Deviation::RepeatingNextPage) {
        next = Some(format!("{}&PageToken=PA", uri(1)));
    }
    let rows = rows
        .drain(start..end)
        .map(|row| deviating(records, row.json()));
    json!({
        member: rows.collect::<Vec<_>>(),
        "end": end.saturating_sub(1),
        "first_page_uri": uri(0),
        "next_page_uri": next,
        "page": number,
        "page_size": size,
        "previous_page_uri": null,
        "start": start,
        "uri": uri(number),
    })
}

fn deviating(records: &FakeRecords, mut row: Value) -> Value {
    let Value::Object(members) = &mut row else {
        return row;
    };
    if records.deviates(Deviation::EmptySids) {
        for (name, value) in members.iter_mut() {
            if name.ends_with("_sid") && value.is_null() {
                *value = "".into();
            }
        }
    }
    if records.deviates(Deviation::AbsentFields) {
        members.retain(|_, value| !value.is_null());
    }
    if records.deviates(Deviation::NumericDuration)
        && let Some(seconds) = members.get("duration").and_then(Value::as_str)
        && let Ok(seconds) = seconds.parse::<u32>()
    {
        members.insert("duration".to_owned(), seconds.into());
    }
    row
}
