//! The server of the public listener: the PROXY protocol, TLS where there is a certificate, then
//! HTTP/1.1 only.
//!
//! `actix_web::HttpServer` cannot read a PROXY header before TLS. It would also speak HTTP/2, which has
//! no `Connection: close`: a bridge that stops could not close its connections in order.

use std::net::TcpListener;
use std::num::NonZeroUsize;
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
use super::drain::Connections;
use super::proxy_protocol::ProxyProtocolAcceptor;
use crate::config::ServerSettings;

/// How long a connection may be idle. Longer than balancers keep theirs (60 s), so that the balancer
/// closes first: otherwise it could send a request on a connection that is just closed.
const SERVER_KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client may take to close its side after the last answer, as in actix-web.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Threads, connections and time limits of one server.
#[derive(Clone, Copy)]
pub(super) struct ServerLimits {
    workers: usize,
    connections_per_worker: usize,
    request_timeout: Duration,
    /// In seconds.
    shutdown_timeout: u64,
}

impl ServerLimits {
    pub fn of(settings: &ServerSettings) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            workers,
            connections_per_worker: settings.max_connections.div_ceil(workers),
            request_timeout: settings.request_timeout,
            // Half of the time, because a client that never finishes its request must not use up the
            // time of the steps that follow.
            shutdown_timeout: (settings.stop_timeout / 2).as_secs().max(1),
        }
    }
}

/// Serves `routes`, as `actix_web::HttpServer` would with the same limits.
pub(super) fn serve<F, R, S, B>(
    listener: TcpListener,
    acceptor: Arc<ProxyProtocolAcceptor>,
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
    let accept = move || {
        let acceptor = Arc::clone(&acceptor);
        fn_service(move |tcp: TcpStream| Arc::clone(&acceptor).accept(tcp))
    };
    let server = Server::build()
        .disable_signals()
        .workers(limits.workers)
        // actix limits connections per worker; the setting is the total.
        .max_concurrent_connections(limits.connections_per_worker)
        .shutdown_timeout(limits.shutdown_timeout);
    let server = match tls {
        None => server.listen("twilio", listener, move || {
            let http = http(plain, &connections, limits, routes());
            accept().map_err(drop).and_then(http)
        }),
        Some(tls) => server.listen("twilio", listener, move || {
            let http = http(encrypted, &connections, limits, routes());
            let handshake = Acceptor::new(ServerConfig::clone(&tls)).map_err(drop);
            accept().map_err(drop).and_then(handshake).and_then(http)
        }),
    };
    Ok(server?.run())
}

fn plain(stream: &ClientConnection) -> &ClientConnection {
    stream
}

fn encrypted(stream: &TlsStream<ClientConnection>) -> &ClientConnection {
    stream.get_ref().0
}

/// HTTP/1.1 on streams that are, or contain, a client's connection.
fn http<IO, R, S, B>(
    connection: fn(&IO) -> &ClientConnection,
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
        .keep_alive(SERVER_KEEP_ALIVE)
        .client_request_timeout(limits.request_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .graceful_shutdown_signal(move || connections.clone().closing())
        .on_connect_ext(move |stream: &IO, data| connection(stream).store_in(data))
        .h1(map_config(
            routes.into_factory().map_err(|why| why.error_response()),
            |()| AppConfig::default(),
        ));
    fn_service(move |stream: IO| {
        let client = connection(&stream).client();
        std::future::ready(Ok((stream, client)))
    })
    .and_then(http.map_err(drop))
}
