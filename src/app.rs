//! The composition root: builds a bridge, runs it, stops it within a deadline.

mod listen;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::Data;
use actix_web::{App as Routes, HttpServer};
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::listen::listen;
use crate::acquire::client::{Client, ClientError};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::plan::Rules;
use crate::server::connections::{Connections, Owner};
use crate::server::console::Admin;
use crate::server::doctor;
use crate::server::intake::Intake;
use crate::server::media::Playback;
use crate::server::{admin_routes, public_routes};
use crate::store::{self, OpenError, Store, disk};
use crate::systemd::watchdog::{self, Pulse};
use crate::systemd::{self, Handed};
use crate::tls::TlsError;
use crate::worker::{Lanes, Pace, Worker};
use crate::{audit, directory_file, janitor, server};

/// Why a bridge cannot be built, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address} ({key})")]
    Listen {
        key: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0} ended by itself")]
    Ended(&'static str),
    #[error(
        "stopping took longer than server.stop_timeout ({0:?}); calls in flight are sent again"
    )]
    SlowStop(Duration),
}

/// A bridge that is ready to run: its store is open and its ports are bound.
pub struct App {
    config: Arc<Config>,
    clock: Clock,
    store: Arc<dyn Store>,
    public: TcpListener,
    admin: TcpListener,
    owner: Owner,
}

impl App {
    /// On sockets of its own, at `server.listen` and `admin.listen`.
    pub fn build(config: Config, clock: Clock) -> Result<Self, AppError> {
        let listeners = Handed {
            public: listen("server.listen", config.server.listen)?,
            admin: listen("admin.listen", config.admin.listen)?,
        };
        Self::on(listeners, Owner::Bridge, config, clock)
    }

    /// On the sockets that systemd handed over, wherever they listen.
    pub fn build_on(handed: Handed, config: Config, clock: Clock) -> Result<Self, AppError> {
        Self::on(handed, Owner::Systemd, config, clock)
    }

    fn on(on: Handed, owner: Owner, config: Config, clock: Clock) -> Result<Self, AppError> {
        Client::new(&config.acquire, &config.delivery, clock.clone())?;
        let store = store::open(&config.store.url)?;
        Ok(Self {
            config: Arc::new(config),
            clock,
            store,
            public: on.public,
            admin: on.admin,
            owner,
        })
    }

    /// Where Twilio's side listens.
    pub fn public_addr(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where the operator's side listens.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Runs until `stop`; then lets the drain pass, ends the deliveries in flight, closes Twilio's
    /// side, and last the operator's.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let (drain, within) = (self.config.server.drain, self.config.server.stop_timeout);
        let (clock, owner) = (self.clock.clone(), self.owner);
        let (rules_changed, rules) = watch::channel(Arc::new(self.config.rules.clone()));
        let shared = Shared::of(&self, rules);
        tell_sync_cost(&self.config, &shared.metrics);
        // Cancelled once the drain has passed.
        let drained = CancellationToken::new();
        let twilio = Connections::new(stop.clone());
        let people = Connections::new(stop.clone());
        let public = serve_twilio(self.public, &twilio, &shared, &drained)?;
        let operators = serve_operators(self.admin, &people, &shared, stop.clone())?;
        let pulse = Pulse::default();
        let mut worker = spawn_worker(&shared, pulse.clone(), drained.clone());
        if let Some(file) = shared.config.directory_file.clone() {
            let stop = drained.clone();
            tokio::spawn(directory_file::follow(file, rules_changed, stop));
        }
        tokio::spawn(audit::run(
            shared.config.store.clone(),
            Arc::clone(&shared.metrics),
            shared.clock.clone(),
            drained.clone(),
        ));
        let store = Arc::clone(&shared.store);
        let watchdog = tokio::spawn(watchdog::keep(store, pulse, stop.clone()));
        let mut janitor = tokio::spawn(janitor::run(
            shared.config,
            shared.store,
            shared.clock,
            drained.clone(),
        ));
        let (public_handle, operators_handle) = (public.handle(), operators.handle());
        let mut public = tokio::spawn(public);
        let mut operators = tokio::spawn(operators);
        // Both begin with their first turn.
        tokio::task::yield_now().await;
        systemd::ready();

        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = &mut public => Err(AppError::Ended("the listener on server.listen")),
            _ = &mut operators => Err(AppError::Ended("the listener on admin.listen")),
            _ = &mut worker => Err(AppError::Ended("the delivery worker")),
            _ = &mut janitor => Err(AppError::Ended("the janitor")),
        };
        stop.cancel();
        systemd::stopping();
        if ended.is_ok() && !drain.is_zero() {
            info!("draining: not ready any more; stopping in {drain:?}");
            clock.reach(clock.now().plus(drain)).await;
        }
        info!("stopping: finishing what is in flight");
        let stopping = async {
            drained.cancel();
            // Callbacks are still taken in while deliveries end, though not for all of the time.
            let delivers =
                ended.is_ok() && tokio::time::timeout(within / 2, &mut worker).await.is_err();
            twilio.close(&public_handle, owner).await;
            if delivers {
                // The worker's end is awaited, whatever it ends with.
                let _ = worker.await;
            }
            janitor.abort();
            people.close(&operators_handle, owner).await;
        };
        let stopped = tokio::time::timeout(within, stopping).await;
        watchdog.abort();
        ended?;
        stopped.map_err(|_| AppError::SlowStop(within))
    }
}

/// What the parts of a running bridge have in common.
struct Shared {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Told when a call has become due.
    due: Arc<Notify>,
    /// As they stand now: the directory may change.
    rules: watch::Receiver<Arc<Rules>>,
}

impl Shared {
    fn of(app: &App, rules: watch::Receiver<Arc<Rules>>) -> Self {
        Self {
            config: Arc::clone(&app.config),
            store: Arc::clone(&app.store),
            clock: app.clock.clone(),
            metrics: Arc::default(),
            due: Arc::default(),
            rules,
        }
    }
}

fn serve_twilio(
    listener: TcpListener,
    connections: &Connections,
    shared: &Shared,
    drained: &CancellationToken,
) -> Result<Server, AppError> {
    let settings = &shared.config.server;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (doctor, practice) = doctor::open(&shared.config, &shared.metrics, &shared.clock);
    tokio::spawn(practice.run());
    let intake = Data::new(Intake::new(
        &shared.config,
        Arc::clone(&shared.store),
        Arc::clone(&shared.due),
        Arc::clone(&shared.metrics),
        shared.clock.clone(),
        doctor,
    ));
    let playback = Playback::new(&shared.config, &shared.metrics, &shared.clock, drained)?;
    let (each, asked) = (connections.clone(), connections.clone());
    let server = HttpServer::new(move || {
        let (intake, asked) = (intake.clone(), asked.clone());
        let player = playback.as_ref().map(Playback::player);
        Routes::new()
            .configure(move |routes| public_routes(routes, intake, player))
            .wrap_fn(move |request, inner| asked.serve(request, inner))
    })
    .on_connect(move |_, data| each.begin(data))
    .disable_signals()
    .workers(threads)
    // Counted by each thread for itself.
    .max_connections(settings.max_connections.div_ceil(threads))
    .keep_alive(server::KEEP_ALIVE)
    .client_request_timeout(settings.request_timeout)
    // A client that never finishes its request, or a listener who takes nothing, must not use up
    // the time of all others.
    .shutdown_timeout((settings.stop_timeout / 2).as_secs().max(1))
    .listen(listener)
    .map_err(|source| AppError::Listen {
        key: "server.listen",
        address: settings.listen,
        source,
    })?;
    Ok(server.run())
}

fn serve_operators(
    listener: TcpListener,
    connections: &Connections,
    shared: &Shared,
    stop: CancellationToken,
) -> Result<Server, AppError> {
    let admin = Data::new(Admin::new(
        Arc::clone(&shared.config),
        Arc::clone(&shared.store),
        Arc::clone(&shared.due),
        Arc::clone(&shared.metrics),
        shared.clock.clone(),
        shared.rules.clone(),
        stop,
    ));
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
    .map_err(|source| AppError::Listen {
        key: "admin.listen",
        address: shared.config.admin.listen,
        source,
    })?;
    Ok(server.run())
}

/// The worker has a thread of its own: its client cannot leave the thread it was made on.
fn spawn_worker(shared: &Shared, pulse: Pulse, stop: CancellationToken) -> oneshot::Receiver<()> {
    let (alive, ended) = oneshot::channel();
    let config = Arc::clone(&shared.config);
    let store = Arc::clone(&shared.store);
    let clock = shared.clock.clone();
    let metrics = Arc::clone(&shared.metrics);
    let due = Arc::clone(&shared.due);
    let rules = shared.rules.clone();
    let work = move || {
        // Dropped when the thread ends, however it ends, which tells the receiver.
        let _alive: oneshot::Sender<()> = alive;
        let runtime = match actix_web::rt::Runtime::new() {
            Ok(runtime) => runtime,
            Err(why) => return error!("failed to start the delivery worker: {why}"),
        };
        let client = match Client::new(&config.acquire, &config.delivery, clock.clone()) {
            Ok(client) => client,
            Err(why) => return error!("failed to start the delivery worker: {why}"),
        };
        let worker = Worker {
            lanes: Lanes::new(&config, Arc::clone(&metrics)),
            pace: Pace::new(config.delivery.max_rate),
            pulse,
            config,
            store,
            client,
            clock,
            metrics,
            due,
            rules,
        };
        runtime.block_on(Rc::new(worker).run(stop));
    };
    let named = std::thread::Builder::new().name("worker".to_owned());
    if let Err(why) = named.spawn(work) {
        error!("failed to start the delivery worker: {why}");
    }
    ended
}

/// Runs to its end what needs the runtime of HTTP servers and clients.
pub fn block_on<F: Future>(work: F) -> F::Output {
    actix_web::rt::System::new().block_on(work)
}

/// A measurement that fails stops nothing: the store tells by itself what it cannot write.
fn tell_sync_cost(config: &Config, metrics: &Metrics) {
    let url = &config.store.url;
    let sync = match store::sync_cost(url) {
        None => return,
        Some(Ok(sync)) => sync,
        Some(Err(why)) => return warn!("cannot measure what a sync costs beside {url}: {why}"),
    };
    metrics.sync_costs(sync);
    let sync_us = sync.as_micros();
    info!(sync_us, "a sync beside {url} takes {sync:.0?}");
    if let Some(doubt) = disk::doubt(sync) {
        warn!(sync_us, "a sync beside {url} takes {sync:.0?}: {doubt}");
    }
}
