//! The stand-in's HTTP side.

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

use super::reply::SAVED;
use super::{CapturedRequest, Reply, Retain, Shared, lock};
use crate::clock::{self, Clock};

const WORKERS: usize = 2;
const MAX_BODY: usize = 1024 * 1024;

/// Serves on threads of its own, whatever runs on the caller's.
pub(super) fn start(
    listen: SocketAddr,
    shared: &Arc<Shared>,
) -> io::Result<(SocketAddr, ServerHandle, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen)?;
    let addr = listener.local_addr()?;
    let shared = web::Data::from(Arc::clone(shared));
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let served = actix_web::rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(shared.clone())
                    .app_data(web::PayloadConfig::new(MAX_BODY))
                    .service(web::resource("{path:.*}").route(web::post().to(receive)))
            })
            .workers(WORKERS)
            .keep_alive(Duration::from_secs(75))
            .disable_signals()
            .shutdown_timeout(0)
            .listen(listener)?
            .run();
            // The caller waits for this handle, so it is there to take it.
            let _ = tell.send(server.handle());
            server.await
        });
        if let Err(error) = served {
            tracing::error!(%error, "the stand-in for Acquire ended");
        }
    });
    let server = told
        .recv()
        .map_err(|_| io::Error::other("the stand-in for Acquire did not start"))?;
    Ok((addr, server, thread))
}

async fn receive(
    request: HttpRequest,
    body: web::Bytes,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let (reply, delay) = shared.next();
    let _answering = shared.answering();
    shared.keep(&request, &body, &reply);
    if !delay.is_zero() {
        // A fault that takes real time, as a slow Acquire does.
        clock::pause(delay).await;
    }
    answer(&reply)
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
        Reply::Status(status) => json(*status, r#"{"message":"as the stand-in was told"}"#),
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

impl Shared {
    fn keep(&self, request: &HttpRequest, body: &[u8], reply: &Reply) {
        let received = || CapturedRequest {
            time: Clock::system().now(),
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers: request
                .headers()
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes());
                    (name.to_string(), value.into_owned())
                })
                .collect(),
            body: String::from_utf8_lossy(body).into_owned(),
            reply: reply.clone(),
        };
        match &self.keep {
            Retain::All => lock(&self.received).push(received()),
            Retain::CallIds => {
                let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
                let call_id = body.as_ref().and_then(|body| body.get("CallId")?.as_str());
                lock(&self.call_ids).extend(call_id.map(str::to_owned));
            }
            Retain::Nothing => {}
            // Who was to take it has gone: then nobody wants it.
            Retain::Pass(to) => drop(to.send(received())),
        }
        self.count.send_modify(|count| *count += 1);
    }
}
