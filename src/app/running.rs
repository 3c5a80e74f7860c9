//! Runs a bridge: starts its parts, waits for the end, and stops them within a deadline.
//!
//! The parts decide by themselves; this file knows only their order. It neither binds sockets
//! (`app.rs`) nor reads the configuration (`reload`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::reconcile::continuous;
use super::systemd::{self, watchdog};
use super::{
    App, AppError, address_sweep, canary, clock_watch, consistency_check, delivery_thread,
    directory_file, notify, operations, retention,
};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::delivery::heartbeat::Heartbeat;
use crate::server::connections::ConnectionLimits;
use crate::server::listener::bind::raise_file_limit;
use crate::server::listener::drain::{Connections, SocketOwner};
use crate::server::listener::serve::{serve_admin, serve_public};
use crate::server::shared::BridgeParts;
use crate::store::{self, HandOver, Store, disk};
use crate::telemetry::metrics::Metrics;

/// The time in which the threads of a stopped bridge must release the store.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

impl App {
    /// Runs until `stop`, then drains and stops.
    ///
    /// # Errors
    /// A part cannot be started or ended by itself, or stopping took longer than
    /// `server.stop_timeout`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let mut running = Running::start(self, &stop).await?;
        let ended = running.until_ended(&stop).await;
        running.stop(ended).await
    }
}

/// The parts of a bridge that runs.
struct Running {
    config: Arc<Config>,
    clock: Clock,
    store: Arc<dyn Store>,
    owner: SocketOwner,
    public: Listener,
    admin: Listener,
    /// Resolves when the delivery worker has ended.
    worker: oneshot::Receiver<()>,
    retention: JoinHandle<()>,
    watchdog: JoinHandle<()>,
    /// Cancelled once the drain is over: everything but the listeners ends then.
    drained: CancellationToken,
}

impl Running {
    async fn start(app: App, stop: &CancellationToken) -> Result<Self, AppError> {
        let (config_changed, config) = watch::channel(Arc::clone(&app.config));
        let (rules_changed, rules) = watch::channel(Arc::new(app.config.rules.clone()));
        let (reconcile_orders, orders) = mpsc::channel(1);
        let due = Arc::default();
        let (hand_over, handed) = HandOver::new(Arc::clone(&due));
        let parts = BridgeParts {
            config,
            store: Arc::clone(&app.store),
            clock: app.clock.clone(),
            metrics: Arc::default(),
            outages: Arc::default(),
            due,
            hand_over: Arc::new(hand_over),
            rules,
            reconcile: reconcile_orders,
            search_progress: Arc::default(),
            refusals: Arc::default(),
        };
        report_fsync_latency(&app.config, &parts.metrics);
        parts.metrics.reloaded(parts.clock.now());
        let drained = CancellationToken::new();
        // One for each listener, because they close at different times.
        let server = &app.config.server;
        let limits = ConnectionLimits::public(server, raise_file_limit());
        let twilio = Connections::start(limits, stop.clone());
        let operators = Connections::start(ConnectionLimits::admin(server), stop.clone());
        let public = serve_public(app.public, app.certificate, &twilio, &parts, &drained)?;
        let admin = serve_admin(app.admin, &operators, &twilio, &parts, stop.clone())?;
        let heartbeat = Heartbeat::default();
        let (worker_clock, handed) = match app.worker_clock {
            // What is due by the clock of callbacks may not be due by this one.
            Some(clock) => (clock, handed.never()),
            None if parts.store.takes_offers() => (parts.clock.clone(), handed),
            None => (parts.clock.clone(), handed.never()),
        };
        let worker = delivery_thread::spawn(
            &parts,
            worker_clock,
            handed,
            heartbeat.clone(),
            drained.clone(),
        );
        tokio::spawn(directory_file::follow(
            parts.config.clone(),
            rules_changed,
            drained.clone(),
        ));
        let until = drained.clone();
        let at = (app.clock.clone(), Arc::clone(&app.store));
        let metrics = Arc::clone(&parts.metrics);
        tokio::spawn(async move {
            match app.reload {
                Some(reload) => reload.follow(config_changed, at, &metrics, until).await,
                // Without a sender, tasks that follow the configuration would end.
                None => config_changed.closed().await,
            }
        });
        actix_web::rt::spawn(continuous::run(
            parts.clone(),
            orders,
            app.clock.clone(),
            drained.clone(),
        ));
        actix_web::rt::spawn(canary::run(
            parts.clone(),
            app.clock.clone(),
            drained.clone(),
        ));
        tokio::spawn(consistency_check::run(
            app.config.store.clone(),
            Arc::clone(&parts.metrics),
            app.clock.clone(),
            drained.clone(),
        ));
        actix_web::rt::spawn(notify::run(parts.clone(), heartbeat.clone(), stop.clone()));
        tokio::spawn(operations::run(parts.clone(), drained.clone()));
        let watchdog = watchdog::keep(Arc::clone(&app.store), heartbeat, stop.clone());
        tokio::spawn(address_sweep::run(parts.clone(), drained.clone()));
        tokio::spawn(clock_watch::run(parts.clone(), drained.clone()));
        let retention = retention::run(Arc::clone(&app.config), parts, drained.clone());
        let running = Self {
            config: app.config,
            clock: app.clock,
            store: app.store,
            owner: app.owner,
            public: Listener::spawn(public, twilio),
            admin: Listener::spawn(admin, operators),
            worker,
            retention: tokio::spawn(retention),
            watchdog: tokio::spawn(watchdog),
            drained,
        };
        // Both listeners accept from their first turn on, so systemd must not hear of it before.
        tokio::task::yield_now().await;
        systemd::ready();
        Ok(running)
    }

    /// Returns at `stop`, or with an error when a part has ended by itself; `stop` is cancelled then.
    async fn until_ended(&mut self, stop: &CancellationToken) -> Result<(), AppError> {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            _ = &mut self.public.task => Err(AppError::Ended("the listener on server.listen")),
            _ = &mut self.admin.task => Err(AppError::Ended("the listener on admin.listen")),
            _ = &mut self.worker => Err(AppError::Ended("the delivery worker")),
            _ = &mut self.retention => Err(AppError::Ended("the task that removes expired calls")),
        };
        stop.cancel();
        ended
    }

    /// Drains, ends the deliveries in flight, closes the public listener, and last the admin one, so
    /// that operators can watch. A bridge with a part that has failed does not drain.
    async fn stop(mut self, ended: Result<(), AppError>) -> Result<(), AppError> {
        let drain = self.config.server.drain;
        let within = self.config.server.stop_timeout;
        systemd::stopping();
        if ended.is_ok() && !drain.is_zero() {
            info!("draining: not ready any more; stopping in {drain:?}");
            self.clock.reach(self.clock.now().plus(drain)).await;
        }
        self.drained.cancel();
        info!("stopping: finishing the deliveries and requests in flight");
        let stopping = async {
            // Callbacks are accepted while deliveries end, but the listener needs time to close too.
            let delivers = ended.is_ok()
                && tokio::time::timeout(within / 2, &mut self.worker)
                    .await
                    .is_err();
            // After the deliveries, so that callbacks are accepted as long as possible.
            self.public.close(self.owner).await;
            if delivers {
                // The result does not matter: the worker has ended either way.
                let _ = self.worker.await;
            }
            // Each purge is one transaction, so it can be cut off anywhere.
            self.retention.abort();
            self.admin.close(self.owner).await;
        };
        let stopped = tokio::time::timeout(within, stopping).await;
        self.watchdog.abort();
        close(self.store).await;
        ended?;
        stopped.map_err(|_| AppError::SlowStop(within))
    }
}

/// A listener and its open connections.
struct Listener {
    connections: Connections,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Listener {
    fn spawn(server: Server, connections: Connections) -> Self {
        Self {
            connections,
            handle: server.handle(),
            task: tokio::spawn(server),
        }
    }

    async fn close(&self, owner: SocketOwner) {
        self.connections.close(&self.handle, owner).await;
    }
}

/// Waits until all threads have released the store: the last one closes it, so that its file is
/// complete and free for the next process. The wait is short, because a crash loses nothing either.
async fn close(store: Arc<dyn Store>) {
    let until = Instant::now() + CLOSE_TIMEOUT;
    while Arc::strong_count(&store) > 1 && Instant::now() < until {
        clock::pause(Duration::from_millis(2)).await;
    }
}

/// A measurement that fails stops nothing: the store itself logs when it cannot write.
fn report_fsync_latency(config: &Config, metrics: &Metrics) {
    let url = &config.store.url;
    let latency = match store::fsync_latency(url) {
        None => return,
        Some(Ok(latency)) => latency,
        Some(Err(why)) => {
            return warn!("cannot measure the fsync latency on the disk of {url}: {why}");
        }
    };
    metrics.fsync_latency().set(latency.as_secs_f64());
    let sync_us = latency.as_micros();
    info!(sync_us, "fsync on the disk of {url} takes {latency:.0?}");
    if let Some(warning) = disk::latency_warning(latency) {
        warn!(
            sync_us,
            "fsync on the disk of {url} takes {latency:.0?}: {warning}"
        );
    }
}
