//! Reads the configuration again on demand, and hands it to all who follow it.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{AppError, validate};
use crate::app::systemd;
use crate::clock::Clock;
use crate::config::reload::ReloadDiff;
use crate::config::{Config, ConfigError};

/// How a bridge reads its configuration again.
pub struct ReloadSource {
    /// Told when it is to be read.
    pub orders: Arc<Notify>,
    /// All of it, as at the start.
    pub read: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
}

impl ReloadSource {
    /// Follows the orders until `stop`. A configuration that cannot be used changes nothing.
    pub(super) async fn follow(
        self,
        current: watch::Sender<Arc<Config>>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.orders.notified() => {}
            }
            systemd::reloading();
            match self.read(&clock) {
                Ok(new) => take(new, &current),
                Err(mistakes) => {
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
        let told = |why: AppError| vec![why.to_string()];
        validate(&config, clock).map_err(told)?;
        Ok(config)
    }
}

/// Told once it counts.
fn take(new: Config, current: &watch::Sender<Arc<Config>>) {
    let diff = current.borrow().reload(new);
    let ReloadDiff {
        config,
        applied,
        needs_restart,
    } = diff;
    current.send_replace(Arc::new(config));
    for key in &needs_restart {
        warn!(
            setting = key,
            "{key} changed; restart the bridge to apply it"
        );
    }
    match &applied[..] {
        [] => info!("the configuration was read again"),
        applied => {
            let changed = applied.join(", ");
            info!("the configuration was read again; changed: {changed}");
        }
    }
}
