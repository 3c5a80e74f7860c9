//! The HTTP server of the fake Acquire.
//!
//! It does not check what a request contains: Acquire's own checks are not known.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};

use super::super::fake_server::{FakeServer, cut_short};
use super::reply::{Reply, SAVED};
use super::{CapturedRequest, FakeAcquireState};
use crate::clock::{self, Clock};

const WORKERS: usize = 2;
/// Of a request, in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

pub(super) fn start(listen: SocketAddr, state: &Arc<FakeAcquireState>) -> io::Result<FakeServer> {
    let state = web::Data::from(Arc::clone(state));
    FakeServer::start(listen, WORKERS, move |routes| {
        routes
            .app_data(state.clone())
            .app_data(web::PayloadConfig::new(MAX_REQUEST_BYTES))
            .service(web::resource("{path:.*}").route(web::post().to(receive)));
    })
}

async fn receive(
    request: HttpRequest,
    body: web::Bytes,
    state: web::Data<FakeAcquireState>,
) -> HttpResponse {
    let (reply, delay) = state.next(&body);
    let _answering = state.answering();
    state.retain(|| captured(&request, &body, &reply));
    if !delay.is_zero() {
        // Real time, not that of a simulated clock: a slow Acquire takes real time.
        clock::pause(delay).await;
    }
    answer(&reply)
}

fn captured(request: &HttpRequest, body: &[u8], reply: &Reply) -> CapturedRequest {
    let headers = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.to_string(), value.into_owned())
    });
    CapturedRequest {
        time: Clock::system().now(),
        method: request.method().to_string(),
        path: request.uri().to_string(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(body).into_owned(),
        reply: reply.clone(),
    }
}

fn answer(reply: &Reply) -> HttpResponse {
    let json = |status: u16, body: &'static str| {
        HttpResponse::build(StatusCode::from_u16(status).unwrap_or_default())
            .content_type(ContentType::json())
            .body(body)
    };
    match reply {
        Reply::Saved => json(200, SAVED),
        Reply::Status(status @ (204 | 304)) => json(*status, ""),
        Reply::Status(status) => json(*status, r#"{"message":"fault of the fake Acquire"}"#),
        Reply::TooMany { retry_after } => HttpResponse::TooManyRequests()
            .insert_header((RETRY_AFTER, retry_after.as_str()))
            .finish(),
        Reply::SuccessFalse => json(200, r#"{"data":{"success":false,"message":"Not saved"}}"#),
        Reply::Html => HttpResponse::Ok()
            .content_type(ContentType::html())
            .body("<!DOCTYPE html><title>Welcome</title>"),
        Reply::Duplicate => json(400, r#"{"error":"ERROR_DUPLICATE_RECORD_FOUND"}"#),
        Reply::Invalid => json(400, r#"{"error":"ERROR_INVALID_INPUT"}"#),
        Reply::Reset => cut_short(HttpResponse::Ok(), 1, None),
    }
}
