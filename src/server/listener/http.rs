//! The server of a listener: the PROXY protocol, TLS where there is a certificate, then HTTP/1.1 only.
//!
//! `actix_web::HttpServer` cannot read a PROXY header before TLS, and limits only the first request of
//! a connection. It would also speak HTTP/2, which has no `Connection: close`: a bridge that stops could
//! not close its connections in order.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_rt::net::{ActixStream, TcpStream};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_tls::accept::max_concurrent_tls_connect;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use rustls::ServerConfig;

use super::connection::{ClientConnection, RequestStream};
use super::drain::Connections;
use super::proxy_protocol::ConnectionAcceptor;
use crate::config::ServerSettings;

/// How long a client may take to close its side after the last answer, as in actix-web.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How old the time may be that actix adds its time limits to.
const TIME_LAG: Duration = Duration::from_millis(500);

/// Connections that actix accepts on each thread beyond the limit of the listener: for one that the
/// bridge accepts, it closes another one.
const SPARE_CONNECTIONS: usize = 64;

/// Threads and the time to stop of one server.
#[derive(Clone, Copy)]
pub(super) struct ServerThreads {
    pub count: usize,
    /// In seconds.
    pub shutdown_timeout: u64,
}

impl ServerThreads {
    pub fn public(settings: &ServerSettings) -> Self {
        Self {
            count: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            // Half of the time, because a client that never finishes its request must not use up the
            // time of the steps that follow.
            shutdown_timeout: (settings.stop_timeout / 2).as_secs().max(1),
        }
    }

    /// One, because few requests come, and none is urgent.
    pub fn admin() -> Self {
        Self {
            count: 1,
            shutdown_timeout: 1,
        }
    }
}

/// Serves `routes` to the connections that `acceptor` accepts.
pub(super) fn serve<F, R, S, B>(
    listener: TcpListener,
    acceptor: Arc<ConnectionAcceptor>,
    tls: Option<Arc<ServerConfig>>,
    connections: &Connections,
    threads: ServerThreads,
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
    let refusals = Arc::clone(&acceptor);
    let accept = move || {
        let acceptor = Arc::clone(&acceptor);
        fn_service(move |tcp: TcpStream| Arc::clone(&acceptor).accept(tcp))
    };
    let limits = connections.open().limits;
    let per_thread = limits.total.div_ceil(threads.count) + SPARE_CONNECTIONS;
    let server = Server::build()
        .disable_signals()
        .workers(threads.count)
        .max_concurrent_connections(per_thread)
        .shutdown_timeout(threads.shutdown_timeout);
    // By default 256 clients that do not finish their handshake would stop a thread from accepting.
    max_concurrent_tls_connect(usize::MAX);
    let server = match tls {
        None => server.listen("http", listener, move || {
            let http = http(plain, &connections, &refusals, routes());
            accept().map_err(drop).and_then(http)
        }),
        Some(tls) => server.listen("https", listener, move || {
            let http = http(encrypted, &connections, &refusals, routes());
            let mut handshake = Acceptor::new(ServerConfig::clone(&tls));
            handshake.set_handshake_timeout(limits.request);
            let refusals = Arc::clone(&refusals);
            let handshake = handshake.map_err(move |why| refusals.log_handshake(&why));
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
    refusals: &Arc<ConnectionAcceptor>,
    routes: R,
) -> impl ServiceFactory<IO, Config = (), Response = (), Error = (), InitError = ()> + use<IO, R, S, B>
where
    IO: ActixStream + 'static,
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
    let limits = connections.open().limits;
    let (connections, refusals) = (connections.clone(), Arc::clone(refusals));
    let http = HttpService::build()
        // `connections` closes idle ones, without a timer for each.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(limits.request + TIME_LAG)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .graceful_shutdown_signal(move || connections.clone().closing())
        .on_connect_ext(|stream: &RequestStream<IO>, data| {
            data.insert(Rc::clone(stream.tracker()));
        })
        .h1(map_config(
            routes.into_factory().map_err(|why| why.error_response()),
            |()| AppConfig::default(),
        ));
    fn_service(move |stream: IO| {
        let ClientConnection {
            client, tracker, ..
        } = connection(&stream);
        let (client, tracker) = (*client, Rc::clone(tracker));
        let refusals = Arc::clone(&refusals);
        let on_unhandled = move |status| refusals.log_unhandled(client, status);
        let stream = RequestStream::new(stream, tracker, on_unhandled);
        std::future::ready(Ok((stream, client)))
    })
    .and_then(http.map_err(drop))
}
