//! The metrics of `/metrics`. Their names are part of the contract.
//!
//! They count; no decision reads them.

mod labels;
mod reconcile;
mod series;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use self::labels::{
    AccountLabels, AttemptLabels, CallbackLabels, KeyLabels, KindLabels, ReasonLabels,
    RecordingLabels, StateLabels,
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

/// What a wrong clock led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    JumpForward,
    JumpBack,
    /// The times of a call were too far ahead.
    TimeCorrected,
    /// The clock is ahead of what is certain, so that expired calls stay.
    PurgeHeld,
    /// A call stays, because Twilio's Timestamp is later than the time in the store.
    RemovalDeferred,
}

impl ClockEvent {
    const ALL: [Self; 5] = [
        Self::JumpForward,
        Self::JumpBack,
        Self::TimeCorrected,
        Self::PurgeHeld,
        Self::RemovalDeferred,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::JumpForward => "jump-forward",
            Self::JumpBack => "jump-back",
            Self::TimeCorrected => "time-corrected",
            Self::PurgeHeld => "purge-held",
            Self::RemovalDeferred => "removal-deferred",
        }
    }
}

/// The number of requests that one signing key signed.
#[derive(Clone, Debug)]
pub struct KeyUses(Counter);

impl KeyUses {
    pub fn increment(&self) {
        self.0.inc();
    }
}

type Seconds = Gauge<f64, AtomicU64>;

/// Declares a group of metrics, each with its name, its unit if it has one, and its help text.
macro_rules! metric_table {
    ($vis:vis struct $group:ident {
        $($field:ident: $kind:ty $(= $new:expr)?, $name:literal $(in $unit:ident)?, $help:literal;)*
    }) => {
        #[derive(Debug)]
        $vis struct $group {
            $($field: $kind,)*
        }

        impl $group {
            $vis fn new(registry: &mut Registry) -> Self {
                $(
                    let $field: $kind = metric_table!(@new $($new)?);
                    let unit = None$(.or(Some(Unit::$unit)))?;
                    $crate::telemetry::metrics::register(registry, $name, unit, $help, &$field);
                )*
                Self { $($field,)* }
            }
        }
    };
    (@new) => { Default::default() };
    (@new $new:expr) => { $new };
}
use metric_table;

/// All metrics of one bridge.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    bridge: BridgeMetrics,
    reconcile: ReconcileMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bridge");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of the program", version);
        let metrics = Self {
            bridge: BridgeMetrics::new(&mut registry),
            reconcile: ReconcileMetrics::new(&mut registry),
            registry,
        };
        // A closed set of labels exists from the start.
        for event in ClockEvent::ALL {
            metrics.clock_event(event, 0);
        }
        for state in [State::Delivered, State::Skipped, State::Parked] {
            metrics.expired(state, 0);
        }
        metrics
    }
}

metric_table! {
    struct BridgeMetrics {
        received: Family<CallbackLabels, Counter>, "callbacks_received",
            "Requests to the public listener by their verdict";
        ack: Histogram = histogram_to_15_s(), "ack_duration" in Seconds,
            "Time from the head of a request to its answer, for recorded callbacks";
        signature_failures: Family<ReasonLabels, Counter>, "signature_failures",
            "Requests refused because their signature is invalid";
        signing_keys: Family<KeyLabels, Counter>, "signing_key_used",
            "Requests by the position of the key that signed them, since the configuration was read";
        calls: Family<StateLabels, Gauge>, "calls",
            "Calls in each state";
        oldest_pending_age: Seconds, "oldest_pending_age" in Seconds,
            "Time since the oldest due call fell due; a requeued call starts at two minutes";
        attempts: Family<AttemptLabels, Counter>, "delivery_attempts",
            "Requests to Acquire by outcome, and legs for which no request could be made";
        delivery: Histogram = histogram_to_15_s(), "delivery_duration" in Seconds,
            "Duration of a request to Acquire";
        lag: Histogram = histogram_to_days(), "delivery_lag" in Seconds,
            "Time from the arrival of a callback to its acceptance by Acquire";
        breakers: Family<AccountLabels, Gauge>, "breaker_open",
            "1 while deliveries to the account are paused and Acquire is only probed";
        refused_not_kept: Counter, "refused_not_kept",
            "Refused requests that are not kept for diagnosis because there were too many";
        connections_refused: Family<ReasonLabels, Counter>, "connections_refused",
            "Connections closed without an answer, such as without a PROXY protocol header";
        connections: Family<StateLabels, Gauge>, "connections",
            "Open connections of the public listener in each state";
        admin_refused: Family<ReasonLabels, Counter>, "admin_refused",
            "Requests to the admin listener refused because of their token, host or origin";
        late_recordings: Family<AccountLabels, Counter>, "late_recordings",
            "Recordings that came after the end of their call was sent";
        recordings: Family<RecordingLabels, Counter>, "recordings_requested",
            "Requests for recordings by outcome";
        fsync: Seconds, "sync_duration" in Seconds,
            "fsync latency on the disk of the store when the bridge started";
        store_up: Gauge, "store_up",
            "0 while the store is unavailable, so that no call is delivered";
        spooled: Gauge, "spooled_callbacks",
            "Callbacks that wait in the spool until the database is back";
        clock_events: Family<KindLabels, Counter>, "clock_events",
            "Jumps of the clock of this machine, calls with times that were corrected, held removals";
        expired: Family<StateLabels, Counter>, "calls_expired",
            "Calls removed after their retention by the state that they were in";
        log_bytes: Gauge, "store_wal" in Bytes,
            "Size of the write-ahead log of the SQLite file or the spool";
        free_bytes: Gauge, "store_free" in Bytes,
            "Free space on the disk of the SQLite file or the spool";
        consistency_errors: Gauge, "consistency_errors",
            "Errors that the last consistency check of the store found";
        consistency_checked: Seconds, "consistency_checked_timestamp" in Seconds,
            "Time of the last consistency check of the store; 0 before the first one";
        certificate_expiry: Seconds = unknown(), "certificate_expiry_timestamp" in Seconds,
            "Expiry of the certificate of the public listener; NaN without one";
    }
}

/// From a fast local commit to 15 s, after which Twilio gives up.
fn histogram_to_15_s() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0,
    ])
}

/// Compares with no time, so that no alert fires.
fn unknown() -> Seconds {
    let gauge = Seconds::default();
    gauge.set(f64::NAN);
    gauge
}

/// From a few milliseconds to days: a call waits until Acquire is back.
fn histogram_to_days() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0, 21_600.0, 86_400.0,
        259_200.0,
    ])
}

fn register(
    registry: &mut Registry,
    name: &str,
    unit: Option<Unit>,
    help: &str,
    metric: &(impl Metric + Clone),
) {
    match unit {
        None => registry.register(name, help, metric.clone()),
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
    }
}

impl Metrics {
    /// Counts a request of Twilio. `verdict` is `new`, `weaker`, `repeated`, or why it was refused.
    pub fn received(&self, account: &str, verdict: &'static str) {
        let labels = CallbackLabels {
            account: account.to_owned(),
            verdict,
        };
        self.bridge.received.get_or_create(&labels).inc();
    }

    /// A callback that was answered 2xx, `took` after the head of its request.
    pub fn recorded(&self, account: &str, recorded: Recorded, evidence: Evidence, took: Duration) {
        let verdict = match (recorded, evidence) {
            (Recorded::New, Evidence::Weaker) => "weaker",
            _ => recorded.as_str(),
        };
        self.received(account, verdict);
        self.bridge.ack.observe(took.as_secs_f64());
    }

    pub fn signature_failed(&self, reason: &'static str) {
        self.bridge
            .signature_failures
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    /// Removes all signing keys: after a reload another key may have the same position.
    pub fn forget_signing_keys(&self) {
        self.bridge.signing_keys.clear();
    }

    /// The counter of the key at a position among those of an account.
    #[must_use]
    pub fn signing_key(&self, account: &str, position: String) -> KeyUses {
        let labels = KeyLabels {
            account: account.to_owned(),
            key: position,
        };
        KeyUses(self.bridge.signing_keys.get_or_create(&labels).clone())
    }

    pub fn refused_not_kept(&self, count: usize) {
        self.bridge.refused_not_kept.inc_by(count as u64);
    }

    pub fn connection_refused(&self, reason: &'static str) {
        self.bridge
            .connections_refused
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    /// Sets the number of connections in a state.
    pub fn connections(&self, state: &'static str, count: usize) {
        let labels = StateLabels { state };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.bridge.connections.get_or_create(&labels).set(count);
    }

    pub fn admin_refused(&self, reason: &'static str) {
        self.bridge
            .admin_refused
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    pub fn attempted(&self, account: &str, outcome: &'static str, took: Duration) {
        let labels = AttemptLabels {
            account: account.to_owned(),
            outcome,
        };
        self.bridge.attempts.get_or_create(&labels).inc();
        self.bridge.delivery.observe(took.as_secs_f64());
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
        let attempts = self.bridge.attempts.get_or_create(&labels);
        attempts.inc_by(u64::try_from(more).unwrap_or(u64::MAX));
    }

    pub fn delivered_after(&self, lag: Duration) {
        self.bridge.lag.observe(lag.as_secs_f64());
    }

    /// Counts `more` late recordings and returns their number before.
    #[must_use]
    pub fn recordings_were_late(&self, account: &str, more: usize) -> u64 {
        let labels = AccountLabels {
            account: account.to_owned(),
        };
        let late = self.bridge.late_recordings.get_or_create(&labels);
        late.inc_by(more as u64)
    }

    pub fn breaker(&self, account: &str, state: BreakerState) {
        let labels = AccountLabels {
            account: account.to_owned(),
        };
        let open = i64::from(state == BreakerState::Open);
        self.bridge.breakers.get_or_create(&labels).set(open);
    }

    pub fn clock_event(&self, event: ClockEvent, count: usize) {
        let kind = event.as_str();
        let events = self.bridge.clock_events.get_or_create(&KindLabels { kind });
        events.inc_by(count as u64);
    }

    pub fn expired(&self, state: State, calls: usize) {
        let state = state.as_str();
        let expired = self.bridge.expired.get_or_create(&StateLabels { state });
        expired.inc_by(calls as u64);
    }

    pub fn certificate_expiry(&self, at: Millis) {
        self.bridge
            .certificate_expiry
            .set(at.since(Millis(0)).as_secs_f64());
    }

    pub fn store_files(&self, files: StoreFiles) {
        let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bridge.log_bytes.set(bytes(files.log_bytes));
        self.bridge.free_bytes.set(bytes(files.free_bytes));
    }

    pub fn fsync_latency(&self, latency: Duration) {
        self.bridge.fsync.set(latency.as_secs_f64());
    }

    /// Notes the number of errors that a consistency check found.
    pub fn consistency_checked(&self, errors: usize, now: Millis) {
        let errors = i64::try_from(errors).unwrap_or(i64::MAX);
        self.bridge.consistency_errors.set(errors);
        let since_epoch = now.since(Millis(0));
        self.bridge
            .consistency_checked
            .set(since_epoch.as_secs_f64());
    }

    pub fn recording_asked(&self, account: &str, outcome: &'static str) {
        let labels = RecordingLabels {
            account: account.to_owned(),
            outcome,
        };
        self.bridge.recordings.get_or_create(&labels).inc();
    }

    /// Sets the number of callbacks that wait in the spool.
    pub fn spooled(&self, callbacks: u64) {
        self.bridge
            .spooled
            .set(i64::try_from(callbacks).unwrap_or(i64::MAX));
    }

    /// The text that Prometheus reads, with the current counts of the store; `None` while the store is
    /// unavailable.
    #[must_use]
    pub fn exposition(&self, counts: Option<&Counts>, now: Millis) -> String {
        self.bridge.store_up.set(i64::from(counts.is_some()));
        if let Some(counts) = counts {
            self.count(counts, now);
        } else {
            self.bridge.calls.clear();
            // Unknown, not zero: zero would read as no backlog.
            self.bridge.oldest_pending_age.set(f64::NAN);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn count(&self, counts: &Counts, now: Millis) {
        for state in State::ALL {
            let calls = i64::try_from(counts.in_state(state)).unwrap_or(i64::MAX);
            self.bridge
                .calls
                .get_or_create(&StateLabels {
                    state: state.as_str(),
                })
                .set(calls);
        }
        let age = counts
            .oldest_due
            .map_or(Duration::ZERO, |due| now.since(due));
        self.bridge.oldest_pending_age.set(age.as_secs_f64());
    }
}
