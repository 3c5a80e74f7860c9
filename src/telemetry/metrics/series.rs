//! Creates every series with a closed set of labels with the value 0: Prometheus cannot see an increase
//! from no series to 1.

use std::collections::BTreeSet;
use std::hash::Hash;

use prometheus_client::metrics::family::Family;

use super::labels::{
    AccountLabels, CallbackLabels, CauseLabels, ClassLabels, EvidenceLabels, KindLabels,
    OutcomeLabels, ReasonLabels,
};
use super::{ClockEvent, Metrics, UNKNOWN_ACCOUNT};
use crate::acquire::DeliveryFault;
use crate::domain::class::Class;
use crate::store::State;

/// Verdicts of a request with a valid signature: recorded, or refused for its content.
const SIGNED_VERDICTS: [&str; 12] = [
    "new",
    "weaker",
    "repeated",
    "erased",
    "missing-field",
    "repeated-field",
    "bad-format",
    "not-utf8",
    "field-name",
    "unexpected-query",
    "lookalike",
    "unavailable",
];

/// Verdicts of a request without a valid signature, which belongs to no account.
const UNSIGNED_VERDICTS: [&str; 13] = [
    "not-a-form",
    "too-large",
    "too-slow",
    "unreadable",
    "unknown-account",
    "no-signature",
    "no-match",
    "unknown-algorithm",
    "malformed-settings",
    "unknown-shared-key",
    "not-found",
    "wrong-method",
    "health-check",
];

/// Causes of an invalid signature.
pub const SIGNATURE_REASONS: [&str; 34] = [
    "scheme",
    "port",
    "host",
    "prefix",
    "trailing-slash",
    "path",
    "url-leftover",
    "query-lost",
    "query-added",
    "query-order",
    "query-encoding",
    "other-account",
    "spare-token",
    "token-text",
    "sha-256",
    "sha-1",
    "fields-trimmed",
    "fields-lost",
    "fields-added",
    "fields-encoding",
    "charset",
    "line-end",
    "json-as-form",
    "form-as-json",
    "body-changed",
    "body-lost",
    "signature-text",
    "no-signature",
    "no-match",
    "unknown-account",
    "unknown-algorithm",
    "malformed-settings",
    "unknown-shared-key",
    "undiagnosed",
];

/// Why a connection is closed before a handler gets its request.
const CONNECTION_REASONS: [&str; 10] = [
    "untrusted",
    "missing-header",
    "broken-header",
    "late-header",
    "full",
    "client-limit",
    "tls-handshake",
    "malformed-http",
    "late-request",
    "large-head",
];

/// Why a request to the admin listener is refused before its route.
pub const ADMIN_REASONS: [&str; 4] = ["no-token", "wrong-token", "foreign-host", "foreign-origin"];

/// Outcomes of a request for a recording.
const RECORDING_OUTCOMES: [&str; 9] = [
    "played",
    "not-found",
    "forged",
    "expired",
    "unknown-account",
    "busy",
    "wrong-method",
    "no-such-range",
    "upstream",
];

/// Outcomes of an attempt besides the faults.
const OTHER_OUTCOMES: [&str; 4] = ["accepted", "accepted-as-repeat", "refused", "unmappable"];

/// Outcomes of a request to Twilio's API for its records.
const TWILIO_API_OUTCOMES: [&str; 7] = [
    "ok",
    "key-refused",
    "too-often",
    "failed",
    "not-found",
    "refused",
    "network",
];

/// Classes of a call that is settled.
const FINISHED_CLASSES: [Class; 4] = [Class::InTime, Class::Late, Class::Skipped, Class::Parked];

/// Evidence of an imported record.
const IMPORTED_EVIDENCE: [&str; 2] = ["listed", "alerted"];

/// Receivers of notifications by kind, and the heartbeat.
const NOTIFY_KINDS: [&str; 3] = ["json", "slack", "heartbeat"];

/// Verdicts of requests that are not kept as refused.
const NOT_KEPT: [&str; 5] = ["new", "weaker", "repeated", "erased", "health-check"];

/// The causes with which refused requests are kept.
fn refusal_causes() -> BTreeSet<&'static str> {
    let all = SIGNATURE_REASONS.iter().chain(&UNSIGNED_VERDICTS);
    let all = all.chain(&SIGNED_VERDICTS);
    all.copied().filter(|one| !NOT_KEPT.contains(one)).collect()
}

/// The cause of refused requests with this name.
pub fn refusal_cause(cause: &str) -> Option<&'static str> {
    refusal_causes().get(cause).copied()
}

/// Whether refused requests are kept with this cause; a sentence with all causes if not.
pub fn check_refusal_cause(cause: &str) -> Result<(), String> {
    if refusal_cause(cause).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = refusal_causes().into_iter().collect();
    Err(format!("cause must be one of {}", known.join(", ")))
}

/// Creates the series of these labels with the value 0; an existing one keeps its value.
fn start<L, M>(family: &Family<L, M>, labels: impl IntoIterator<Item = L>)
where
    L: Clone + Eq + Hash,
    M: Default,
{
    for labels in labels {
        drop(family.get_or_create(&labels));
    }
}

impl Metrics {
    /// Creates the series of these accounts, and those of no account. Existing ones keep their values.
    pub fn start_at_zero<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) {
        start(
            &self.signature_failures,
            SIGNATURE_REASONS.map(ReasonLabels::of),
        );
        start(
            &self.connections_refused,
            CONNECTION_REASONS.map(ReasonLabels::of),
        );
        start(&self.admin_refused, ADMIN_REASONS.map(ReasonLabels::of));
        for event in ClockEvent::ALL {
            self.clock_event(event, 0);
        }
        for family in [&self.notified, &self.notify_failures, &self.notify_given_up] {
            start(family, NOTIFY_KINDS.map(KindLabels::of));
        }
        self.operations(&[]);
        for state in [State::Delivered, State::Skipped, State::Parked] {
            self.expired(state, 0);
        }
        self.start_account(UNKNOWN_ACCOUNT, &UNSIGNED_VERDICTS);
        for account in accounts {
            self.start_account(account, &SIGNED_VERDICTS);
            let faults = DeliveryFault::ALL.map(DeliveryFault::as_str);
            let outcomes = faults.into_iter().chain(OTHER_OUTCOMES);
            start(
                &self.attempts,
                outcomes.map(|outcome| OutcomeLabels::of(account, outcome)),
            );
            start(&self.late_recordings, [AccountLabels::of(account)]);
            let classes = FINISHED_CLASSES.iter();
            start(
                &self.finished,
                classes.map(|class| ClassLabels::of(account, class.as_str())),
            );
            start(&self.last_callback, [AccountLabels::of(account)]);
        }
    }

    fn start_account(&self, account: &str, verdicts: &[&'static str]) {
        let verdicts = verdicts.iter();
        start(
            &self.received,
            verdicts.map(|verdict| CallbackLabels::of(account, *verdict)),
        );
        start(
            &self.recordings,
            RECORDING_OUTCOMES.map(|outcome| OutcomeLabels::of(account, outcome)),
        );
    }

    /// Creates the series of an account that is compared with Twilio's records.
    pub fn reconcile_account(&self, account: &str, causes: &[&'static str]) {
        start(&self.reconcile_last_success, [AccountLabels::of(account)]);
        start(&self.reconcile_compared, [AccountLabels::of(account)]);
        start(&self.reconcile_held, [AccountLabels::of(account)]);
        let causes = causes.iter();
        start(
            &self.reconcile_missing,
            causes.map(|cause| CauseLabels::of(account, *cause)),
        );
        start(
            &self.reconcile_taken_in,
            IMPORTED_EVIDENCE.map(|evidence| EvidenceLabels::of(account, evidence)),
        );
        start(
            &self.reconcile_requests,
            TWILIO_API_OUTCOMES.map(|outcome| OutcomeLabels::of(account, outcome)),
        );
    }
}
