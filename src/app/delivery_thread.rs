//! The delivery worker on a thread of its own: its client cannot leave the thread it was made on.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::acquire_client::{AcquireClient, AcquireClientError};
use crate::delivery::heartbeat::Heartbeat;
use crate::delivery::{AccountQueues, RateLimiter, Slots, Worker};
use crate::server::shared::BridgeParts;
use crate::store::hand_over::HandedCalls;

/// Delivers until `stop`. The receiver resolves when the thread has ended, for whatever reason.
pub(super) fn spawn(
    shared: &BridgeParts,
    clock: Clock,
    mut handed: HandedCalls,
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
        let delivering = deliver(shared, &mut handed, &heartbeat, &stop);
        if let Err(why) = runtime.block_on(delivering) {
            error!("failed to start the delivery worker: {why}");
        }
    };
    let named = std::thread::Builder::new().name("worker".to_owned());
    if let Err(why) = named.spawn(work) {
        error!("failed to start the delivery worker: {why}");
    }
    ended
}

/// Runs one worker after another: after a reload the next one starts at once with the new configuration,
/// and the deliveries in flight finish with the old one.
async fn deliver(
    shared: BridgeParts,
    handed: &mut HandedCalls,
    heartbeat: &Heartbeat,
    stop: &CancellationToken,
) -> Result<(), AcquireClientError> {
    let mut configs = shared.config.clone();
    let config = Arc::clone(&configs.borrow_and_update());
    let rate_limiter = RateLimiter::new(config.delivery.max_rate);
    let mut worker = Rc::new(Worker {
        queues: AccountQueues::new(&config, Arc::clone(&shared.metrics), shared.outages),
        slots: Rc::new(Slots::new(
            Arc::clone(&handed.permits),
            rate_limiter.claims(config.delivery.concurrency),
        )),
        rate_limiter: Rc::new(rate_limiter),
        unsettled: Rc::default(),
        has_logged_sip_host: Cell::default(),
        heartbeat: heartbeat.clone(),
        client: client(&config, &shared.clock)?,
        config,
        store: shared.store,
        clock: shared.clock,
        metrics: shared.metrics,
        due: shared.due,
        hand_over: shared.hand_over,
        rules: shared.rules,
    });
    let mut in_flight = JoinSet::new();
    loop {
        let stop_worker = stop.child_token();
        let (config, client) = {
            let mut run = pin!(Rc::clone(&worker).run(&mut in_flight, handed, &stop_worker));
            let next = tokio::select! {
                () = &mut run => break,
                next = changed(&mut configs, &worker.clock) => next,
            };
            // One worker claims at a time: its last claim ends first.
            stop_worker.cancel();
            run.await;
            next
        };
        worker = Rc::new(worker.reloaded(config, client));
    }
    // Calls that were handed over until now are claimed, so they are delivered too.
    handed.close();
    while let Some(call) = handed.next().await {
        worker.start_handed(call, &mut in_flight);
    }
    while in_flight.join_next().await.is_some() {}
    Ok(())
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
