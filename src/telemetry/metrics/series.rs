//! Creates every series with a closed set of labels with the value 0: Prometheus cannot see an increase
//! from no series to 1.

use super::labels::{AccountLabels, AttemptLabels, CallbackLabels, ReasonLabels, RecordingLabels};
use super::{Metrics, UNKNOWN_ACCOUNT};
use crate::acquire::DeliveryFault;

/// Verdicts of a request with a valid signature: recorded, or refused for its content.
pub const SIGNED_VERDICTS: [&str; 11] = [
    "new",
    "weaker",
    "repeated",
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
pub const UNSIGNED_VERDICTS: [&str; 14] = [
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
    "unavailable",
];

/// Causes of an invalid signature.
const SIGNATURE_REASONS: [&str; 34] = [
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

/// Why a connection is closed before its first request.
const CONNECTION_REASONS: [&str; 7] = [
    "untrusted",
    "missing-header",
    "broken-header",
    "late-header",
    "full",
    "client-limit",
    "tls-handshake",
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

impl Metrics {
    /// Creates the series of these accounts, and those of no account. Existing ones keep their values.
    pub fn start_at_zero<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) {
        for reason in SIGNATURE_REASONS {
            drop(
                self.bridge
                    .signature_failures
                    .get_or_create(&ReasonLabels { reason }),
            );
        }
        for reason in CONNECTION_REASONS {
            drop(
                self.bridge
                    .connections_refused
                    .get_or_create(&ReasonLabels { reason }),
            );
        }
        for reason in ADMIN_REASONS {
            drop(
                self.bridge
                    .admin_refused
                    .get_or_create(&ReasonLabels { reason }),
            );
        }
        self.start_account(UNKNOWN_ACCOUNT, &UNSIGNED_VERDICTS);
        for account in accounts {
            self.start_account(account, &SIGNED_VERDICTS);
            let outcomes = DeliveryFault::ALL.map(DeliveryFault::as_str);
            for outcome in outcomes.into_iter().chain(OTHER_OUTCOMES) {
                let account = account.to_owned();
                drop(
                    self.bridge
                        .attempts
                        .get_or_create(&AttemptLabels { account, outcome }),
                );
            }
            let account = account.to_owned();
            drop(
                self.bridge
                    .late_recordings
                    .get_or_create(&AccountLabels { account }),
            );
        }
    }

    fn start_account(&self, account: &str, verdicts: &[&'static str]) {
        for verdict in verdicts {
            let account = account.to_owned();
            drop(
                self.bridge
                    .received
                    .get_or_create(&CallbackLabels { account, verdict }),
            );
        }
        for outcome in RECORDING_OUTCOMES {
            let account = account.to_owned();
            drop(
                self.bridge
                    .recordings
                    .get_or_create(&RecordingLabels { account, outcome }),
            );
        }
    }
}
