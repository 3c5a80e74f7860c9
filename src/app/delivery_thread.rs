//! The delivery worker on a thread of its own: its client cannot leave the thread it was made on.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::acquire_client::{AcquireClient, AcquireClientError};
use crate::delivery::heartbeat::Heartbeat;
use crate::delivery::{AccountQueues, RateLimiter, UnsettledCount, Worker};
use crate::server::shared::BridgeParts;

/// Delivers until `stop`. The receiver resolves when the thread has ended, for whatever reason.
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
        // Dropped when the thread ends, also by a panic, which resolves the receiver.
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

/// Runs one worker after another: after a reload the next one starts with the new configuration, once
/// the deliveries in flight have ended.
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
            queues: AccountQueues::new(
                &config,
                Arc::clone(&shared.metrics),
                Arc::clone(&shared.outages),
            ),
            rate_limiter: RateLimiter::new(config.delivery.max_rate),
            unsettled: UnsettledCount::default(),
            has_logged_sip_host: Cell::default(),
            heartbeat: heartbeat.clone(),
            config,
            store: Arc::clone(&shared.store),
            client,
            clock: shared.clock.clone(),
            metrics: Arc::clone(&shared.metrics),
            due: Arc::clone(&shared.due),
            rules: shared.rules.clone(),
        };
        let stop_worker = stop.child_token();
        let mut run = std::pin::pin!(Rc::new(worker).run(stop_worker.clone()));
        tokio::select! {
            () = &mut run => return Ok(()),
            next = changed(&mut configs, &shared.clock) => (config, client) = next,
        }
        // The old worker ends first: two at once would exceed delivery.concurrency.
        stop_worker.cancel();
        tokio::select! {
            () = run => {}
            // The run loop has ended and no longer ticks while its deliveries end.
            () = keep_ticking(heartbeat) => {}
        }
    }
}

async fn keep_ticking(heartbeat: &Heartbeat) {
    loop {
        heartbeat.tick().await;
    }
}

/// Waits for the next configuration from which a client can be built.
async fn changed(
    configs: &mut watch::Receiver<Arc<Config>>,
    clock: &Clock,
) -> (Arc<Config>, AcquireClient) {
    loop {
        if configs.changed().await.is_err() {
            // No reload can come any more, so wait until the worker is stopped.
            return std::future::pending().await;
        }
        let config = Arc::clone(&configs.borrow_and_update());
        match client(&config, clock) {
            Ok(client) => return (config, client),
            Err(why) => error!("deliveries continue with the previous settings: {why}"),
        }
    }
}

fn client(config: &Config, clock: &Clock) -> Result<AcquireClient, AcquireClientError> {
    AcquireClient::new(&config.acquire, &config.delivery, clock.clone())
}
