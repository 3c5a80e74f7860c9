//! Twilio's side: who comes in by the door, TLS where there is a certificate, then HTTP/1.1 alone.
//!
//! actix-web's own way knows no door before TLS. It would speak HTTP/2 too, where no answer can be
//! told to be the last of its connection: a bridge that stops could not tell its clients.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use rustls::ServerConfig;

use super::connection::ClientConnection;
use super::proxy_protocol::ProxyProtocolAcceptor;
use super::serve::ServerLimits;
use crate::server::KEEP_ALIVE;
use crate::server::listener::drain::Connections;

/// How long a client may take to close its side after the last answer; as in actix-web.
const DISCONNECT: Duration = Duration::from_secs(1);

/// As actix-web's `HttpServer` with the same limits.
pub(super) fn serve<F, R, S, B>(
    listener: TcpListener,
    door: Arc<ProxyProtocolAcceptor>,
    tls: Option<Arc<ServerConfig>>,
    connections: &Connections,
    limits: ServerLimits,
    routes: F,
) -> std::io::Result<Server>
where
    F: Fn() -> R + Send + Clone + 'static,
    R: IntoServiceFactory<S, actix_http::Request> + 'static,
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
    let connections = connections.clone();
    let come_in = move || {
        let door = Arc::clone(&door);
        fn_service(move |tcp: TcpStream| Arc::clone(&door).accept(tcp))
    };
    let server = Server::build()
        .disable_signals()
        .workers(limits.workers)
        .max_concurrent_connections(limits.connections)
        .shutdown_timeout(limits.shutdown_timeout);
    let server = match tls {
        None => server.listen("twilio", listener, move || {
            let http = http(plainly, &connections, limits, routes());
            come_in().map_err(drop).and_then(http)
        }),
        Some(tls) => server.listen("twilio", listener, move || {
            let http = http(within_tls, &connections, limits, routes());
            let handshake = Acceptor::new(ServerConfig::clone(&tls)).map_err(drop);
            come_in().map_err(drop).and_then(handshake).and_then(http)
        }),
    };
    Ok(server?.run())
}

fn plainly(stream: &ClientConnection) -> &ClientConnection {
    stream
}

fn within_tls(stream: &TlsStream<ClientConnection>) -> &ClientConnection {
    stream.get_ref().0
}

/// HTTP/1.1 over streams that are, or hold, an arrival.
fn http<IO, R, S, B>(
    arrival: fn(&IO) -> &ClientConnection,
    connections: &Connections,
    limits: ServerLimits,
    routes: R,
) -> impl ServiceFactory<IO, Config = (), Response = (), Error = (), InitError = ()> + use<IO, R, S, B>
where
    IO: actix_rt::net::ActixStream + 'static,
    R: IntoServiceFactory<S, actix_http::Request> + 'static,
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
    let connections = connections.clone();
    let http = HttpService::build()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(limits.request_timeout)
        .client_disconnect_timeout(DISCONNECT)
        .graceful_shutdown_signal(move || connections.clone().closing())
        .on_connect_ext(move |stream: &IO, data| arrival(stream).store_in(data))
        .h1(map_config(
            routes.into_factory().map_err(|why| why.error_response()),
            |()| AppConfig::default(),
        ));
    fn_service(move |stream: IO| {
        let client = arrival(&stream).client();
        std::future::ready(Ok((stream, client)))
    })
    .and_then(http.map_err(drop))
}
