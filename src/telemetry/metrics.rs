//! The metrics of `/metrics`. Their names are part of the contract.
//!
//! They count; no decision reads them.

mod format;
mod process;
mod series;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use self::process::ProcessMetrics;
use crate::clock::Millis;
use crate::domain::operation::{OperationKind, OperationState};
use crate::store::{Counts, Operation, Recorded, State, StoreFiles};
use crate::twilio::Evidence;

pub use prometheus_client::metrics::counter::Counter;

pub use self::format::MetricsFormat;
pub use self::series::{ADMIN_REASONS, IMPORTED_EVIDENCE, SIGNATURE_REASONS, check_refusal_cause};

/// The account label of requests for an account that is not configured. The account that a request
/// claims is never a label: anybody could create as many time series as they like.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// The effect of a wrong clock.
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

    pub fn as_str(self) -> &'static str {
        match self {
            Self::JumpForward => "jump-forward",
            Self::JumpBack => "jump-back",
            Self::TimeCorrected => "time-corrected",
            Self::PurgeHeld => "purge-held",
            Self::RemovalDeferred => "removal-deferred",
        }
    }
}

pub type Seconds = Gauge<f64, AtomicU64>;
pub type Number = Gauge<u64, AtomicU64>;

/// The names and values of the labels of one series.
type Labels = Vec<(&'static str, String)>;

/// Declares all metrics, each with its labels, its kind, its name, its unit if it has one, and its help
/// text. A metric has a method of its name, which returns the series with these labels.
macro_rules! metric_table {
    ($(
        $field:ident $(($($label:ident),+))?: $kind:ty $(= $new:expr)?,
        $name:literal $(in $unit:ident)?, $help:literal;
    )*) => {
        /// All metrics of one bridge.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($field: metric_table!(@type $kind $(, $($label)+)?),)*
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut all = Registry::default();
                all.sub_registry_with_prefix("process").register_collector(Box::new(ProcessMetrics));
                let registry = all.sub_registry_with_prefix("bridge");
                let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
                registry.register("build", "The version of the program", version);
                $(
                    let $field: metric_table!(@type $kind $(, $($label)+)?) =
                        metric_table!(@new $($new)?);
                    let unit = None$(.or(Some(Unit::$unit)))?;
                    register(registry, $name, unit, $help, &$field);
                )*
                Self { registry: all, $($field,)* }
            }
        }

        impl Metrics {
            $(metric_table!(@series $field $kind, $help $(, $($label)+)?);)*
        }
    };
    (@type $kind:ty) => { $kind };
    (@type $kind:ty, $($label:ident)+) => { Family<Labels, $kind> };
    (@new) => { Default::default() };
    (@new $new:expr) => { $new };
    (@series $field:ident $kind:ty, $help:literal) => {
        #[doc = concat!("`", $help, "`")]
        pub fn $field(&self) -> &$kind {
            &self.$field
        }
    };
    (@series $field:ident $kind:ty, $help:literal, $($label:ident)+) => {
        #[doc = concat!("`", $help, "`")]
        pub fn $field(&self, $($label: &str),+) -> $kind {
            let labels = vec![$((stringify!($label), $label.to_owned())),+];
            self.$field.get_or_create_owned(&labels)
        }
    };
}

metric_table! {
    received(account, verdict): Counter, "callbacks_received",
        "Requests to the public listener by their verdict";
    ack: Histogram = histogram_to_15_s(), "ack_duration" in Seconds,
        "Time from the head of a request to its answer, for recorded callbacks";
    signature_failed(reason): Counter, "signature_failures",
        "Requests refused because their signature is invalid";
    signing_key(account, key): Counter, "signing_key_used",
        "Requests by the position of the key that signed them, since the configuration was read";
    calls(state): Number, "calls",
        "Calls in each state; the same on every node of a database: use max, not sum";
    oldest_pending_age: Seconds, "oldest_pending_age" in Seconds,
        "Time since the oldest due call fell due; a requeued call starts at two minutes; the same on every node";
    attempts(account, outcome): Counter, "delivery_attempts",
        "Requests to Acquire by outcome, and legs for which no request could be made";
    delivery: Histogram = histogram_to_15_s(), "delivery_duration" in Seconds,
        "Duration of a request to Acquire";
    lag: Histogram = histogram_to_days(), "delivery_lag" in Seconds,
        "Time from the arrival of a callback to its acceptance by Acquire";
    breaker_open(account): Number, "breaker_open",
        "1 while deliveries to the account are paused and Acquire is only probed";
    refused_not_kept: Counter, "refused_not_kept",
        "Refused requests that are not kept for diagnosis because there were too many";
    connection_refused(reason): Counter, "connections_refused",
        "Connections closed without an answer, such as without a PROXY protocol header";
    connections(state): Number, "connections",
        "Open connections of the public listener in each state";
    operations(kind, state): Number, "operations",
        "Bulk operations of each kind in each state";
    admin_refused(reason): Counter, "admin_refused",
        "Requests to the admin listener refused because of their token, host or origin";
    late_recordings(account): Counter, "late_recordings",
        "Recordings that came after the end of their call was sent";
    recording_asked(account, outcome): Counter, "recordings_requested",
        "Requests for recordings by outcome";
    fsync_latency: Seconds, "sync_duration" in Seconds,
        "fsync latency on the disk of the store when the bridge started";
    store_up: Number, "store_up",
        "0 while the store is unavailable, so that no call is delivered";
    spooled: Number, "spooled_callbacks",
        "Callbacks that wait in the spool until the database is back";
    clock_event(kind): Counter, "clock_events",
        "Jumps of the clock of this machine, calls with times that were corrected, held removals";
    finished(account, class): Counter, "calls_finished",
        "Calls that reached a class, by what became of them";
    parked_next_expiry: Seconds, "parked_next_expiry_timestamp" in Seconds,
        "When the first parked call is removed undelivered; 0 without one";
    expired(state): Counter, "calls_expired",
        "Calls removed after their retention by the state that they were in";
    log_bytes: Number, "store_wal" in Bytes,
        "Size of the write-ahead log of the SQLite file or the spool";
    free_bytes: Number, "store_free" in Bytes,
        "Free space on the disk of the SQLite file or the spool";
    consistency_errors: Number, "consistency_errors",
        "Errors that the last consistency check of the store found";
    consistency_checked: Seconds, "consistency_checked_timestamp" in Seconds,
        "Time of the last consistency check of the store; 0 before the first one";
    ready: Number, "ready",
        "1 if this node can record callbacks and is not stopping, as at /readyz";
    last_callback(account): Seconds, "last_callback_timestamp" in Seconds,
        "Time of the last callback that this node recorded; 0 before the first one since its start";
    reload_successful: Number = one(), "config_last_reload_successful",
        "0 if the configuration could not be reloaded and stays as it was";
    reload_succeeded: Seconds, "config_last_reload_success_timestamp" in Seconds,
        "Time of the start, or of the last successful reload of the configuration";
    backup_succeeded: Seconds = unknown(), "backup_last_success_timestamp" in Seconds,
        "Time of the last backup of the SQLite file; NaN before the first one, and on PostgreSQL";
    certificate_expiry: Seconds = unknown(), "certificate_expiry_timestamp" in Seconds,
        "Expiry of the certificate of the public listener; NaN without one";
    reconcile_last_success(account): Seconds, "reconcile_last_success_timestamp" in Seconds,
        "End of the last whole comparison with Twilio's records; 0 before the first one";
    reconcile_compared(account): Counter, "reconcile_compared",
        "Rows of Twilio's lists that were compared with the store";
    reconcile_missing(account, cause): Counter, "reconcile_missing",
        "Records that the store lacked, by cause";
    reconcile_taken_in(account, evidence): Counter, "reconcile_taken_in",
        "Records that were imported from Twilio, by evidence";
    reconcile_request(account, outcome): Counter, "reconcile_requests",
        "Requests to Twilio's API for its records, by outcome";
    reconcile_held(account): Number, "reconcile_held",
        "Missing calls that wait for an operator, because a bridge had answered 204";
    canary_last_success: Seconds, "canary_last_success_timestamp" in Seconds,
        "The last canary that came back; 0 before the first one";
    canary_failed(reason): Counter, "canary_failures",
        "Canaries that did not come back, by reason";
    notified(kind): Counter, "notify_sent",
        "Messages that a receiver of [[notify]] accepted, and heartbeats, by kind";
    notify_failed(kind): Counter, "notify_failures",
        "Requests to receivers of [[notify]] and to heartbeat.url that failed, by kind";
    notify_gave_up(kind): Counter, "notify_given_up",
        "Messages given up: not accepted within a day, rejected 15 times, or too many, by kind";
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

fn one() -> Number {
    let gauge = Number::default();
    gauge.set(1);
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

/// A time as metrics have it, in seconds.
pub fn timestamp(time: Millis) -> f64 {
    time.since(Millis(0)).as_secs_f64()
}

impl Metrics {
    /// A callback that was answered 2xx at `now`, `took` after the head of its request.
    pub fn recorded(
        &self,
        account: &str,
        recorded: Recorded,
        evidence: Evidence,
        took: Duration,
        now: Millis,
    ) {
        let verdict = match (recorded, evidence) {
            (Recorded::New, Evidence::Weaker) => "weaker",
            _ => recorded.as_str(),
        };
        self.received(account, verdict).inc();
        self.ack.observe(took.as_secs_f64());
        self.last_callback(account).set(timestamp(now));
    }

    /// Requests that were refused for a cause since the start, whether or not they are kept.
    pub fn refusals<'a>(&self, cause: &str, accounts: impl Iterator<Item = &'a str>) -> u64 {
        if !series::is_refusal_cause(cause) {
            return 0;
        }
        if SIGNATURE_REASONS.contains(&cause) {
            return self.signature_failed(cause).get();
        }
        let of_account = |account| self.received(account, cause).get();
        accounts.chain([UNKNOWN_ACCOUNT]).map(of_account).sum()
    }

    /// Removes all signing keys: after a reload another key may have the same position.
    pub fn forget_signing_keys(&self) {
        self.signing_key.clear();
    }

    /// Sets the numbers of bulk operations.
    pub fn count_operations(&self, operations: &[Operation]) {
        for kind in OperationKind::ALL {
            for state in OperationState::ALL {
                let is_one = |of: &&Operation| (of.kind, of.state) == (kind, state);
                let count = operations.iter().filter(is_one).count();
                let series = self.operations(kind.as_str(), state.as_str());
                series.set(count as u64);
            }
        }
    }

    /// The time until the certificate of the public listener expires, if it has one.
    pub fn certificate_left(&self, now: Millis) -> Option<Duration> {
        let at = self.certificate_expiry.get();
        let left = Duration::try_from_secs_f64((at - timestamp(now)).max(0.0));
        left.ok().filter(|_| !at.is_nan())
    }

    /// When the last callback of an account was recorded, since the bridge started.
    pub fn last_callback_at(&self, account: &str) -> Option<Millis> {
        let at = Duration::try_from_secs_f64(self.last_callback(account).get());
        let at = at.ok().filter(|at| !at.is_zero());
        at.map(|at| Millis(0).plus(at))
    }

    pub fn store_files(&self, files: StoreFiles) {
        self.log_bytes.set(files.log_bytes);
        self.free_bytes.set(files.free_bytes);
        let backed_up = files.backed_up_at.map_or(f64::NAN, timestamp);
        self.backup_succeeded.set(backed_up);
    }

    /// The configuration was read at the start, or reloaded.
    pub fn reloaded(&self, now: Millis) {
        self.reload_successful.set(1);
        self.reload_succeeded.set(timestamp(now));
    }

    /// Notes the number of errors that a consistency check found.
    pub fn checked_consistency(&self, errors: usize, now: Millis) {
        self.consistency_errors.set(errors as u64);
        self.consistency_checked.set(timestamp(now));
    }

    /// A pass over an account ended at `now`, with this number of held calls.
    pub fn reconciled(&self, account: &str, held: u64, now: Millis) {
        self.reconcile_last_success(account).set(timestamp(now));
        self.reconcile_held(account).set(held);
    }

    /// The text that Prometheus reads in this format, with the current counts of the store; `None` while the store is
    /// unavailable.
    pub fn exposition(
        &self,
        counts: Option<&Counts>,
        now: Millis,
        format: MetricsFormat,
    ) -> String {
        self.store_up.set(u64::from(counts.is_some()));
        if let Some(counts) = counts {
            for state in State::ALL {
                self.calls(state.as_str()).set(counts.in_state(state));
            }
            let due = counts.oldest_due;
            let age = due.map_or(Duration::ZERO, |due| now.since(due));
            self.oldest_pending_age.set(age.as_secs_f64());
        } else {
            self.calls.clear();
            // Unknown, not zero: zero would read as no backlog.
            self.oldest_pending_age.set(f64::NAN);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        format.of(text)
    }
}
