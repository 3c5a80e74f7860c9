//! The composition root: builds a bridge, runs it, stops it within a deadline.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{App as Routes, HttpServer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::acquire::client::{Client, ClientError};
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::server::console::Admin;
use crate::server::intake::Intake;
use crate::server::{admin_routes, public_routes};
use crate::store::{self, OpenError, Store, disk};
use crate::worker::{Lanes, Pace, Worker};
use crate::{janitor, server};

/// Connections that may wait to be accepted: a burst of calls that end together.
const BACKLOG: i32 = 1024;

/// Why a bridge cannot be built, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        key: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] ClientError),
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
}

impl App {
    pub fn build(config: Config, clock: Clock) -> Result<Self, AppError> {
        Client::new(&config.acquire, &config.delivery, clock.clone())?;
        let public = listen("server.listen", config.server.listen)?;
        let admin = listen("admin.listen", config.admin.listen)?;
        let store = store::open(&config.store.url)?;
        Ok(Self {
            config: Arc::new(config),
            clock,
            store,
            public,
            admin,
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

    /// Runs until `stop`; then closes Twilio's side, finishes what is in flight, and ends.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let metrics = Arc::new(Metrics::default());
        tell_sync_cost(&self.config, &metrics);
        let due = Arc::new(Notify::new());
        let intake = Data::new(Intake::new(
            &self.config,
            Arc::clone(&self.store),
            Arc::clone(&due),
            Arc::clone(&metrics),
            self.clock.clone(),
        ));
        let admin = Data::new(Admin::new(
            Arc::clone(&self.config),
            Arc::clone(&self.store),
            Arc::clone(&due),
            Arc::clone(&metrics),
            self.clock.clone(),
            stop.clone(),
        ));
        let settings = &self.config.server;
        let public = HttpServer::new(move || {
            let intake = intake.clone();
            Routes::new().configure(move |routes| public_routes(routes, intake))
        })
        .disable_signals()
        .max_connections(settings.max_connections)
        .keep_alive(server::KEEP_ALIVE)
        .client_request_timeout(settings.request_timeout)
        .shutdown_timeout(settings.stop_timeout.as_secs())
        .listen(self.public)
        .map_err(|source| AppError::Listen {
            key: "server.listen",
            address: settings.listen,
            source,
        })?
        .run();
        let operators = HttpServer::new(move || {
            let admin = admin.clone();
            Routes::new().configure(move |routes| admin_routes(routes, admin))
        })
        .disable_signals()
        .workers(1)
        .shutdown_timeout(1)
        .listen(self.admin)
        .map_err(|source| AppError::Listen {
            key: "admin.listen",
            address: self.config.admin.listen,
            source,
        })?
        .run();

        let worker_stop = CancellationToken::new();
        let mut worker = spawn_worker(
            Arc::clone(&self.config),
            Arc::clone(&self.store),
            self.clock.clone(),
            metrics,
            due,
            worker_stop.clone(),
        );
        let janitor = tokio::spawn(janitor::run(
            Arc::clone(&self.config),
            Arc::clone(&self.store),
            self.clock.clone(),
            worker_stop.clone(),
        ));
        let (public_handle, admin_handle) = (public.handle(), operators.handle());
        let mut public = tokio::spawn(public);
        let mut operators = tokio::spawn(operators);

        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = &mut public => Err(AppError::Ended("the listener on server.listen")),
            _ = &mut operators => Err(AppError::Ended("the listener on admin.listen")),
            _ = &mut worker => Err(AppError::Ended("the delivery worker")),
        };
        stop.cancel();
        info!("stopping: taking in no more, finishing what is in flight");
        let stopping = async {
            public_handle.stop(true).await;
            worker_stop.cancel();
            if ended.is_ok() {
                // The worker's end is awaited, whatever it ends with.
                let _ = worker.await;
            }
            janitor.abort();
            admin_handle.stop(true).await;
        };
        let within = self.config.server.stop_timeout;
        let stopped = tokio::time::timeout(within, stopping).await;
        ended?;
        stopped.map_err(|_| AppError::SlowStop(within))
    }
}

/// The worker has a thread of its own: its client cannot leave the thread it was made on.
fn spawn_worker(
    config: Arc<Config>,
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    due: Arc<Notify>,
    stop: CancellationToken,
) -> oneshot::Receiver<()> {
    let (alive, ended) = oneshot::channel();
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
            config,
            store,
            client,
            clock,
            metrics,
            due,
        };
        runtime.block_on(Rc::new(worker).run(stop));
    };
    if let Err(why) = std::thread::Builder::new()
        .name("worker".to_owned())
        .spawn(work)
    {
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
        Ok(sync) => sync,
        Err(why) => return warn!("cannot measure what a sync costs beside {url}: {why}"),
    };
    metrics.sync_costs(sync);
    let sync_us = sync.as_micros();
    info!(sync_us, "a sync beside {url} takes {sync:.0?}");
    if let Some(doubt) = disk::doubt(sync) {
        warn!(sync_us, "a sync beside {url} takes {sync:.0?}: {doubt}");
    }
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    let bind = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| AppError::Listen {
        key,
        address,
        source,
    })
}
