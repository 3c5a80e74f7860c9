//! Sends messages when something needs an operator, and when that is over; and the heartbeat, which stops
//! then. The conditions are those of the page Today.
//!
//! It shares nothing with deliveries but the store, of which it reads some counts every few seconds.

pub mod journal;
pub mod receiver;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::journal::{Journal, Place};
use self::receiver::NotifyError;
use crate::clock::Millis;
use crate::config::{Config, StoreUrl};
use crate::debugging::bridge_status::{
    BridgeFacts, BridgeStatus, Condition, conditions, is_concern,
};
use crate::delivery::heartbeat::Heartbeat;
use crate::domain::breaker::{Breaker, BreakerLimits, Change, Signal};
use crate::domain::condition::{ConditionKind, ProblemKind};
use crate::domain::message::{CauseOfCalls, Details, Message};
use crate::domain::watch::{Look, MAX_REJECTIONS, Seen, Watch};
use crate::server::facts;
use crate::server::shared::BridgeParts;
use crate::store::{ListFilter, State};

/// Between two looks at the conditions.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A problem of before a start is over at the earliest this long after it: until then, not everything is
/// measured.
const MEASURED_AFTER: Duration = Duration::from_secs(90);

/// Between two heartbeats.
const BEAT_INTERVAL: Duration = Duration::from_secs(60);

/// The run loop of the deliveries is stuck if it did not turn for so long.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// How long a bridge that stops waits for receivers.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest wait between two tries to send to a receiver that fails.
const LIMITS: BreakerLimits = BreakerLimits {
    probe_max: Duration::from_secs(300),
    concurrency: 1,
};

/// The pending calls among which an example of a paused account is searched.
const EXAMPLES: usize = 20;

/// Watches the conditions until `stop`. `worker` is the heartbeat of the deliveries.
pub async fn run(parts: BridgeParts, worker: Heartbeat, stop: CancellationToken) {
    let mut notifier = Notifier::new(parts, worker);
    notifier.run(&stop).await;
    // What is cut off is sent again by the next process.
    let _ = timeout(STOP_TIMEOUT, notifier.finish()).await;
}

/// A new id of a message.
pub fn new_id() -> String {
    format!("msg_{:032x}", fastrand::u128(..))
}

/// The name of this machine.
pub fn node() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// A message that was sent to a receiver.
struct Attempt {
    journal: usize,
    target: usize,
    id: String,
    at: Millis,
}

/// The end of a request.
enum Ended {
    Message(Attempt, Result<(), NotifyError>),
    Beat(Result<(), NotifyError>),
}

struct Notifier {
    parts: BridgeParts,
    worker: Heartbeat,
    node: String,
    started: Millis,
    config: Arc<Config>,
    /// That of this node, and that of all nodes if they share a database.
    journals: Vec<Journal>,
    /// For each receiver: its breaker, and whether a request is in flight.
    receivers: Vec<(Breaker, bool)>,
    in_flight: JoinSet<Ended>,
    /// Messages that receivers have, while the database is down.
    unsettled: Vec<Attempt>,
    next_beat: Millis,
    beats: bool,
}

impl Notifier {
    fn new(parts: BridgeParts, worker: Heartbeat) -> Self {
        let config = Arc::clone(&parts.config.borrow());
        let store = Arc::clone(&parts.store);
        let journals = match config.store.url {
            StoreUrl::Sqlite(_) => vec![Journal::new(Place::Node, Some(store))],
            StoreUrl::Postgres(_) => {
                let spool = store.spool().map(|_| Arc::clone(&store));
                vec![
                    Journal::new(Place::Node, spool),
                    Journal::new(Place::Database, Some(store)),
                ]
            }
        };
        let now = parts.clock.now();
        let mut notifier = Self {
            parts,
            worker,
            node: node(),
            started: now,
            config,
            journals,
            receivers: Vec::new(),
            in_flight: JoinSet::new(),
            unsettled: Vec::new(),
            next_beat: now,
            beats: true,
        };
        notifier.start_receivers();
        notifier
    }

    async fn run(&mut self, stop: &CancellationToken) {
        let clock = self.parts.clock.clone();
        let mut next = clock.now();
        loop {
            // The clock may have been set back.
            next = next.min(clock.now().plus(LOOK_INTERVAL));
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                () = clock.reach(next) => None,
                Some(ended) = self.in_flight.join_next() => Some(ended),
            };
            if let Some(ended) = ended {
                self.settle(ended).await;
            } else {
                self.reload();
                stop.run_until_cancelled(self.look()).await;
                next = clock.now().plus(LOOK_INTERVAL);
            }
            self.send().await;
        }
    }

    /// Settles the requests in flight.
    async fn finish(&mut self) {
        while let Some(ended) = self.in_flight.join_next().await {
            self.settle(ended).await;
            self.settle_sent().await;
        }
    }

    /// Changed receivers are tried at once. Messages that wait for a receiver go to the one at its place, so
    /// that they follow a corrected URL.
    fn reload(&mut self) {
        let config = Arc::clone(&self.parts.config.borrow());
        if !Arc::ptr_eq(&config, &self.config) {
            self.config = config;
            self.start_receivers();
        }
    }

    fn start_receivers(&mut self) {
        let now = self.parts.clock.now();
        let in_flight = |target| {
            self.receivers
                .get(target)
                .is_some_and(|(_, is_busy)| *is_busy)
        };
        let receiver = |target| (Breaker::reloaded(LIMITS, now), in_flight(target));
        let count = self.config.notify.len().max(self.receivers.len());
        self.receivers = (0..count).map(receiver).collect();
    }

    async fn look(&mut self) {
        if self.config.notify.is_empty() && self.config.heartbeat.is_none() {
            return;
        }
        // Before the facts: an outage that begins in between must not look like the end of an earlier one.
        let answered = self.parts.outages.known();
        let is_checked = self.parts.metrics.consistency_checked().get() > 0.0;
        // A bridge that stops ends this task; that is no condition.
        let never = CancellationToken::new();
        let facts = match timeout(LOOK_TIMEOUT, facts(&self.parts, &never)).await {
            Ok(Ok(facts)) => facts,
            Ok(Err(why)) => return debug!("the conditions are not known: {why}"),
            Err(_) => return debug!("the conditions are not known after {LOOK_TIMEOUT:?}"),
        };
        let now = self.parts.clock.now();
        let mut found = conditions(&facts, now);
        found.retain(|condition| ConditionKind::NOTIFIED.contains(&condition.kind()));
        self.beat(&found, now);
        if self.config.notify.is_empty() {
            return;
        }
        let mut seen = Vec::with_capacity(found.len());
        for condition in &found {
            seen.push(self.seen(condition, &facts, now).await);
        }
        let headline = BridgeStatus::with(&found, &facts, now).sentence;
        let console = self.config.admin.console_url();
        let (config, metrics) = (&self.config, &self.parts.metrics);
        let started = self.started;
        let knows = |kind, subject: &str| match kind {
            ConditionKind::NotStored | ConditionKind::DatabaseDown => true,
            ConditionKind::Refused | ConditionKind::NeedDecision => facts.counts.is_some(),
            ConditionKind::NoCallbacks | ConditionKind::Operation | ConditionKind::Late => {
                facts.recent.is_some()
            }
            ConditionKind::Problem => {
                now.since(started) >= MEASURED_AFTER
                    && (is_checked || subject != ProblemKind::Consistency.as_str())
            }
            ConditionKind::Unreachable | ConditionKind::Rejected => {
                let mut accounts = config.accounts.iter();
                answered.contains(subject)
                    || accounts.all(|account| account.acquire_account_id != subject)
            }
        };
        let targets = |kind| {
            let all = config.notify.iter().enumerate();
            let wanted = all.filter(|(_, target)| target.events.contains(&kind));
            wanted.map(|(position, _)| position).collect()
        };
        let is_shared = self.journals.len() > 1;
        for (place, journal) in self.journals.iter_mut().enumerate() {
            let is_here = |seen: &&Seen| !is_shared || seen.kind.is_of_node() == (place == 0);
            let look = Look {
                now,
                seen: seen.iter().filter(is_here).cloned().collect(),
                knows: &knows,
                headline: &headline,
                node: &self.node,
                console: &console,
                targets: &targets,
                new_id: &new_id,
            };
            let changed = journal.change(|watch| {
                watch.look(&look);
                watch.give_up(config.notify.len(), now)
            });
            for target in changed.await.unwrap_or_default() {
                let kind = config.notify[target].format.as_str();
                metrics.notify_gave_up(kind).inc();
                warn!(
                    "notify[{}] ({kind}): a message was given up, because it could not be sent for a day, \
                     was rejected {MAX_REJECTIONS} times, or too many wait; run `doctor --notify`",
                    target + 1
                );
            }
        }
    }

    async fn seen(&self, condition: &Condition, facts: &BridgeFacts, now: Millis) -> Seen {
        let store = &self.parts.store;
        let mut details = Details {
            sentence: condition.sentence(),
            count: condition.count(),
            ..Details::default()
        };
        match condition {
            // Details may be missing; the condition is not.
            Condition::NeedDecision { .. } => {
                let causes = store.parked().await.unwrap_or_default();
                let cause = |of: crate::store::ParkedCause| CauseOfCalls {
                    cause: of.cause.to_string(),
                    sentence: of.cause.sentence(),
                    count: Some(of.calls),
                    example: Some(of.example.to_string()),
                };
                details.causes = causes.into_iter().map(cause).collect();
                details.example = details.causes.first().and_then(|of| of.example.clone());
            }
            Condition::OutageOfAcquire { outage, .. } => {
                let status = outage.status.map(|status| status.to_string());
                details.causes.push(CauseOfCalls {
                    cause: status.unwrap_or_else(|| outage.fault.to_string()),
                    sentence: outage.fault.advice().to_owned(),
                    ..CauseOfCalls::default()
                });
                let filter = ListFilter {
                    state: Some(State::Pending),
                    limit: EXAMPLES,
                };
                let calls = store.list(filter).await.unwrap_or_default();
                let mut calls = calls.into_iter().filter(|call| {
                    let account = self.config.account(&call.account);
                    account.is_some_and(|of| of.acquire_account_id == outage.account)
                });
                details.example = calls.next().map(|call| call.sid.to_string());
            }
            Condition::Refused { .. } => {
                let refused = facts.refused.iter().map(|(cause, _)| cause);
                let cause = |of: &crate::store::RefusedCause| CauseOfCalls {
                    cause: of.cause.clone(),
                    count: Some(of.count),
                    ..CauseOfCalls::default()
                };
                let refused = refused.filter(|of| is_concern(of, now)).map(cause);
                details.causes = refused.collect();
            }
            _ => {}
        }
        Seen {
            kind: condition.kind(),
            subject: condition.subject().to_owned(),
            details,
        }
    }

    /// Sends the heartbeat if it is due and nothing critical is wrong.
    fn beat(&mut self, found: &[Condition], now: Millis) {
        let Some(url) = self.config.heartbeat.clone() else {
            return;
        };
        let is_well = !found.iter().any(Condition::is_critical);
        // Further ahead than an interval: the clock was set back.
        let is_early = now < self.next_beat && self.next_beat <= now.plus(BEAT_INTERVAL);
        if is_early || !is_well || self.worker.age() > STUCK_AFTER {
            return;
        }
        self.next_beat = now.plus(BEAT_INTERVAL);
        let ca_file = self.config.acquire.ca_file.clone();
        self.in_flight.spawn_local(async move {
            Ended::Beat(receiver::beat(url.expose_secret(), ca_file.as_deref(), now).await)
        });
    }

    /// Starts to send the next message of each receiver that has none in flight.
    async fn send(&mut self) {
        self.settle_sent().await;
        let now = self.parts.clock.now();
        for target in 0..self.config.notify.len() {
            let (breaker, is_busy) = &self.receivers[target];
            if *is_busy || breaker.permits(0, now) == 0 {
                continue;
            }
            if let Some((journal, message)) = self.claim(target, now).await {
                self.receivers[target].1 = true;
                self.start(journal, target, message, now);
            }
        }
    }

    async fn claim(&mut self, target: usize, now: Millis) -> Option<(usize, Message)> {
        for (place, journal) in self.journals.iter_mut().enumerate() {
            if !journal.last().has(target, now) {
                continue;
            }
            let claimed = journal.change(|watch| watch.claim(target, now)).await;
            if let Some(message) = claimed.flatten() {
                return Some((place, message));
            }
        }
        None
    }

    fn start(&mut self, journal: usize, target: usize, message: Message, at: Millis) {
        let receiver = self.config.notify[target].clone();
        let ca_file = self.config.acquire.ca_file.clone();
        self.in_flight.spawn_local(async move {
            let result = receiver::post(&receiver, &message, ca_file.as_deref(), at).await;
            let attempt = Attempt {
                journal,
                target,
                id: message.id,
                at,
            };
            Ended::Message(attempt, result)
        });
    }

    async fn settle(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Message(attempt, result)) => self.settle_message(attempt, result).await,
            Ok(Ended::Beat(result)) => self.settle_beat(&result),
            Err(why) => warn!("a notification was not sent: {why}"),
        }
    }

    async fn settle_message(&mut self, attempt: Attempt, result: Result<(), NotifyError>) {
        let now = self.parts.clock.now();
        let target = attempt.target;
        self.receivers[target].1 = false;
        let kind = self.config.notify.get(target).map(|of| of.format.as_str());
        let kind = kind.unwrap_or("json");
        let signal = result
            .as_ref()
            .err()
            .map_or(Signal::Good, NotifyError::signal);
        let change = self.receivers[target].0.report(signal, attempt.at, now);
        let number = target + 1;
        match &result {
            Ok(()) => {
                self.parts.metrics.notified(kind).inc();
            }
            Err(why) => {
                self.parts.metrics.notify_failed(kind).inc();
                debug!("notify[{number}] ({kind}): a message was not accepted: {why}");
            }
        }
        match (change, &result) {
            (Change::Opened, Err(why)) => warn!(
                "notify[{number}] ({kind}) does not accept messages: {why}; they wait; \
                 check notify[{number}] and run `doctor --notify`"
            ),
            (Change::Closed, _) => info!("notify[{number}] ({kind}) accepts messages again"),
            _ => {}
        }
        let Err(why) = result else {
            return self.unsettled.push(attempt);
        };
        let change = |watch: &mut Watch| {
            if why.is_rejection() {
                watch.rejected(target, &attempt.id, now);
            } else {
                watch.failed(target, &attempt.id, now, why.requested_wait());
            }
        };
        // If this fails, the claim ends by itself.
        let _ = self.journals[attempt.journal].change(change).await;
    }

    /// Notes which messages their receivers have. While the database is down, it is tried again at each turn,
    /// before the claims of these messages end.
    async fn settle_sent(&mut self) {
        for sent in std::mem::take(&mut self.unsettled) {
            let journal = &mut self.journals[sent.journal];
            let settled = journal.change(|watch| watch.sent(sent.target, &sent.id));
            if settled.await.is_none() {
                self.unsettled.push(sent);
            }
        }
    }

    fn settle_beat(&mut self, result: &Result<(), NotifyError>) {
        match result {
            Ok(()) => {
                self.parts.metrics.notified("heartbeat").inc();
                if !self.beats {
                    info!("heartbeat.url accepts the heartbeat again");
                }
            }
            Err(why) => {
                self.parts.metrics.notify_failed("heartbeat").inc();
                if self.beats {
                    warn!("the heartbeat was not accepted: {why}; check heartbeat.url");
                }
            }
        }
        self.beats = result.is_ok();
    }
}
