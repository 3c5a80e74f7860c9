//! The HTTP server of the fake Acquire.
//!
//! It does not check what a request contains: Acquire's own checks are not known.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;

use super::reply::{Reply, SAVED};
use super::request::CapturedRequest;
use super::state::FakeAcquireState;
use crate::clock::{self, Clock};

const WORKERS: usize = 2;
/// Of a request, in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// Serves on its own threads, so that the caller may run any runtime, or none.
pub(super) fn start(
    listen: SocketAddr,
    state: &Arc<FakeAcquireState>,
) -> io::Result<(SocketAddr, ServerHandle, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen)?;
    let addr = listener.local_addr()?;
    let state = web::Data::from(Arc::clone(state));
    let (started, handle) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let served = actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(state.clone())
                    .app_data(web::PayloadConfig::new(MAX_REQUEST_BYTES))
                    .service(web::resource("{path:.*}").route(web::post().to(receive)))
            })
            .workers(WORKERS)
            .keep_alive(Duration::from_secs(75))
            .disable_signals()
            .shutdown_timeout(0)
            .listen(listener)?
            .run();
            // The caller waits for the handle, so sending cannot fail.
            let _ = started.send(server.handle());
            server.await
        });
        if let Err(error) = served {
            tracing::error!(%error, "the fake Acquire ended");
        }
    });
    let server = handle
        .recv()
        .map_err(|_| io::Error::other("the fake Acquire did not start"))?;
    Ok((addr, server, thread))
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
        // A body that fails at once makes actix close the connection before the head is sent.
        Reply::Reset => HttpResponse::Ok().body(SizedStream::new(
            1,
            stream::once(async { Err::<web::Bytes, _>(io::Error::other("reset")) }),
        )),
    }
}
