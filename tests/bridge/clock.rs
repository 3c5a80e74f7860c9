//! The wall clock of the machine jumps, while the bridge runs and between its starts.

use std::time::Duration;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};
use twilio_acquire_bridge::store::{ReadStore as _, SqliteReader};

use crate::support::harness::{Bridge, until};
use crate::support::twilio::sid;

const MINUTE: i64 = 60_000;
const YEARS: i64 = 3_650 * 24 * 60 * MINUTE;

/// A minute, an hour, 40 days and ten years.
const JUMPS: [i64; 4] = [MINUTE, 60 * MINUTE, 40 * 24 * 60 * MINUTE, YEARS];

fn event(kind: &str) -> String {
    format!("bridge_clock_events_total{{kind=\"{kind}\"}}")
}

fn jumps(bridge: &Bridge, by: i64) {
    bridge.clock.jump_to(Millis(bridge.clock.now().0 + by));
}

#[test]
fn a_call_that_failed_while_the_clock_was_wrong_is_sent_soon_after_it_is_right() {
    for jump in [40 * 24 * 60 * MINUTE, YEARS] {
        let bridge = Bridge::start();
        bridge.acquire.behaves(Faults {
            default_reply: Reply::Status(503),
            ..Faults::default()
        });
        until("the clock is watched", || known(&bridge) != Millis(0));
        jumps(&bridge, jump);
        until("the jump is noticed", || {
            bridge.metric(&event("jump-forward")) == Some(1.0)
        });
        bridge.twilio.ends(&sid(1), "completed");
        until("it has failed", || !bridge.sent().is_empty());
        bridge.settles();
        bridge.acquire.behaves(Faults::default());
        jumps(&bridge, -jump);
        until("it is delivered", || bridge.state(&sid(1)) == "delivered");
        assert_eq!(bridge.metric(&event("jump-back")), Some(1.0));
        assert_eq!(bridge.metric(&event("time-corrected")), Some(1.0));
        assert_eq!(bridge.sent().len(), 2);
    }
}

#[test]
fn an_outage_that_began_while_the_clock_was_ahead_ends_once_acquire_is_back() {
    for jump in JUMPS {
        let bridge = Bridge::start();
        bridge.acquire.behaves(Faults {
            default_reply: Reply::Status(503),
            ..Faults::default()
        });
        jumps(&bridge, jump);
        for call in 1..=6 {
            bridge.twilio.ends(&sid(call), "completed");
        }
        until("deliveries are paused", || {
            bridge.metric("bridge_breaker_open{account=\"acme\"}") == Some(1.0)
        });
        jumps(&bridge, -jump);
        bridge.acquire.behaves(Faults::default());
        // The calls that failed keep their due times, as far as these are possible ones.
        bridge.twilio.ends(&sid(7), "completed");
        until("it is delivered", || bridge.state(&sid(7)) == "delivered");
        let is_open = bridge.metric("bridge_breaker_open{account=\"acme\"}");
        assert_eq!(is_open, Some(0.0));
    }
}

#[test]
fn a_due_time_years_ahead_is_corrected_at_the_start_and_doctor_names_it_before() {
    let mut bridge = Bridge::start();
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(503),
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(1), "completed");
    until("it has failed", || !bridge.sent().is_empty());
    bridge.settles();
    bridge.stops();
    let database = rusqlite::Connection::open(bridge.folder.path().join("bridge.db"));
    let ahead = "UPDATE call SET effective_at = effective_at + 315360000000; \
        UPDATE attempt SET at = at + 315360000000, again_at = again_at + 315360000000";
    let changed = database.expect("a database").execute_batch(ahead);
    changed.expect("as a wrong clock writes it");
    let doctor = bridge.runs(&["doctor", "--offline"]);
    let printed = doctor.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        printed.contains("due more than") && printed.contains("any wait: 1 call;"),
        "{printed}"
    );
    bridge.acquire.behaves(Faults::default());
    bridge.starts();
    until("it is delivered", || bridge.state(&sid(1)) == "delivered");
}

#[test]
fn no_jump_between_two_starts_removes_a_call_before_its_retention() {
    let mut bridge = Bridge::with(&[("BRIDGE__STORE__RETENTION", "1m")]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    for jump in JUMPS.into_iter().chain(JUMPS.map(|jump| -jump)) {
        bridge.stops();
        let (right, was_known) = (bridge.clock.now(), known(&bridge));
        jumps(&bridge, jump);
        // So that the time of the purge shows that it ran.
        bridge.clock.advance(Duration::from_millis(10));
        bridge.starts();
        until("a purge has begun", || known(&bridge) != was_known);
        // Written after the purge.
        bridge.twilio.ends(&sid(2), "completed");
        bridge.settles();
        assert_eq!(bridge.state(&sid(1)), "delivered", "after a jump by {jump}");
        if jump > 60 * MINUTE {
            assert_eq!(bridge.metric(&event("purge-held")), Some(1.0), "{jump}");
        }
        bridge.stops();
        bridge.clock.jump_to(right);
        bridge.starts();
    }
}

/// The time that the last purge was certain of.
fn known(bridge: &Bridge) -> Millis {
    let reader = SqliteReader::open_read_only(&bridge.folder.path().join("bridge.db"));
    let clock = reader.expect("a store").purge_clock().expect("read");
    clock.map_or(Millis(0), |clock| clock.known)
}

#[test]
fn a_parked_call_that_expires_is_counted_and_shown_as_expired() {
    let mut bridge = Bridge::with(&[("BRIDGE__STORE__PARKED_RETENTION", "1m")]);
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Invalid,
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    assert_eq!(bridge.state(&sid(1)), "parked");
    bridge.stops();
    bridge.clock.advance(Duration::from_secs(120));
    bridge.starts();
    until("it expires", || {
        bridge.metric("bridge_calls_expired_total{state=\"parked\"}") == Some(1.0)
    });
    let shown = bridge.runs(&["show", &sid(1)]);
    assert_eq!(shown.code, Some(1));
    for part in [
        "expired",
        "store.parked_retention",
        "Acquire refused it with",
    ] {
        assert!(shown.err.contains(part), "{part} in {}", shown.err);
    }
    // A delivered call that was removed is not an expired one.
    assert!(!bridge.runs(&["show", &sid(2)]).err.contains("expired"));
}
