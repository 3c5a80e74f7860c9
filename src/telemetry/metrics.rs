//! The metrics of `/metrics`. Their names are part of the contract.
//!
//! They count; no decision reads them.

mod labels;
mod reconcile;
mod series;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use self::labels::{
    AccountLabels, AttemptLabels, CallbackLabels, KeyLabels, ReasonLabels, RecordingLabels,
    StateLabels,
};
use self::reconcile::ReconcileMetrics;
use crate::clock::Millis;
use crate::store::{Counts, Recorded, State, StoreFiles};
use crate::twilio::Evidence;

pub use self::series::{ADMIN_REASONS, SIGNED_VERDICTS, UNSIGNED_VERDICTS};

/// The account label of requests for an account that is not configured. The account that a request
/// claims is never a label: anybody could create as many time series as they like.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// Whether a breaker permits deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
}

/// The number of requests that one signing key signed.
#[derive(Clone, Debug)]
pub struct KeyUses(Counter);

impl KeyUses {
    pub fn increment(&self) {
        self.0.inc();
    }
}

/// All metrics of one bridge.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    received: Family<CallbackLabels, Counter>,
    ack: Histogram,
    signature_failures: Family<ReasonLabels, Counter>,
    signing_keys: Family<KeyLabels, Counter>,
    calls: Family<StateLabels, Gauge>,
    oldest_pending_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    attempts: Family<AttemptLabels, Counter>,
    delivery: Histogram,
    lag: Histogram,
    late_recordings: Family<AccountLabels, Counter>,
    fsync: Gauge<f64, std::sync::atomic::AtomicU64>,
    breakers: Family<AccountLabels, Gauge>,
    refused_not_kept: Counter,
    connections_refused: Family<ReasonLabels, Counter>,
    connections: Family<StateLabels, Gauge>,
    admin_refused: Family<ReasonLabels, Counter>,
    store_up: Gauge,
    spooled: Gauge,
    log_bytes: Gauge,
    free_bytes: Gauge,
    consistency_errors: Gauge,
    consistency_checked: Gauge<f64, std::sync::atomic::AtomicU64>,
    recordings: Family<RecordingLabels, Counter>,
    reconcile: ReconcileMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a fast local commit to 15 s, after which Twilio gives up.
        let seconds = || {
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                10.0, 15.0,
            ])
        };
        // From a few milliseconds to days: a call waits until Acquire is back.
        let lag = Histogram::new([
            0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0, 21_600.0,
            86_400.0, 259_200.0,
        ]);
        let mut metrics = Self {
            registry: Registry::with_prefix("bridge"),
            received: Family::default(),
            ack: seconds(),
            signature_failures: Family::default(),
            signing_keys: Family::default(),
            calls: Family::default(),
            oldest_pending_age: Gauge::default(),
            attempts: Family::default(),
            delivery: seconds(),
            lag,
            late_recordings: Family::default(),
            fsync: Gauge::default(),
            breakers: Family::default(),
            refused_not_kept: Counter::default(),
            connections_refused: Family::default(),
            connections: Family::default(),
            admin_refused: Family::default(),
            store_up: Gauge::default(),
            spooled: Gauge::default(),
            log_bytes: Gauge::default(),
            free_bytes: Gauge::default(),
            consistency_errors: Gauge::default(),
            consistency_checked: Gauge::default(),
            recordings: Family::default(),
            reconcile: ReconcileMetrics::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "callbacks_received",
            "Requests to the public listener by their verdict",
            self.received.clone(),
        );
        registry.register_with_unit(
            "ack_duration",
            "Time from the head of a request to its answer, for recorded callbacks",
            Unit::Seconds,
            self.ack.clone(),
        );
        registry.register(
            "signature_failures",
            "Requests refused because their signature is invalid",
            self.signature_failures.clone(),
        );
        registry.register(
            "signing_key_used",
            "Requests by the position of the key that signed them, since the configuration was read",
            self.signing_keys.clone(),
        );
        registry.register("calls", "Calls in each state", self.calls.clone());
        registry.register_with_unit(
            "oldest_pending_age",
            "Time since the oldest due call fell due; a requeued call starts at two minutes",
            Unit::Seconds,
            self.oldest_pending_age.clone(),
        );
        registry.register(
            "delivery_attempts",
            "Requests to Acquire by outcome, and legs for which no request could be made",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "delivery_duration",
            "Duration of a request to Acquire",
            Unit::Seconds,
            self.delivery.clone(),
        );
        registry.register_with_unit(
            "delivery_lag",
            "Time from the arrival of a callback to its acceptance by Acquire",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "breaker_open",
            "1 while deliveries to the account are paused and Acquire is only probed",
            self.breakers.clone(),
        );
        registry.register(
            "refused_not_kept",
            "Refused requests that are not kept for diagnosis because there were too many",
            self.refused_not_kept.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections closed without an answer, such as without a PROXY protocol header",
            self.connections_refused.clone(),
        );
        registry.register(
            "connections",
            "Open connections of the public listener in each state",
            self.connections.clone(),
        );
        registry.register(
            "admin_refused",
            "Requests to the admin listener refused because of their token, host or origin",
            self.admin_refused.clone(),
        );
        registry.register(
            "late_recordings",
            "Recordings that came after the end of their call was sent",
            self.late_recordings.clone(),
        );
        registry.register(
            "recordings_requested",
            "Requests for recordings by outcome",
            self.recordings.clone(),
        );
        registry.register(
            "build",
            "The version of the program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.register_store();
        self.reconcile.register(&mut self.registry);
    }

    fn register_store(&mut self) {
        let registry = &mut self.registry;
        registry.register_with_unit(
            "sync_duration",
            "fsync latency on the disk of the store when the bridge started",
            Unit::Seconds,
            self.fsync.clone(),
        );
        registry.register(
            "store_up",
            "0 while the store is unavailable, so that no call is delivered",
            self.store_up.clone(),
        );
        registry.register(
            "spooled_callbacks",
            "Callbacks that wait in the spool until the database is back",
            self.spooled.clone(),
        );
        registry.register_with_unit(
            "store_wal",
            "Size of the write-ahead log of the SQLite file or the spool",
            Unit::Bytes,
            self.log_bytes.clone(),
        );
        registry.register_with_unit(
            "store_free",
            "Free space on the disk of the SQLite file or the spool",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
        registry.register(
            "consistency_errors",
            "Errors that the last consistency check of the store found",
            self.consistency_errors.clone(),
        );
        registry.register_with_unit(
            "consistency_checked_timestamp",
            "Time of the last consistency check of the store; 0 before the first one",
            Unit::Seconds,
            self.consistency_checked.clone(),
        );
    }

    /// Counts a request of Twilio. `verdict` is `new`, `weaker`, `repeated`, or why it was refused.
    pub fn received(&self, account: &str, verdict: &'static str) {
        let labels = CallbackLabels {
            account: account.to_owned(),
            verdict,
        };
        self.received.get_or_create(&labels).inc();
    }

    /// A callback that was answered 2xx, `took` after the head of its request.
    pub fn recorded(&self, account: &str, recorded: Recorded, evidence: Evidence, took: Duration) {
        let verdict = match (recorded, evidence) {
            (Recorded::New, Evidence::Weaker) => "weaker",
            _ => recorded.as_str(),
        };
        self.received(account, verdict);
        self.ack.observe(took.as_secs_f64());
    }

    pub fn signature_failed(&self, reason: &'static str) {
        self.signature_failures
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    /// Removes all signing keys: after a reload another key may have the same position.
    pub fn forget_signing_keys(&self) {
        self.signing_keys.clear();
    }

    /// The counter of the key at a position among those of an account.
    #[must_use]
    pub fn signing_key(&self, account: &str, position: String) -> KeyUses {
        let labels = KeyLabels {
            account: account.to_owned(),
            key: position,
        };
        KeyUses(self.signing_keys.get_or_create(&labels).clone())
    }

    pub fn refused_not_kept(&self, count: usize) {
        self.refused_not_kept.inc_by(count as u64);
    }

    pub fn connection_refused(&self, reason: &'static str) {
        self.connections_refused
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    /// Sets the number of connections in a state.
    pub fn connections(&self, state: &'static str, count: usize) {
        let labels = StateLabels { state };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.connections.get_or_create(&labels).set(count);
    }

    pub fn admin_refused(&self, reason: &'static str) {
        self.admin_refused
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    pub fn attempted(&self, account: &str, outcome: &'static str, took: Duration) {
        let labels = AttemptLabels {
            account: account.to_owned(),
            outcome,
        };
        self.attempts.get_or_create(&labels).inc();
        self.delivery.observe(took.as_secs_f64());
    }

    /// Counts the legs of a parked call for which no request can be made.
    pub fn unmappable(&self, account: &str, more: usize) {
        if more == 0 {
            return;
        }
        let labels = AttemptLabels {
            account: account.to_owned(),
            outcome: "unmappable",
        };
        let attempts = self.attempts.get_or_create(&labels);
        attempts.inc_by(u64::try_from(more).unwrap_or(u64::MAX));
    }

    pub fn delivered_after(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    /// Counts `more` late recordings and returns their number before.
    #[must_use]
    pub fn recordings_were_late(&self, account: &str, more: usize) -> u64 {
        let labels = AccountLabels {
            account: account.to_owned(),
        };
        let late = self.late_recordings.get_or_create(&labels);
        late.inc_by(more as u64)
    }

    pub fn breaker(&self, account: &str, state: BreakerState) {
        let labels = AccountLabels {
            account: account.to_owned(),
        };
        let open = i64::from(state == BreakerState::Open);
        self.breakers.get_or_create(&labels).set(open);
    }

    pub fn store_files(&self, files: StoreFiles) {
        let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.log_bytes.set(bytes(files.log_bytes));
        self.free_bytes.set(bytes(files.free_bytes));
    }

    pub fn fsync_latency(&self, latency: Duration) {
        self.fsync.set(latency.as_secs_f64());
    }

    /// Notes the number of errors that a consistency check found.
    pub fn consistency_checked(&self, errors: usize, now: Millis) {
        let errors = i64::try_from(errors).unwrap_or(i64::MAX);
        self.consistency_errors.set(errors);
        let since_epoch = now.since(Millis(0));
        self.consistency_checked.set(since_epoch.as_secs_f64());
    }

    pub fn recording_asked(&self, account: &str, outcome: &'static str) {
        let labels = RecordingLabels {
            account: account.to_owned(),
            outcome,
        };
        self.recordings.get_or_create(&labels).inc();
    }

    /// Sets the number of callbacks that wait in the spool.
    pub fn spooled(&self, callbacks: u64) {
        self.spooled
            .set(i64::try_from(callbacks).unwrap_or(i64::MAX));
    }

    /// The text that Prometheus reads, with the current counts of the store; `None` while the store is
    /// unavailable.
    #[must_use]
    pub fn exposition(&self, counts: Option<&Counts>, now: Millis) -> String {
        self.store_up.set(i64::from(counts.is_some()));
        if let Some(counts) = counts {
            self.count(counts, now);
        } else {
            self.calls.clear();
            // Unknown, not zero: zero would read as no backlog.
            self.oldest_pending_age.set(f64::NAN);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn count(&self, counts: &Counts, now: Millis) {
        for state in State::ALL {
            let calls = i64::try_from(counts.in_state(state)).unwrap_or(i64::MAX);
            self.calls
                .get_or_create(&StateLabels {
                    state: state.as_str(),
                })
                .set(calls);
        }
        let age = counts
            .oldest_due
            .map_or(Duration::ZERO, |due| now.since(due));
        self.oldest_pending_age.set(age.as_secs_f64());
    }
}
