//! `serve`: runs the bridge until a signal stops it.

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
/// Accepts Twilio's callbacks on server.listen, stores them in store.url, and forwards ended calls to
/// Acquire. The console, probes and metrics are on admin.listen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example (one account needs no configuration file):
  export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
  export ACQUIRE_ACCOUNT_ID=acme
  export BRIDGE__SERVER__PUBLIC_URL=https://bridge.example.com
  twilio-acquire-bridge serve

SIGHUP reloads the configuration. SIGTERM or Ctrl-C waits for server.drain,
finishes the requests in flight and exits; a second one exits at once. Under
systemd the bridge uses the listening sockets that it inherits (LISTEN_FDS,
named public and admin), and supports readiness and the watchdog: see
deploy/systemd.")]
pub struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Serve {
    pub fn run(self) -> Result<Exit, CliError> {
        let config = self.config.load()?;
        logs::init(&config.log)?;
        for doubt in config.doubts() {
            warn!("{doubt}");
        }
        let sockets =
            systemd::inherited(&config.admin).map_err(|why| CliError::Usage(why.to_string()))?;
        app::block_on(async {
            let stop = stop_on_signals()?;
            let orders = reload_on_hangup()?;
            let app = match sockets {
                Some(sockets) => App::build_on(sockets, config, Clock::system())?,
                None => App::build(config, Clock::system())?,
            };
            let app = app.reloading(ReloadSource {
                requests: orders,
                read: Box::new(move || self.config.load()),
            });
            let (public, admin) = (app.public_addr()?, app.admin_addr()?);
            info!(
                version = env!("CARGO_PKG_VERSION"),
                "public listener on {public}, admin listener on {admin}"
            );
            app.run(stop).await?;
            info!("stopped; no request was in flight");
            Ok(Exit::Done)
        })
    }
}

/// Each SIGHUP requests a reload of the configuration.
fn reload_on_hangup() -> std::io::Result<Arc<Notify>> {
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
    reason = "a second signal asks to exit at once"
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
        warn!(
            "exiting at once after a second signal; calls in flight are sent again after the next start"
        );
        std::process::exit(Exit::Failed as i32);
    });
    Ok(stop)
}
