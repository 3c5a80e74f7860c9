//! The delivery worker on a thread of its own: its client cannot leave the thread it was made on.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::BridgeParts;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::acquire_client::{AcquireClient, AcquireClientError};
use crate::delivery::heartbeat::Heartbeat;
use crate::delivery::{AccountQueues, RateLimiter, UnsettledCount, Worker};

/// Delivers until `stop`; what is returned tells when that has ended, however it ended.
pub(super) fn spawn(
    shared: &BridgeParts,
    clock: Clock,
    heartbeat: Heartbeat,
    stop: CancellationToken,
) -> oneshot::Receiver<()> {
    let (alive, ended) = oneshot::channel();
    let shared = BridgeParts {
        clock,
        ..shared.clone()
    };
    let work = move || {
        // Dropped when the thread ends, however it ends, which tells the receiver.
        let _alive: oneshot::Sender<()> = alive;
        let runtime = match actix_web::rt::Runtime::new() {
            Ok(runtime) => runtime,
            Err(why) => return error!("failed to start the delivery worker: {why}"),
        };
        if let Err(why) = runtime.block_on(deliver(shared, &heartbeat, &stop)) {
            error!("failed to start the delivery worker: {why}");
        }
    };
    let named = std::thread::Builder::new().name("worker".to_owned());
    if let Err(why) = named.spawn(work) {
        error!("failed to start the delivery worker: {why}");
    }
    ended
}

/// One worker after another: each lets the deliveries in flight end before the next one begins with
/// the changed configuration.
async fn deliver(
    shared: BridgeParts,
    heartbeat: &Heartbeat,
    stop: &CancellationToken,
) -> Result<(), AcquireClientError> {
    let mut configs = shared.config.clone();
    let mut config = Arc::clone(&configs.borrow_and_update());
    let mut client = client(&config, &shared.clock)?;
    loop {
        let worker = Worker {
            queues: AccountQueues::new(&config, Arc::clone(&shared.metrics)),
            rate_limiter: RateLimiter::new(config.delivery.max_rate),
            unsettled: UnsettledCount::default(),
            heartbeat: heartbeat.clone(),
            config,
            store: Arc::clone(&shared.store),
            client,
            clock: shared.clock.clone(),
            metrics: Arc::clone(&shared.metrics),
            due: Arc::clone(&shared.due),
            rules: shared.rules.clone(),
        };
        let turn = stop.child_token();
        let mut works = std::pin::pin!(Rc::new(worker).run(turn.clone()));
        tokio::select! {
            () = &mut works => return Ok(()),
            next = changed(&mut configs, &shared.clock) => (config, client) = next,
        }
        turn.cancel();
        tokio::select! {
            () = works => {}
            () = beats(heartbeat) => {}
        }
    }
}

/// For as long as it is waited for what is in flight.
async fn beats(heartbeat: &Heartbeat) {
    loop {
        heartbeat.tick().await;
    }
}

/// The next configuration that a client can be made of.
async fn changed(
    configs: &mut watch::Receiver<Arc<Config>>,
    clock: &Clock,
) -> (Arc<Config>, AcquireClient) {
    loop {
        if configs.changed().await.is_err() {
            return std::future::pending().await;
        }
        let config = Arc::clone(&configs.borrow_and_update());
        match client(&config, clock) {
            Ok(client) => return (config, client),
            Err(why) => error!("deliveries go on with the settings before: {why}"),
        }
    }
}

fn client(config: &Config, clock: &Clock) -> Result<AcquireClient, AcquireClientError> {
    AcquireClient::new(&config.acquire, &config.delivery, clock.clone())
}
