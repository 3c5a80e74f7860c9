//! Reloads the configuration on demand and passes it to all parts that follow it.
//!
//! Which settings apply without a restart is decided in `config`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::error::AppError;
use super::systemd;
use crate::clock::{self, Clock, Millis};
use crate::config::reload::ReloadDiff;
use crate::config::{Config, ConfigError};
use crate::delivery::acquire_client::AcquireClient;
use crate::domain::audit::{Act, Actor, AuditEntry};
use crate::server::listener::certificate;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Before the row of a reload is written again, while the store is unavailable.
const AUDIT_RETRY: Duration = Duration::from_secs(1);

/// The source of a new configuration, and the signal to read it.
pub struct ReloadSource {
    /// Notified when the configuration is to be reloaded.
    pub requests: Arc<Notify>,
    /// Reads all of it, as at the start.
    pub read: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
}

impl ReloadSource {
    /// Reloads on each request until `stop`. A configuration that cannot be used changes nothing.
    pub(super) async fn follow(
        self,
        current: watch::Sender<Arc<Config>>,
        (clock, store): (Clock, Arc<dyn Store>),
        metrics: &Metrics,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.requests.notified() => {}
            }
            // systemd expects RELOADING=1 before and READY=1 after, also if the reload failed
            // (sd_notify(3)).
            systemd::reloading();
            match self.read(&clock) {
                Ok(new) => {
                    let changed = apply(new, &current);
                    let at = clock.now();
                    metrics.reloaded(at);
                    let log = write_audit(Arc::clone(&store), changed, at);
                    // Not awaited: the reload has taken effect, also while the store is unavailable.
                    tokio::spawn(stop.clone().run_until_cancelled_owned(log));
                }
                Err(mistakes) => {
                    metrics.reload_successful().set(0);
                    for mistake in &mistakes {
                        error!("the configuration stays as it was: {mistake}");
                    }
                }
            }
            systemd::ready();
        }
    }

    fn read(&self, clock: &Clock) -> Result<Config, Vec<String>> {
        let config = (self.read)().map_err(|ConfigError(mistakes)| mistakes)?;
        validate(&config, clock).map_err(|why| vec![why.to_string()])?;
        Ok(config)
    }
}

/// Writes a row of the audit log, as soon as the store is available.
async fn write_audit(store: Arc<dyn Store>, changed: Option<String>, at: Millis) {
    let entry = AuditEntry {
        target: changed,
        ..AuditEntry::new(Act::Reload, Actor::system(), at)
    };
    while store.write_audit(entry.clone()).await.is_err() {
        clock::pause(AUDIT_RETRY).await;
    }
}

/// Replaces the current configuration, then logs the change. Returns the keys that changed.
fn apply(new: Config, current: &watch::Sender<Arc<Config>>) -> Option<String> {
    let ReloadDiff {
        config,
        applied,
        needs_restart,
    } = current.borrow().reload(new);
    current.send_replace(Arc::new(config));
    for key in &needs_restart {
        warn!(
            setting = key,
            "{key} changed; restart the bridge to apply it"
        );
    }
    match &applied[..] {
        [] => {
            info!("the configuration was reloaded");
            None
        }
        applied => {
            let changed = applied.join(", ");
            info!("the configuration was reloaded; changed: {changed}");
            Some(changed)
        }
    }
}

/// Checks that the certificates and other files that the configuration names can be used.
pub(super) fn validate(config: &Config, clock: &Clock) -> Result<(), AppError> {
    AcquireClient::new(&config.acquire, &config.delivery, clock.clone())?;
    if let Some(pair) = &config.server.tls {
        certificate::read(pair)?;
    }
    Ok(())
}
