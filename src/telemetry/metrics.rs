//! The counters and gauges of `/metrics`, under the names that the README promises.

mod labels;
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
use crate::clock::Millis;
use crate::domain::outage::Outages;
use crate::store::{Counts, Recorded, State};

/// The label of requests whose account is not configured: never what a request claims.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// Whether a breaker lets calls through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    Closed,
    Open,
}

/// How often one signing key was used.
#[derive(Clone, Debug)]
pub struct Uses(Counter);

impl Uses {
    pub fn one_more(&self) {
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
    sync: Gauge<f64, std::sync::atomic::AtomicU64>,
    breakers: Family<AccountLabels, Gauge>,
    refused_not_kept: Counter,
    connections_refused: Family<ReasonLabels, Counter>,
    store_up: Gauge,
    spooled: Gauge,
    conservation_faults: Gauge,
    conservation_checked: Gauge<f64, std::sync::atomic::AtomicU64>,
    recordings: Family<RecordingLabels, Counter>,
    /// Told with the story of a call.
    pub outages: Outages,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a fast local commit to Twilio's limit of 15 s.
        let seconds = || {
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                10.0, 15.0,
            ])
        };
        // A call may wait for Acquire for days.
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
            sync: Gauge::default(),
            breakers: Family::default(),
            refused_not_kept: Counter::default(),
            connections_refused: Family::default(),
            store_up: Gauge::default(),
            spooled: Gauge::default(),
            conservation_faults: Gauge::default(),
            conservation_checked: Gauge::default(),
            recordings: Family::default(),
            outages: Outages::default(),
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
            "Requests to Twilio's side by what became of them",
            self.received.clone(),
        );
        registry.register_with_unit(
            "ack_duration",
            "From the request's head to its answer, for recorded callbacks",
            Unit::Seconds,
            self.ack.clone(),
        );
        registry.register(
            "signature_failures",
            "Requests refused because their signature did not hold",
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
            "How long the oldest due call has been due; a requeued one counts as due for two minutes",
            Unit::Seconds,
            self.oldest_pending_age.clone(),
        );
        registry.register(
            "delivery_attempts",
            "Requests to Acquire by what they led to, and legs for which none could be made",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "delivery_duration",
            "How long a request to Acquire took",
            Unit::Seconds,
            self.delivery.clone(),
        );
        registry.register_with_unit(
            "delivery_lag",
            "From the callback's arrival to Acquire's acceptance",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register(
            "breaker_open",
            "1 while Acquire takes no calls of the account and is only probed",
            self.breakers.clone(),
        );
        registry.register(
            "refused_not_kept",
            "Refused requests of which no evidence is kept, since there were too many",
            self.refused_not_kept.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections closed for want of a PROXY protocol header from a trusted proxy",
            self.connections_refused.clone(),
        );
        registry.register(
            "late_recordings",
            "Recordings that came after the end of their call was sent",
            self.late_recordings.clone(),
        );
        registry.register(
            "recordings_requested",
            "Requests for recordings by what became of them",
            self.recordings.clone(),
        );
        registry.register(
            "build",
            "The program that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.register_store();
    }

    fn register_store(&mut self) {
        let registry = &mut self.registry;
        registry.register_with_unit(
            "sync_duration",
            "What a sync of the store's disk cost when the bridge started",
            Unit::Seconds,
            self.sync.clone(),
        );
        registry.register(
            "store_up",
            "0 while the store cannot be asked, so that no call is delivered",
            self.store_up.clone(),
        );
        registry.register(
            "spooled_callbacks",
            "Callbacks that wait in the spool until the database is back",
            self.spooled.clone(),
        );
        registry.register(
            "conservation_faults",
            "Ways in which the store did not agree with itself when it was last counted again",
            self.conservation_faults.clone(),
        );
        registry.register_with_unit(
            "conservation_checked_timestamp",
            "When the store was last counted again; 0 before the first time",
            Unit::Seconds,
            self.conservation_checked.clone(),
        );
    }

    /// `verdict` is what became of a request at the door: `new`, `repeated`, or why it was refused.
    pub fn received(&self, account: &str, verdict: &'static str) {
        let labels = CallbackLabels {
            account: account.to_owned(),
            verdict,
        };
        self.received.get_or_create(&labels).inc();
    }

    /// A callback that was answered 2xx, `took` after the head of its request.
    pub fn recorded(&self, account: &str, recorded: Recorded, took: Duration) {
        self.received(account, recorded.as_str());
        self.ack.observe(took.as_secs_f64());
    }

    pub fn signature_failed(&self, reason: &'static str) {
        self.signature_failures
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    /// Forgets all signing keys: after a change another may stand in the place of one.
    pub fn forget_signing_keys(&self) {
        self.signing_keys.clear();
    }

    /// The key at a position among those of an account, not yet used.
    #[must_use]
    pub fn signing_key(&self, account: &str, position: String) -> Uses {
        let labels = KeyLabels {
            account: account.to_owned(),
            key: position,
        };
        Uses(self.signing_keys.get_or_create(&labels).clone())
    }

    pub fn refused_not_kept(&self, count: usize) {
        self.refused_not_kept.inc_by(count as u64);
    }

    pub fn connection_refused(&self, reason: &'static str) {
        self.connections_refused
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

    /// Counts what a call was parked for because no request can be made of it.
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

    /// Counts some more and returns how many there were before.
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

    pub fn sync_costs(&self, sync: Duration) {
        self.sync.set(sync.as_secs_f64());
    }

    /// The store was counted again and told of so many faults.
    pub fn conservation_checked(&self, faults: usize, now: Millis) {
        let faults = i64::try_from(faults).unwrap_or(i64::MAX);
        self.conservation_faults.set(faults);
        let since_epoch = now.since(Millis(0));
        self.conservation_checked.set(since_epoch.as_secs_f64());
    }

    pub fn recording_asked(&self, account: &str, outcome: &'static str) {
        let labels = RecordingLabels {
            account: account.to_owned(),
            outcome,
        };
        self.recordings.get_or_create(&labels).inc();
    }

    /// Callbacks that wait in a spool.
    pub fn spooled(&self, callbacks: u64) {
        self.spooled
            .set(i64::try_from(callbacks).unwrap_or(i64::MAX));
    }

    /// The text that Prometheus reads, with the store's counts as they are now; without them while
    /// the store cannot be asked.
    #[must_use]
    pub fn exposition(&self, counts: Option<&Counts>, now: Millis) -> String {
        self.store_up.set(i64::from(counts.is_some()));
        if let Some(counts) = counts {
            self.count(counts, now);
        } else {
            self.calls.clear();
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
