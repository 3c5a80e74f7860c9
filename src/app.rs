//! Builds a bridge from its configuration; its children run, reload and stop it.
//!
//! Nothing here decides about a call.

mod address_sweep;
pub mod canary;
mod clock_watch;
pub mod consistency_check;
mod delivery_thread;
pub mod directory_file;
mod error;
pub mod notify;
pub mod operations;
pub mod reconcile;
mod reload;
mod request;
pub mod retention;
mod running;
pub mod systemd;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use self::reload::validate;
use self::systemd::InheritedSockets;
use crate::clock::Clock;
use crate::config::Config;
use crate::server::listener::bind::listen;
use crate::server::listener::certificate::ServedCertificate;
use crate::server::listener::drain::SocketOwner;
use crate::store::{self, Store};

pub use self::error::AppError;
pub use self::reload::ReloadSource;

/// A bridge that is ready to run: its store is open and its ports are bound.
pub struct App {
    config: Arc<Config>,
    clock: Clock,
    store: Arc<dyn Store>,
    public: TcpListener,
    admin: TcpListener,
    owner: SocketOwner,
    certificate: Option<ServedCertificate>,
    reload: Option<ReloadSource>,
    worker_clock: Option<Clock>,
}

impl App {
    /// Builds a bridge on sockets of its own, at `server.listen` and `admin.listen`.
    ///
    /// # Errors
    /// A file that a setting names cannot be used, the store cannot be opened, or a port is in use.
    pub fn build(config: Config, clock: Clock) -> Result<Self, AppError> {
        let listeners = InheritedSockets {
            public: listen("server.listen", config.server.listen)?,
            admin: listen("admin.listen", config.admin.listen)?,
        };
        Self::on(listeners, SocketOwner::Bridge, config, clock)
    }

    /// Builds a bridge on the sockets that systemd passed, whatever their addresses.
    ///
    /// # Errors
    /// As [`App::build`].
    pub fn build_on(
        sockets: InheritedSockets,
        config: Config,
        clock: Clock,
    ) -> Result<Self, AppError> {
        Self::on(sockets, SocketOwner::Systemd, config, clock)
    }

    fn on(
        sockets: InheritedSockets,
        owner: SocketOwner,
        config: Config,
        clock: Clock,
    ) -> Result<Self, AppError> {
        validate(&config, &clock)?;
        let certificate = config
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
            public: sockets.public,
            admin: sockets.admin,
            owner,
            certificate,
            reload: None,
            worker_clock: None,
        })
    }

    /// Lets the bridge reload its configuration while it runs.
    pub fn reloading(mut self, reload: ReloadSource) -> Self {
        self.reload = Some(reload);
        self
    }

    /// Delivers by a clock of its own, so that a test can hold due calls while callbacks arrive.
    pub fn delivering_by(mut self, clock: Clock) -> Self {
        self.worker_clock = Some(clock);
        self
    }

    /// The address of the public listener.
    pub fn public_addr(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// The address of the admin listener.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

/// Runs a future on the runtime that HTTP servers and clients need.
pub fn block_on<F: Future>(work: F) -> F::Output {
    actix_web::rt::System::new().block_on(work)
}
