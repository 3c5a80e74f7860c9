//! Calls that fail because of their own data delay no other call and are parked; outages park nothing.

use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::support::failing::{delay_no_healthy_call, ends_failing, fails_some, rests};
use crate::support::harness::{Bridge, until};
use crate::support::twilio::sid;

#[test]
fn calls_that_fail_by_their_own_data_delay_no_healthy_call_and_are_parked() {
    for failing in [1, 10, 30] {
        for status in [500, 404, 503] {
            delay_no_healthy_call(failing, status, &[]);
        }
    }
}

#[test]
fn a_thousand_failing_calls_delay_no_healthy_call_and_are_parked() {
    delay_no_healthy_call(1_000, 500, &[]);
}

/// What a call that fails alone becomes: its state after the probes of a day.
fn alone(reply: &Reply) -> String {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__SCHEDULE", "1s 2s")]);
    bridge.acquire.behaves(Faults {
        default_reply: reply.clone(),
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(1), "completed");
    until("it is sent", || bridge.acquire.count() > 0);
    for _ in 0..30 {
        rests(&bridge);
        bridge.clock.advance(Duration::from_secs(60));
    }
    rests(&bridge);
    match bridge.state(&sid(1)) {
        // It may be a probe again.
        state if state == "claimed" => "pending".to_owned(),
        state => state,
    }
}

#[test]
fn a_call_that_fails_alone_is_parked_for_a_500_only() {
    assert_eq!(alone(&Reply::Status(500)), "parked");
    for status in [502, 503, 504, 401, 403, 404] {
        assert_eq!(alone(&Reply::Status(status)), "pending", "{status}");
    }
    assert_eq!(alone(&Reply::Reset), "pending");
}

#[test]
fn an_outage_that_answers_500_parks_at_most_one_call() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__SCHEDULE", "1s 2s")]);
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(500),
        ..Faults::default()
    });
    for call in 1..=20 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    for _ in 0..60 {
        rests(&bridge);
        bridge.clock.advance(Duration::from_secs(60));
    }
    bridge.acquire.behaves(Faults::default());
    until("all arrive", || {
        bridge.clock.advance(Duration::from_secs(60));
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(20.0)
    });
}

#[test]
fn a_failing_call_keeps_to_its_schedule_however_often_acquire_accepts_others() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__SCHEDULE", "1h 1h")]);
    bridge.acquire.behaves(fails_some(404));
    ends_failing(&bridge, 1);
    until("it fails", || bridge.acquire.count() == 1);
    for healthy in 2..=9 {
        rests(&bridge);
        bridge.twilio.ends(&sid(healthy), "completed");
        until("it arrives", || {
            bridge.clock.advance(Duration::from_secs(1));
            bridge.state(&sid(healthy)) == "delivered"
        });
    }
    rests(&bridge);
    let sent = bridge.acquire.call_ids();
    let own = sent.iter().filter(|id| **id == sid(1)).count();
    assert!(
        own <= 2,
        "sent {own} times: once, and once more when Acquire was back"
    );
    assert_eq!(bridge.state(&sid(1)), "pending");
}

#[test]
fn after_a_short_outage_a_new_call_goes_before_those_that_waited() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "4")]);
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(503),
        ..Faults::default()
    });
    for call in 1..=300 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    rests(&bridge);
    bridge.clock.advance(Duration::from_millis(1_100));
    rests(&bridge);
    // It answers each request after a while, so that the waiting calls are a queue.
    bridge.acquire.behaves(Faults {
        delay: Duration::from_millis(20),
        ..Faults::default()
    });
    let before = usize::try_from(bridge.acquire.count()).expect("few");
    bridge.clock.advance(Duration::from_secs(5));
    until("half of them arrived", || {
        bridge.acquire.count() > u64::try_from(before).expect("few") + 100
    });
    bridge.clock.advance(Duration::from_millis(1));
    let sent = bridge.acquire.call_ids().len();
    bridge.twilio.ends(&sid(999), "completed");
    until("the new call arrives", || {
        bridge.acquire.call_ids().contains(&sid(999))
    });
    let order = bridge.acquire.call_ids();
    let place = order.iter().position(|id| *id == sid(999)).expect("sent");
    assert!(place - sent < 20, "{} others went first", place - sent);
}
