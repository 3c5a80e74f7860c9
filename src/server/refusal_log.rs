//! Decides which refusals are logged: for each reason and client one line, then one line a minute with
//! the number of the others. So strangers cannot fill the log.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::clock::Millis;

/// Pause between two log lines of one reason and client.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Pairs of reason and client that are remembered. All further clients share one line for each reason.
const MAX_PAIRS: usize = 1024;

/// The client of the shared lines.
const OTHERS: &str = "other clients";

/// A client without an address, as after a failed TLS handshake.
pub(super) const UNKNOWN_CLIENT: &str = "unknown";

/// Bytes of a request's path in the log. Twilio's paths are shorter.
pub(super) const MAX_LOGGED_PATH: usize = 256;

/// Counts refusals by reason and client.
#[derive(Debug, Default)]
pub struct RefusalLog {
    windows: Mutex<HashMap<(&'static str, String), Window>>,
}

/// A minute that started with a log line.
#[derive(Debug)]
struct Window {
    since: Millis,
    /// Refusals after the logged one.
    more: u64,
}

impl Window {
    /// A clock that was set back must not silence a reason until it has caught up.
    fn is_over(&self, now: Millis) -> bool {
        now < self.since || now.since(self.since) >= LOG_INTERVAL
    }
}

impl RefusalLog {
    /// Notes a refusal; returns the number of refusals of this reason and client before it in this
    /// minute. Only the first one, 0, is to be logged.
    pub fn note(&self, reason: &'static str, client: Option<&str>, now: Millis) -> u64 {
        let mut windows = self.windows();
        let mut pair = (reason, client.unwrap_or(UNKNOWN_CLIENT).to_owned());
        if windows.len() >= MAX_PAIRS && !windows.contains_key(&pair) {
            OTHERS.clone_into(&mut pair.1);
        }
        let mut before = 0;
        windows
            .entry(pair)
            .and_modify(|window| {
                window.more += 1;
                before = window.more;
            })
            .or_insert(Window {
                since: now,
                more: 0,
            });
        before
    }

    /// Logs how many refusals followed the logged ones, for each minute that is over. To be called at
    /// least once per second.
    pub fn log_repeats(&self, now: Millis) {
        for (reason, client, more) in self.end_minutes(now) {
            warn!(
                reason,
                client,
                count = more,
                "refused {more} more requests or connections of {client} in the last minute"
            );
        }
    }

    fn end_minutes(&self, now: Millis) -> Vec<(&'static str, String, u64)> {
        let mut repeated = Vec::new();
        self.windows().retain(|(reason, client), window| {
            if !window.is_over(now) {
                return true;
            }
            if window.more == 0 {
                return false;
            }
            repeated.push((*reason, client.clone(), window.more));
            *window = Window {
                since: now,
                more: 0,
            };
            true
        });
        repeated
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<(&'static str, String), Window>> {
        // The map is valid even if a thread panicked: at worst one line more is logged.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn one_line_a_minute_is_logged_for_each_reason_and_client_with_the_count_of_the_others() {
        let log = RefusalLog::default();
        let noted = |reason, client, at| log.note(reason, Some(client), Millis(at));
        assert_eq!(noted("no-match", "192.0.2.1", 0), 0);
        assert_eq!(noted("no-match", "192.0.2.1", 1), 1);
        assert_eq!(noted("no-match", "192.0.2.1", 2), 2);
        assert_eq!(noted("no-match", "192.0.2.2", 3), 0, "another client");
        assert_eq!(noted("not-found", "192.0.2.1", 4), 0, "another reason");
        assert_eq!(log.end_minutes(Millis(MINUTE - 1)), []);
        let repeated = [("no-match", "192.0.2.1".to_owned(), 2)];
        assert_eq!(log.end_minutes(Millis(MINUTE + 4)), repeated);
        assert_eq!(
            noted("no-match", "192.0.2.1", MINUTE + 5),
            1,
            "a new minute"
        );
        assert_eq!(noted("no-match", "192.0.2.2", MINUTE + 5), 0, "forgotten");
    }

    #[test]
    fn a_flood_of_clients_shares_a_line_and_the_table_stays_bounded() {
        let log = RefusalLog::default();
        let first = (0..100_000).filter(|client| {
            log.note(
                "no-match",
                Some(&format!("2001:db8::{client:x}")),
                Millis(0),
            ) == 0
        });
        assert_eq!(first.count(), MAX_PAIRS + 1);
        assert!(log.windows().len() <= MAX_PAIRS + 1);
        let repeated = log.end_minutes(Millis(MINUTE));
        let others = 100_000 - MAX_PAIRS as u64 - 1;
        assert_eq!(repeated, [("no-match", OTHERS.to_owned(), others)]);
        assert_eq!(log.windows().len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nothing() {
        let log = RefusalLog::default();
        let now = Millis(40 * 24 * 60 * MINUTE);
        log.note("no-match", None, now);
        log.note("no-match", None, now);
        let repeated = [("no-match", UNKNOWN_CLIENT.to_owned(), 1)];
        assert_eq!(log.end_minutes(Millis(0)), repeated);
    }
}
