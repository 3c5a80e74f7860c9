//! Carries out bulk operations, the oldest of each kind: on each node, and in a command without a bridge.
//!
//! What a batch does to its calls, and the rate, belong to the store: nodes agree through the row alone.

pub mod erasure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock::{self, Clock};
use crate::debugging::search::{CallSearch, OutageOf};
use crate::domain::operation::{OperationKind, OperationState};
use crate::domain::plan::Rules;
use crate::server::shared::BridgeParts;
use crate::store::{CallPage, Cursor, Detail, Operation, OperationBatch, Store, StoreError};

/// Between two looks at the operations, while none is due.
const IDLE: Duration = Duration::from_millis(500);

/// Between two notes that this node runs.
const REGISTER_INTERVAL: Duration = Duration::from_secs(60);

/// Calls that are counted at once.
const COUNTED: usize = 1_000;

/// Unfinished operations that are looked at.
const MOST: usize = 1_000;

/// Carries out operations until `stop`.
pub async fn run(bridge: BridgeParts, stop: CancellationToken) {
    let (outages, config) = (Arc::clone(&bridge.outages), bridge.config.clone());
    let mut carrier = Carrier {
        store: Arc::clone(&bridge.store),
        clock: bridge.clock.clone(),
        pace: Pace::Rate,
        node: None,
        outage_of: Arc::new(move |account| {
            let config = Arc::clone(&config.borrow());
            outages.of(&config.account(account)?.acquire_account_id)
        }),
    };
    let mut registered = None::<Instant>;
    loop {
        if registered.is_none_or(|at| at.elapsed() >= REGISTER_INTERVAL)
            && let Ok(node) = erasure::register(&*carrier.store, carrier.clock.now()).await
        {
            carrier.node = node;
            registered = Some(Instant::now());
        }
        let rules = Arc::clone(&bridge.rules.borrow());
        let taken = tokio::select! {
            () = stop.cancelled() => return,
            taken = carrier.step(&rules) => taken,
        };
        let wait = match taken {
            Ok(Step::Changed) => {
                bridge.due.notify_one();
                Duration::ZERO
            }
            Ok(Step::Wait(wait)) => wait,
            Err(why) => {
                // The store itself logs once that it is unavailable.
                if !why.is_unavailable() {
                    error!("failed to carry out an operation: {why}");
                }
                IDLE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock::pause(wait) => {}
        }
    }
}

/// How fast calls are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As the operation says, in real time.
    Rate,
    /// At once: nothing is sent meanwhile.
    Unlimited,
}

/// Carries out operations in small steps.
pub struct Carrier {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub pace: Pace,
    /// The name of this node, if it has a spool.
    pub node: Option<String>,
    pub outage_of: OutageOf,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Calls were changed: the next step may be due.
    Changed,
    /// Nothing is due for this long.
    Wait(Duration),
}

impl Carrier {
    /// Carries out the next batch of the oldest operation of each kind.
    pub async fn step(&self, rules: &Arc<Rules>) -> Result<Step, StoreError> {
        let open = self.store.operations(MOST).await?;
        let mut step = Step::Wait(IDLE);
        for operation in open.iter().filter(|of| of.state == OperationState::Running) {
            match self.clear_spool(operation).await {
                // The receipt names this node. Its spool keeps no operation waiting.
                Err(why) if !why.is_unavailable() => error!("failed to clear the spool: {why}"),
                _ => {}
            }
        }
        for kind in OperationKind::ALL {
            let is_running =
                |of: &&Operation| of.kind == kind && of.state == OperationState::Running;
            let Some(first) = open.iter().filter(is_running).min_by_key(|of| of.id) else {
                continue;
            };
            step = match (step, self.advance(first, rules).await?) {
                (Step::Wait(one), Step::Wait(other)) => Step::Wait(one.min(other)),
                _ => Step::Changed,
            };
        }
        Ok(step)
    }

    async fn advance(&self, operation: &Operation, rules: &Arc<Rules>) -> Result<Step, StoreError> {
        if operation.kind == OperationKind::Erase {
            return self.advance_erasure(operation).await;
        }
        let store = &self.store;
        // Counting is faster, so that the total is ahead of the calls that are done.
        let from = operation.counted;
        if from != Cursor::End {
            let page = self.page(operation, from, COUNTED, rules).await?;
            let calls = page
                .calls
                .iter()
                .filter(|call| operation.admits(&call.summary));
            let calls = u64::try_from(calls.count()).unwrap_or(u64::MAX);
            let to = Cursor::after(page.end);
            store.count_operation(operation.id, from, calls, to).await?;
        }
        let operation = match self.take_slot(operation).await? {
            Ok(operation) => operation,
            Err(wait) => return Ok(wait),
        };
        let batch = self.next_batch(&operation, rules).await?;
        let is_held = batch.held_for.is_some() && batch.to == batch.from;
        if is_held && operation.held_for == batch.held_for {
            return Ok(Step::Wait(IDLE));
        }
        store.carry_out(batch, self.clock.now()).await?;
        Ok(if is_held {
            Step::Wait(IDLE)
        } else {
            Step::Changed
        })
    }

    /// The operation, if its next batch is due; else how long to wait.
    async fn take_slot(
        &self,
        operation: &Operation,
    ) -> Result<Result<Operation, Step>, StoreError> {
        let mut now = Clock::system().now();
        if self.pace == Pace::Unlimited {
            now = now.max(operation.next_at);
        }
        let taken = self.store.take_slot(operation.id, now).await?;
        Ok(taken.ok_or_else(|| {
            let wait = operation.next_at.since(now);
            Step::Wait(wait.clamp(Duration::from_millis(1), IDLE))
        }))
    }

    /// The next calls, up to one whose account is paused: requeued calls would only wait.
    async fn next_batch(
        &self,
        operation: &Operation,
        rules: &Arc<Rules>,
    ) -> Result<OperationBatch, StoreError> {
        let from = operation.position;
        let size = operation.batch_size();
        let mut page = self.page(operation, from, size, rules).await?;
        let mut held_for = None;
        let mut to = Cursor::after(page.end);
        if operation.kind == OperationKind::Requeue {
            let paused = page.calls.iter().enumerate().find_map(|(place, call)| {
                let outage = (self.outage_of)(&call.summary.account)?;
                let is_next = operation.admits(&call.summary);
                is_next.then_some((place, outage.account))
            });
            if let Some((place, account)) = paused {
                held_for = Some(account);
                if place == 0 {
                    (page, to) = (CallPage::default(), from);
                } else {
                    page = self.page(operation, from, place, rules).await?;
                    to = Cursor::after(page.end);
                }
            }
        }
        let calls = page.calls.into_iter().map(|call| call.summary);
        let calls = calls.filter(|call| operation.admits(call));
        Ok(OperationBatch {
            operation: operation.id,
            from,
            to,
            calls: calls.map(|call| (call.sid, call.account)).collect(),
            refused: Vec::new(),
            held_for,
        })
    }

    async fn page(
        &self,
        operation: &Operation,
        from: Cursor,
        limit: usize,
        rules: &Arc<Rules>,
    ) -> Result<CallPage, StoreError> {
        let filter = operation.filter().map_err(StoreError::Database)?;
        let hasher = self.store.address_hasher().await?;
        let view = (Arc::clone(rules), Arc::clone(&self.outage_of));
        let search = CallSearch::new(filter, hasher, view, self.clock.now());
        let mut query = search.query(Detail::Summary, limit);
        query.from = from.position();
        self.store.search(query).await
    }
}
