//! The two sides: the server that Twilio calls and the one that operators ask.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App as Routes, HttpServer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::http;
use super::proxy_protocol::ProxyProtocolAcceptor;
use crate::config;
use crate::server::admin::console::AdminState;
use crate::server::callbacks::diagnosis;
use crate::server::callbacks::signed_form::Verifier;
use crate::server::callbacks::state::CallbackState;
use crate::server::listener::certificate::ServedCertificate;
use crate::server::listener::drain::Connections;
use crate::server::recordings::play::Playback;
use crate::server::shared::{BridgeParts, ListenError};
use crate::server::{admin_routes, public_routes};

/// What one server may use.
#[derive(Clone, Copy)]
pub(super) struct ServerLimits {
    pub workers: usize,
    /// For each worker.
    pub connections: usize,
    pub request_timeout: Duration,
    /// In seconds.
    pub shutdown_timeout: u64,
}

impl ServerLimits {
    fn of(settings: &config::ServerSettings) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            workers,
            // Counted by each thread for itself.
            connections: settings.max_connections.div_ceil(workers),
            request_timeout: settings.request_timeout,
            // A client that never finishes its request, or a listener who takes nothing, must not use
            // up the time of all others.
            shutdown_timeout: (settings.stop_timeout / 2).as_secs().max(1),
        }
    }
}

pub(crate) fn serve_twilio(
    listener: TcpListener,
    certificate: Option<ServedCertificate>,
    connections: &Connections,
    shared: &BridgeParts,
    drained: &CancellationToken,
) -> Result<Server, ListenError> {
    let config = Arc::clone(&shared.config.borrow());
    let limits = ServerLimits::of(&config.server);
    let (clock, metrics) = (&shared.clock, &shared.metrics);
    let (doctor, practice) = diagnosis::open(shared.config.clone(), &shared.store, metrics, clock);
    tokio::spawn(practice.run());
    let intake = Data::new(CallbackState::new(
        shared.config.clone(),
        verifier(shared),
        Arc::clone(&shared.store),
        Arc::clone(&shared.due),
        Arc::clone(&shared.metrics),
        shared.clock.clone(),
        doctor,
    ));
    let playback = Playback::new(&shared.config, &shared.metrics, &shared.clock, drained)?;
    let asked = connections.clone();
    let routes = move || {
        let (intake, asked) = (intake.clone(), asked.clone());
        let player = playback.as_ref().map(Playback::player);
        Routes::new()
            .configure(move |routes| public_routes(routes, intake, player))
            .wrap_fn(move |request, inner| asked.serve(request, inner))
    };
    let tls = certificate
        .as_ref()
        .map(ServedCertificate::server_config)
        .transpose()?;
    if let Some(certificate) = certificate {
        tokio::spawn(certificate.follow(shared.config.clone(), drained.clone()));
    }
    let door = Arc::new(ProxyProtocolAcceptor::new(shared, connections));
    let server = http::serve(listener, door, tls, connections, limits, routes);
    server.map_err(|source| ListenError::Bind {
        key: "server.listen",
        address: config.server.listen,
        source,
    })
}

/// Made anew whenever the configuration changes.
fn verifier(shared: &BridgeParts) -> watch::Receiver<Arc<Verifier>> {
    let (mut config, metrics) = (shared.config.clone(), Arc::clone(&shared.metrics));
    let first = Verifier::new(&config.borrow_and_update(), &metrics);
    let (changed, verifier) = watch::channel(Arc::new(first));
    tokio::spawn(async move {
        while config.changed().await.is_ok() {
            let next = Verifier::new(&config.borrow_and_update(), &metrics);
            changed.send_replace(Arc::new(next));
        }
    });
    verifier
}

pub(crate) fn serve_operators(
    listener: TcpListener,
    connections: &Connections,
    shared: &BridgeParts,
    stop: CancellationToken,
) -> Result<Server, ListenError> {
    let admin = Data::new(AdminState {
        config: shared.config.clone(),
        store: Arc::clone(&shared.store),
        due: Arc::clone(&shared.due),
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
        rules: shared.rules.clone(),
        stop,
    });
    let (each, asked) = (connections.clone(), connections.clone());
    let server = HttpServer::new(move || {
        let (admin, asked) = (admin.clone(), asked.clone());
        Routes::new()
            .configure(move |routes| admin_routes(routes, admin))
            .wrap_fn(move |request, inner| asked.serve(request, inner))
    })
    .on_connect(move |_, data| each.begin(data))
    .disable_signals()
    .workers(1)
    .shutdown_timeout(1)
    .listen(listener)
    .map_err(|source| ListenError::Bind {
        key: "admin.listen",
        address: shared.config.borrow().admin.listen,
        source,
    })?;
    Ok(server.run())
}
