//! Calls that Acquire always fails because of their own data, mixed with healthy ones, on any store.

use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply, TextFault};

use super::harness::{Bridge, until};
use super::twilio::{STATUS, sid, status_form};

/// The number of the caller of each failing call.
const FAILING: &str = "12025550166";

pub fn fails_some(status: u16) -> Faults {
    Faults {
        texts: vec![TextFault {
            text: FAILING,
            reply: Reply::Status(status),
            delay: Duration::ZERO,
        }],
        ..Faults::default()
    }
}

pub fn ends_failing(bridge: &Bridge, call: usize) {
    let form = status_form(&sid(call), "completed").replace("12025550123", FAILING);
    assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
}

/// Waits until nothing is being sent.
pub fn rests(bridge: &Bridge) {
    until("nothing is claimed", || {
        bridge.metric("bridge_calls{state=\"claimed\"}") == Some(0.0)
    });
}

fn count(bridge: &Bridge, state: &str) -> f64 {
    let line = format!("bridge_calls{{state=\"{state}\"}}");
    bridge.metric(&line).expect("a metric")
}

/// `failing` calls fail with `status`. A healthy call that ends then arrives within two probes, and at the
/// end of their schedule the failing ones are parked.
pub fn delay_no_healthy_call(failing: usize, status: u16, settings: &[(&str, &str)]) {
    let mut all = vec![
        ("BRIDGE__DELIVERY__CONCURRENCY", "4"),
        ("BRIDGE__DELIVERY__SCHEDULE", "1s 2s"),
    ];
    all.extend(settings);
    let bridge = Bridge::with(&all);
    bridge.acquire.behaves(fails_some(status));
    bridge.twilio.ends(&sid(5_000), "completed");
    bridge.settles();
    bridge.clock.advance(Duration::from_secs(1));
    for call in 1..=failing {
        ends_failing(&bridge, call);
    }
    until("they fail", || bridge.acquire.count() > 1);
    rests(&bridge);
    // Probes that fail: the wait for the next one grows.
    for _ in 0..4 {
        bridge.clock.advance(Duration::from_secs(60));
        rests(&bridge);
    }
    let before = usize::try_from(bridge.acquire.count()).expect("few");
    bridge.twilio.ends(&sid(5_001), "completed");
    let arrived = || bridge.acquire.call_ids()[before..].contains(&sid(5_001));
    until("the healthy call arrives", || {
        bridge.clock.advance(Duration::from_secs(60));
        rests(&bridge);
        arrived()
    });
    let order = &bridge.acquire.call_ids()[before..];
    let ahead = order.iter().position(|id| *id == sid(5_001));
    // A probe that had started before the call ended is not counted.
    assert!(ahead <= Some(2), "{failing} calls with {status}: {order:?}");
    let mut healthy = 5_002;
    while count(&bridge, "parked") < f64::from(u32::try_from(failing).expect("few")) {
        assert!(
            healthy < 5_100 + failing,
            "{} are parked",
            count(&bridge, "parked")
        );
        bridge.clock.advance(Duration::from_secs(3));
        bridge.twilio.ends(&sid(healthy), "completed");
        until("it arrives", || {
            bridge.clock.advance(Duration::from_secs(1));
            bridge.state(&sid(healthy)) == "delivered"
        });
        healthy += 1;
    }
    let call = bridge.call(&sid(1));
    let reason = call["reason"].as_str().expect("a reason");
    assert!(reason.contains("delivery.schedule is used up"), "{reason}");
}
