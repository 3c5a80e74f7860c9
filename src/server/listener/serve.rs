//! Builds the server of each listener: its routes, its middleware, and the state of its handlers.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::App as Routes;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use tokio_util::sync::CancellationToken;

use super::certificate::ServedCertificate;
use super::drain::Connections;
use super::http::{self, ServerThreads};
use super::proxy_protocol::ConnectionAcceptor;
use crate::config::ProxyProtocolSetting;
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
        tokio::spawn(certificate.follow(bridge.clone(), drained.clone()));
    }
    let acceptor = ConnectionAcceptor::new(bridge, connections, config.server.proxy_protocol);
    let acceptor = Arc::new(acceptor);
    let threads = ServerThreads::public(&config.server);
    let server = http::serve(listener, acceptor, tls, connections, threads, routes);
    server.map_err(|source| ListenError::Bind {
        key: "server.listen",
        address: config.server.listen,
        source,
    })
}

/// Serves operators, balancers and Prometheus on `admin.listen`. Probes and metrics show the
/// connections of the `public` listener.
pub(crate) fn serve_admin(
    listener: TcpListener,
    connections: &Connections,
    public: &Connections,
    bridge: &BridgeParts,
    stop: CancellationToken,
) -> Result<Server, ListenError> {
    let state = Data::new(AdminState {
        bridge: bridge.clone(),
        public: Arc::clone(public.open()),
        stop,
    });
    let tracked = connections.clone();
    let routes = move || {
        let (state, tracked) = (state.clone(), tracked.clone());
        Routes::new()
            .configure(move |routes| admin_routes(routes, state))
            .wrap_fn(move |request, inner| tracked.serve(request, inner))
    };
    let acceptor = ConnectionAcceptor::new(bridge, connections, ProxyProtocolSetting::Off);
    let acceptor = Arc::new(acceptor);
    let threads = ServerThreads::admin();
    let server = http::serve(listener, acceptor, None, connections, threads, routes);
    server.map_err(|source| ListenError::Bind {
        key: "admin.listen",
        address: bridge.config.borrow().admin.listen,
        source,
    })
}
