//! Builds the server of each listener: its routes, its middleware, and the state of its handlers.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as Routes, HttpServer};
use tokio_util::sync::CancellationToken;

use super::certificate::ServedCertificate;
use super::drain::Connections;
use super::http::{self, ServerLimits};
use super::proxy_protocol::ProxyProtocolAcceptor;
use crate::server::admin::console::AdminState;
use crate::server::callbacks::log_refusals::log_refusals;
use crate::server::callbacks::state::CallbackState;
use crate::server::recordings::play::Playback;
use crate::server::shared::{BridgeParts, ListenError};
use crate::server::{admin_routes, public_routes};

/// Serves Twilio on `server.listen`. The certificate is followed until `drained`.
pub(crate) fn serve_public(
    listener: TcpListener,
    certificate: Option<ServedCertificate>,
    connections: &Connections,
    bridge: &BridgeParts,
    drained: &CancellationToken,
) -> Result<Server, ListenError> {
    let config = Arc::clone(&bridge.config.borrow());
    let state = Data::new(CallbackState::start(bridge));
    let playback = Playback::new(bridge, drained)?;
    let tracked = connections.clone();
    let routes = move || {
        let (state, tracked) = (state.clone(), tracked.clone());
        let player = playback.as_ref().map(Playback::player);
        Routes::new()
            .configure(move |routes| public_routes(routes, state, player))
            // The last wrap is the outermost: a connection is busy until its refusal is logged.
            .wrap(from_fn(log_refusals))
            .wrap_fn(move |request, inner| tracked.serve(request, inner))
    };
    let tls = certificate
        .as_ref()
        .map(ServedCertificate::server_config)
        .transpose()?;
    if let Some(certificate) = certificate {
        tokio::spawn(certificate.follow(bridge.config.clone(), drained.clone()));
    }
    let acceptor = Arc::new(ProxyProtocolAcceptor::new(bridge, connections));
    let limits = ServerLimits::of(&config.server);
    let server = http::serve(listener, acceptor, tls, connections, limits, routes);
    server.map_err(|source| ListenError::Bind {
        key: "server.listen",
        address: config.server.listen,
        source,
    })
}

/// Serves operators, balancers and Prometheus on `admin.listen`, on one thread: few requests come, and
/// none is urgent.
pub(crate) fn serve_admin(
    listener: TcpListener,
    connections: &Connections,
    bridge: &BridgeParts,
    stop: CancellationToken,
) -> Result<Server, ListenError> {
    let state = Data::new(AdminState {
        bridge: bridge.clone(),
        stop,
    });
    let (counted, tracked) = (connections.clone(), connections.clone());
    let server = HttpServer::new(move || {
        let (state, tracked) = (state.clone(), tracked.clone());
        Routes::new()
            .configure(move |routes| admin_routes(routes, state))
            .wrap_fn(move |request, inner| tracked.serve(request, inner))
    })
    .on_connect(move |_, data| counted.count(data))
    .disable_signals()
    .workers(1)
    .shutdown_timeout(1)
    .listen(listener)
    .map_err(|source| ListenError::Bind {
        key: "admin.listen",
        address: bridge.config.borrow().admin.listen,
        source,
    })?;
    Ok(server.run())
}
