//! `serve`: runs the bridge until it is told to stop.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{CliError, ConfigArgs, Exit};
use crate::app::systemd;
use crate::app::{self, App, ReloadSource};
use crate::clock::Clock;
use crate::telemetry::logs;

/// Run the bridge.
///
/// Takes Twilio's callbacks on server.listen, keeps them in store.url, and forwards ended calls to
/// Acquire. The operator's page, probes and metrics are on admin.listen.
#[derive(Debug, clap::Args)]
#[command(after_help = "For one account no file is needed:
  export TWILIO_AUTH_TOKEN=...  ACQUIRE_ACCOUNT_ID=acme
  export BRIDGE__SERVER__PUBLIC_URL=https://bridge.example.com
  twilio-acquire-bridge serve

SIGHUP reads the configuration again.

SIGTERM or Ctrl-C lets server.drain pass, finishes what is in flight and ends; a
second one ends at once. Under systemd, listening sockets are taken over
(LISTEN_FDS, named public and admin), readiness is told and the watchdog is
served: see deploy/systemd.")]
pub struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Serve {
    pub fn run(self) -> Result<Exit, CliError> {
        let config = self.config.load()?;
        logs::init(&config.log).map_err(anyhow::Error::from)?;
        let handed =
            systemd::inherited(&config.admin).map_err(|why| CliError::Usage(why.to_string()))?;
        app::block_on(async {
            let stop = stop_on_signals()?;
            let orders = order_on_hangup()?;
            let app = match handed {
                Some(handed) => App::build_on(handed, config, Clock::system())?,
                None => App::build(config, Clock::system())?,
            };
            let app = app.reloading(ReloadSource {
                requests: orders,
                read: Box::new(move || self.config.load()),
            });
            let (public, admin) = (app.public_addr()?, app.admin_addr()?);
            info!(
                version = env!("CARGO_PKG_VERSION"),
                "serving Twilio on {public}, operators on {admin}"
            );
            app.run(stop).await?;
            info!("stopped; nothing was left in flight");
            Ok(Exit::Done)
        })
    }
}

/// Each SIGHUP orders the configuration to be read again.
fn order_on_hangup() -> std::io::Result<Arc<Notify>> {
    let orders = Arc::new(Notify::new());
    let order = Arc::clone(&orders);
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            order.notify_one();
        }
    });
    Ok(orders)
}

/// The first SIGTERM or Ctrl-C cancels; the second ends the process.
#[expect(
    clippy::disallowed_methods,
    reason = "the second signal asks for just that"
)]
pub fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        cancelled.cancel();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        warn!("ended at once by a second signal; calls in flight are sent again after the start");
        std::process::exit(Exit::Failed as i32);
    });
    Ok(stop)
}
