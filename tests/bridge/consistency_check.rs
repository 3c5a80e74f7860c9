//! The store is checked while the bridge runs.

use std::time::Duration;

use crate::support::harness::Bridge;
use crate::support::twilio::sid;

const ERRORS: &str = "bridge_consistency_errors";
const CHECKED: &str = "bridge_consistency_checked_timestamp_seconds";

/// Damages the file from outside and returns the number of errors that the next check finds.
fn errors_after(damage: &str) -> f64 {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.twilio.ends(&sid(2), "completed");
    bridge.settles();
    let database = rusqlite::Connection::open(bridge.folder.path().join("bridge.db"));
    let database = database.expect("a database");
    assert_eq!(bridge.metric(CHECKED), Some(0.0), "not yet");
    database.execute_batch(damage).expect("damaged");
    bridge.waits(Duration::from_secs(60));
    while bridge.metric(CHECKED) == Some(0.0) {
        std::thread::yield_now();
    }
    bridge.metric(ERRORS).expect("a gauge")
}

#[test]
fn a_healthy_store_has_no_errors() {
    assert!(errors_after("SELECT 1") < 1.0);
}

#[test]
fn a_call_that_went_missing_is_counted() {
    assert!(errors_after("DELETE FROM call WHERE id = 1") > 0.0);
    assert!(errors_after("UPDATE counters SET seen = seen + 1") > 0.0);
}

#[test]
fn a_callback_of_no_call_is_counted() {
    assert!(errors_after("UPDATE callback SET id = id + (7 << 20) WHERE id >> 20 = 1") > 0.0);
}

#[test]
fn a_delivered_call_that_acquire_never_accepted_is_counted() {
    assert!(errors_after("DELETE FROM attempt WHERE id >> 20 = 2") > 0.0);
}
