//! Twilio's side over TLS, for those without a balancer.
//!
//! actix-web's own way would speak HTTP/2 too, where no answer can be told to be the last of its
//! connection: a bridge that stops could not tell its clients.

use std::net::TcpListener;
use std::sync::Arc;

use actix_http::HttpService;
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use rustls::ServerConfig;

use super::serve::Limits;
use crate::server::KEEP_ALIVE;
use crate::server::connections::Connections;

/// As actix-web's `HttpServer` with the same limits, with HTTP/1.1 over TLS alone.
pub(super) fn serve<F, R, S, B>(
    listener: TcpListener,
    tls: &Arc<ServerConfig>,
    connections: &Connections,
    limits: Limits,
    routes: F,
) -> std::io::Result<Server>
where
    F: Fn() -> R + Send + Clone + 'static,
    R: IntoServiceFactory<S, actix_http::Request>,
    S: ServiceFactory<
            actix_http::Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    S::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let (tls, connections) = (ServerConfig::clone(tls), connections.clone());
    let service = move || {
        let (each, closing) = (connections.clone(), connections.clone());
        HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(limits.request_timeout)
            .graceful_shutdown_signal(move || closing.clone().closing())
            .on_connect_ext(move |_: &_, data| each.begin(data))
            .h1(map_config(
                routes().into_factory().map_err(|why| why.error_response()),
                |()| AppConfig::default(),
            ))
            .rustls_0_23(tls.clone())
    };
    let server = Server::build()
        .disable_signals()
        .workers(limits.workers)
        .max_concurrent_connections(limits.connections)
        .shutdown_timeout(limits.shutdown_timeout)
        .listen("twilio", listener, service)?;
    Ok(server.run())
}
