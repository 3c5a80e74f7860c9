//! Creates every series with a closed set of labels with the value 0: Prometheus cannot see an increase
//! from no series to 1.

use std::collections::BTreeSet;

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
pub const IMPORTED_EVIDENCE: [&str; 2] = ["listed", "alerted"];

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

/// Whether refused requests are kept with this cause.
pub fn is_refusal_cause(cause: &str) -> bool {
    refusal_causes().contains(cause)
}

/// As `is_refusal_cause`; a sentence with all causes if not.
pub fn check_refusal_cause(cause: &str) -> Result<(), String> {
    if is_refusal_cause(cause) {
        return Ok(());
    }
    let known: Vec<&str> = refusal_causes().into_iter().collect();
    Err(format!("cause must be one of {}", known.join(", ")))
}

impl Metrics {
    /// Creates the series of these accounts, and those of no account. Existing ones keep their values.
    pub fn start_at_zero<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) {
        for reason in SIGNATURE_REASONS {
            self.signature_failed(reason);
        }
        for reason in CONNECTION_REASONS {
            self.connection_refused(reason);
        }
        for reason in ADMIN_REASONS {
            self.admin_refused(reason);
        }
        for event in ClockEvent::ALL {
            self.clock_event(event.as_str());
        }
        for kind in NOTIFY_KINDS {
            self.notified(kind);
            self.notify_failed(kind);
            self.notify_gave_up(kind);
        }
        self.count_operations(&[]);
        for state in [State::Delivered, State::Skipped, State::Parked] {
            self.expired(state.as_str());
        }
        self.start_account(UNKNOWN_ACCOUNT, &UNSIGNED_VERDICTS);
        for account in accounts {
            self.start_account(account, &SIGNED_VERDICTS);
            let faults = DeliveryFault::ALL.map(DeliveryFault::as_str);
            for outcome in faults.into_iter().chain(OTHER_OUTCOMES) {
                self.attempts(account, outcome);
            }
            self.late_recordings(account);
            for class in FINISHED_CLASSES {
                self.finished(account, class.as_str());
            }
            self.last_callback(account);
        }
    }

    fn start_account(&self, account: &str, verdicts: &[&'static str]) {
        for verdict in verdicts {
            self.received(account, verdict);
        }
        for outcome in RECORDING_OUTCOMES {
            self.recording_asked(account, outcome);
        }
    }

    /// Creates the series of an account that is compared with Twilio's records.
    pub fn reconcile_account(&self, account: &str, causes: &[&'static str]) {
        self.reconcile_last_success(account);
        self.reconcile_compared(account);
        self.reconcile_held(account);
        for cause in causes {
            self.reconcile_missing(account, cause);
        }
        for evidence in IMPORTED_EVIDENCE {
            self.reconcile_taken_in(account, evidence);
        }
        for outcome in TWILIO_API_OUTCOMES {
            self.reconcile_request(account, outcome);
        }
    }
}
