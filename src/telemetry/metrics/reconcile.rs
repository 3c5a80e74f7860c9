//! The metrics of `reconcile` and of the canary.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{AccountLabels, CauseLabels, EvidenceLabels, ReasonLabels, RecordingLabels};
use super::{Metrics, Seconds, metric_table};
use crate::clock::Millis;

metric_table! {
    pub(super) struct ReconcileMetrics {
        last_success: Family<AccountLabels, Seconds>, "reconcile_last_success_timestamp" in Seconds,
            "End of the last whole comparison with Twilio's records; 0 before the first one";
        compared: Family<AccountLabels, Counter>, "reconcile_compared",
            "Rows of Twilio's lists that were compared with the store";
        missing: Family<CauseLabels, Counter>, "reconcile_missing",
            "Records that the store lacked, by cause";
        taken_in: Family<EvidenceLabels, Counter>, "reconcile_taken_in",
            "Records that were imported from Twilio, by evidence";
        requests: Family<RecordingLabels, Counter>, "reconcile_requests",
            "Requests to Twilio's API for its records, by outcome";
        held: Family<AccountLabels, Gauge>, "reconcile_held",
            "Missing calls that wait for an operator, because a bridge had answered 204";
        canary_last_success: Seconds, "canary_last_success_timestamp" in Seconds,
            "The last canary that came back; 0 before the first one";
        canary_failures: Family<ReasonLabels, Counter>, "canary_failures",
            "Canaries that did not come back, by reason";
    }
}

fn of(account: &str) -> AccountLabels {
    AccountLabels {
        account: account.to_owned(),
    }
}

impl Metrics {
    /// Makes the series of an account, with the value 0.
    pub fn reconcile_account(&self, account: &str, causes: &[&'static str]) {
        let family = &self.reconcile;
        drop(family.last_success.get_or_create(&of(account)));
        drop(family.compared.get_or_create(&of(account)));
        drop(family.held.get_or_create(&of(account)));
        for cause in causes {
            self.reconcile_missing(account, cause, 0);
        }
        for evidence in ["listed", "alerted"] {
            self.reconcile_taken_in(account, evidence, 0);
        }
    }

    pub fn reconcile_request(&self, account: &str, outcome: &'static str) {
        let labels = RecordingLabels {
            account: account.to_owned(),
            outcome,
        };
        self.reconcile.requests.get_or_create(&labels).inc();
    }

    pub fn reconcile_compared(&self, account: &str, rows: u64) {
        self.reconcile
            .compared
            .get_or_create(&of(account))
            .inc_by(rows);
    }

    pub fn reconcile_missing(&self, account: &str, cause: &'static str, more: u64) {
        let labels = CauseLabels {
            account: account.to_owned(),
            cause,
        };
        self.reconcile.missing.get_or_create(&labels).inc_by(more);
    }

    pub fn reconcile_taken_in(&self, account: &str, evidence: &'static str, more: u64) {
        let labels = EvidenceLabels {
            account: account.to_owned(),
            evidence,
        };
        self.reconcile.taken_in.get_or_create(&labels).inc_by(more);
    }

    /// A pass over an account ended at `now`, with this number of held calls.
    pub fn reconciled(&self, account: &str, held: usize, now: Millis) {
        let family = &self.reconcile;
        let since_epoch = now.since(Millis(0)).as_secs_f64();
        family
            .last_success
            .get_or_create(&of(account))
            .set(since_epoch);
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        family.held.get_or_create(&of(account)).set(held);
    }

    pub fn canary_came_back(&self, now: Millis) {
        let since_epoch = now.since(Millis(0)).as_secs_f64();
        self.reconcile.canary_last_success.set(since_epoch);
    }

    /// Counts a canary that did not come back; `more` is 0 to make the series.
    pub fn canary_failed(&self, reason: &'static str, more: u64) {
        let failures = &self.reconcile.canary_failures;
        failures
            .get_or_create(&ReasonLabels { reason })
            .inc_by(more);
    }
}
