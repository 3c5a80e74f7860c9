//! The composition root: builds a bridge, runs it, stops it within a deadline.

pub mod consistency_check;
mod delivery_thread;
pub mod directory_file;
mod reload;
pub mod retention;
mod running;
pub mod systemd;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::reload::ReloadSource;
use crate::app::systemd::InheritedSockets;
use crate::app::systemd::watchdog;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::acquire_client::{AcquireClient, AcquireClientError};
use crate::delivery::heartbeat::Heartbeat;
use crate::net::tls::TlsError;
use crate::server::listener::bind::listen;
use crate::server::listener::certificate::{self, ServedCertificate};
use crate::server::listener::drain::{Connections, SocketOwner};
use crate::server::listener::serve::{serve_admin, serve_public};
use crate::server::shared::{BridgeParts, ListenError};
use crate::store::{self, OpenError, Store, disk};
use crate::telemetry::metrics::Metrics;

/// Why a bridge cannot be built, or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Client(#[from] AcquireClientError),
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
    owner: SocketOwner,
    served: Option<ServedCertificate>,
    reload: Option<ReloadSource>,
    worker_clock: Option<Clock>,
}

impl App {
    /// On sockets of its own, at `server.listen` and `admin.listen`.
    pub fn build(config: Config, clock: Clock) -> Result<Self, AppError> {
        let listeners = InheritedSockets {
            public: listen("server.listen", config.server.listen)?,
            admin: listen("admin.listen", config.admin.listen)?,
        };
        Self::on(listeners, SocketOwner::Bridge, config, clock)
    }

    /// On the sockets that systemd handed over, wherever they listen.
    pub fn build_on(
        handed: InheritedSockets,
        config: Config,
        clock: Clock,
    ) -> Result<Self, AppError> {
        Self::on(handed, SocketOwner::Systemd, config, clock)
    }

    fn on(
        on: InheritedSockets,
        owner: SocketOwner,
        config: Config,
        clock: Clock,
    ) -> Result<Self, AppError> {
        validate(&config, &clock)?;
        let served = config
            .server
            .tls
            .as_ref()
            .map(ServedCertificate::new)
            .transpose()?;
        let store = store::open_to_serve(&config.store)?;
        Ok(Self {
            config: Arc::new(config),
            clock,
            store,
            public: on.public,
            admin: on.admin,
            owner,
            served,
            reload: None,
            worker_clock: None,
        })
    }

    /// Reads its configuration again while it runs.
    #[must_use]
    pub fn reloading(mut self, reload: ReloadSource) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Delivers by a clock of its own, so that what falls due can be held while callbacks come in.
    #[must_use]
    pub fn delivering_by(mut self, clock: Clock) -> Self {
        self.worker_clock = Some(clock);
        self
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
        let (config_changed, config) = watch::channel(Arc::clone(&self.config));
        let (rules_changed, rules) = watch::channel(Arc::new(self.config.rules.clone()));
        let shared = BridgeParts {
            config,
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            metrics: Arc::default(),
            due: Arc::default(),
            rules,
        };
        report_fsync_latency(&self.config, &shared.metrics);
        // Cancelled once the drain has passed.
        let drained = CancellationToken::new();
        let twilio = Connections::new(stop.clone());
        let people = Connections::new(stop.clone());
        let public = serve_public(self.public, self.served, &twilio, &shared, &drained)?;
        let operators = serve_admin(self.admin, &people, &shared, stop.clone())?;
        let heartbeat = Heartbeat::default();
        let worker_clock = self.worker_clock.unwrap_or_else(|| shared.clock.clone());
        let mut worker =
            delivery_thread::spawn(&shared, worker_clock, heartbeat.clone(), drained.clone());
        tokio::spawn(directory_file::follow(
            shared.config.clone(),
            rules_changed,
            drained.clone(),
        ));
        if let Some(reload) = self.reload {
            let clock = shared.clock.clone();
            tokio::spawn(reload.follow(config_changed, clock, drained.clone()));
        }
        tokio::spawn(consistency_check::run(
            self.config.store.clone(),
            Arc::clone(&shared.metrics),
            shared.clock.clone(),
            drained.clone(),
        ));
        let store = Arc::clone(&shared.store);
        let watchdog = tokio::spawn(watchdog::keep(store, heartbeat, stop.clone()));
        let mut janitor = tokio::spawn(retention::run(
            self.config,
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
        drained.cancel();
        info!("stopping: finishing what is in flight");
        let stopping = async {
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
        running::close(self.store).await;
        ended?;
        stopped.map_err(|_| AppError::SlowStop(within))
    }
}

/// Whether what the configuration names can be used.
fn validate(config: &Config, clock: &Clock) -> Result<(), AppError> {
    AcquireClient::new(&config.acquire, &config.delivery, clock.clone())?;
    if let Some(pair) = &config.server.tls {
        certificate::read(pair)?;
    }
    Ok(())
}

/// Runs to its end what needs the runtime of HTTP servers and clients.
pub fn block_on<F: Future>(work: F) -> F::Output {
    actix_web::rt::System::new().block_on(work)
}

/// A measurement that fails stops nothing: the store tells by itself what it cannot write.
fn report_fsync_latency(config: &Config, metrics: &Metrics) {
    let url = &config.store.url;
    let sync = match store::fsync_latency(url) {
        None => return,
        Some(Ok(sync)) => sync,
        Some(Err(why)) => return warn!("cannot measure what a sync costs beside {url}: {why}"),
    };
    metrics.sync_costs(sync);
    let sync_us = sync.as_micros();
    info!(sync_us, "a sync beside {url} takes {sync:.0?}");
    if let Some(doubt) = disk::latency_warning(sync) {
        warn!(sync_us, "a sync beside {url} takes {sync:.0?}: {doubt}");
    }
}
