//! Acquire goes down and comes back: calls are held, Acquire is probed, and the backlog follows at a
//! limited rate.

use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};
use twilio_acquire_bridge::store::AccountFilter;

use crate::requeue::store_of;
use crate::support::harness::{Bridge, until};
use crate::support::twilio::{STATUS, sid, status_form};
use crate::whole_call::{RECORDING, recording_form};

const OPEN: &str = "bridge_breaker_open{account=\"acme\"} ";

fn down(status: u16) -> Faults {
    Faults {
        default_reply: Reply::Status(status),
        ..Faults::default()
    }
}

fn attempts(bridge: &Bridge, call: usize) -> usize {
    bridge.call(&sid(call))["attempts"]
        .as_array()
        .map_or(0, Vec::len)
}

/// Turns the clock and waits for the probe that falls due then, and for its settlement.
fn probes(bridge: &Bridge, wait: Duration) {
    let before = bridge.acquire.count();
    bridge.clock.advance(wait);
    until("a probe", || bridge.acquire.count() > before);
    until("its end", || {
        bridge.metric("bridge_calls{state=\"claimed\"}") == Some(0.0)
    });
    assert_eq!(bridge.acquire.count(), before + 1, "one probe, not more");
}

#[test]
fn an_outage_spends_few_attempts_however_long_it_lasts() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "1")]);
    bridge.acquire.behaves(down(503));
    for call in 1..=40 {
        assert_eq!(bridge.twilio.ends(&sid(call), "completed").status, 204);
    }
    until("it opens", || bridge.metric(OPEN) == Some(1.0));
    let nothing_claimed = || bridge.metric("bridge_calls{state=\"claimed\"}") == Some(0.0);
    until("all wait", nothing_claimed);
    assert_eq!(bridge.acquire.count(), 5);
    for _ in 0..30 {
        probes(&bridge, Duration::from_secs(60));
    }
    let spent: usize = (1..=40).map(|call| attempts(&bridge, call)).sum();
    assert_eq!(spent, 5, "only those that opened it");
    assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 200);

    bridge.acquire.behaves(Faults::default());
    bridge.clock.advance(Duration::from_secs(60));
    until("all arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(40.0)
    });
    assert_eq!(bridge.metric(OPEN), Some(0.0));
    assert_eq!(bridge.acquire.count(), 35 + 40, "each once");
}

#[test]
fn a_fault_of_the_configuration_opens_at_once() {
    for status in [401, 403, 404, 302] {
        let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "1")]);
        bridge.acquire.behaves(down(status));
        for call in 1..=3 {
            bridge.twilio.ends(&sid(call), "completed");
        }
        until("it opens", || bridge.metric(OPEN) == Some(1.0));
        assert_eq!(bridge.acquire.count(), 1, "{status}");
        bridge.acquire.behaves(Faults::default());
        bridge.clock.advance(Duration::from_secs(1));
        until("all arrive", || {
            bridge.metric("bridge_calls{state=\"delivered\"}") == Some(3.0)
        });
    }
}

#[test]
fn one_call_that_acquire_always_fails_delays_no_other() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "1")]);
    bridge.acquire.behaves(down(500));
    for call in 1..=10 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    until("it opens", || bridge.metric(OPEN) == Some(1.0));
    until("all wait", || {
        bridge.metric("bridge_calls{state=\"claimed\"}") == Some(0.0)
    });
    let before = bridge.acquire.count();
    for _ in 0..5 {
        probes(&bridge, Duration::from_secs(60));
    }
    let mut probed = bridge
        .acquire
        .call_ids()
        .split_off(usize::try_from(before).expect("few"));
    probed.sort();
    probed.dedup();
    assert_eq!(probed.len(), 5, "each probe is another call");
    bridge.acquire.behaves(Faults::default());
    bridge.clock.advance(Duration::from_secs(60));
    bridge.settles();
}

#[test]
fn a_request_that_acquire_may_have_accepted_during_an_outage_is_repeated_unchanged() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "1")]);
    bridge.acquire.behaves(down(500));
    for call in 1..=10 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    until("it opens", || bridge.metric(OPEN) == Some(1.0));
    bridge.twilio.ends(&sid(99), "completed");
    until("all wait", || {
        bridge.metric("bridge_calls{state=\"claimed\"}") == Some(0.0)
    });
    let probed = || {
        let sent = bridge.acquire.call_ids();
        sent.iter().filter(|call| **call == sid(99)).count()
    };
    for _ in 0..60 {
        probes(&bridge, Duration::from_secs(60));
        if probed() == 2 {
            break;
        }
    }
    assert_eq!(probed(), 2);
    assert_eq!(attempts(&bridge, 99), 1, "the first that may have arrived");
    // It would be in a request that was never sent.
    let recording = recording_form(&sid(99), "completed");
    let answer = bridge.twilio.sends_form(RECORDING, &recording);
    assert_eq!(answer.status, 204, "{}", answer.body);
    bridge.acquire.behaves(Faults::default());
    bridge.clock.advance(Duration::from_secs(60));
    until("all arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(11.0)
    });
    let mut sent = bridge.sent();
    sent.retain(|end| end["CallId"] == *sid(99));
    assert!(sent.len() >= 3, "{sent:?}");
    sent.dedup();
    assert_eq!(sent.len(), 1, "{sent:?}");
}

#[test]
fn after_an_outage_the_rate_rises_from_one_and_the_freshest_go_first() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "16")]);
    bridge.acquire.behaves(down(403));
    bridge.twilio.ends(&sid(1), "completed");
    until("it opens", || bridge.metric(OPEN) == Some(1.0));
    for call in 2..=60 {
        bridge.twilio.ends(&sid(call), "completed");
        bridge.clock.advance(Duration::from_millis(5));
    }
    bridge.acquire.behaves(Faults::default());
    // Before the probe is due, since the backlog follows that at once.
    bridge.twilio.ends(&sid(99), "completed");
    bridge.clock.advance(Duration::from_secs(600));
    until("all arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(61.0)
    });
    let order = bridge.acquire.call_ids();
    let place = |call: usize| order.iter().rposition(|id| *id == sid(call)).expect("sent");
    // After the call that opened it, the probe, and the delayed calls: one of the first two at once.
    assert!(
        place(99) <= 4,
        "the fresh call is the first after the probe: {}",
        place(99)
    );
    assert!(
        place(60) < place(20) && place(20) < place(3),
        "the backlog follows"
    );
}

#[test]
fn an_account_that_acquire_refuses_delays_no_other() {
    let mut bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "2")]);
    let file = bridge.folder.path().join("bridge.toml");
    let account = |number: usize, name: &str| {
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC{number:032}\"\n\
             twilio_auth_tokens = [\"{}\"]\nacquire_account_id = \"{name}\"\n",
            crate::support::twilio::TOKEN
        )
    };
    std::fs::write(&file, account(1, "acme") + &account(2, "other")).expect("a file");
    bridge.restarts_with_file(&file);
    bridge.acquire.behaves(down(401));
    bridge.twilio.ends(&sid(1), "completed");
    until("it opens", || bridge.metric(OPEN) == Some(1.0));
    bridge.acquire.behaves(Faults::default());
    for call in 2..=20 {
        bridge.twilio.ends(&sid(call), "completed");
        let form = status_form(&sid(100 + call), "completed")
            .replace(&format!("AC{:032}", 1), &format!("AC{:032}", 2));
        assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 204);
    }
    until("the other account's calls arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(19.0)
    });
    assert_eq!(bridge.metric(OPEN), Some(1.0));
    assert_eq!(
        bridge.metric("bridge_breaker_open{account=\"other\"} "),
        Some(0.0)
    );
    bridge.clock.advance(Duration::from_secs(1));
    until("all arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(39.0)
    });
}

#[test]
fn what_was_put_off_for_hours_is_due_once_acquire_is_back() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__SCHEDULE", "12h 12h")]);
    bridge.acquire.behaves(down(503));
    for call in 1..=5 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    until("it opens", || bridge.metric(OPEN) == Some(1.0));
    until("all wait", || {
        bridge.metric("bridge_calls{state=\"pending\"}") == Some(5.0)
    });
    bridge.acquire.behaves(Faults::default());
    bridge.clock.advance(Duration::from_secs(1));
    bridge.twilio.ends(&sid(6), "completed");
    until("all arrive", || {
        bridge.metric("bridge_calls{state=\"delivered\"}") == Some(6.0)
    });
    assert_eq!(bridge.acquire.count(), 5 + 6);
}

#[test]
fn a_call_that_is_retried_now_is_sent_at_once_after_a_restart_too() {
    let mut bridge = Bridge::with(&[("BRIDGE__DELIVERY__SCHEDULE", "12h 12h")]);
    bridge.acquire.answers([Reply::Status(503)]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.stops();
    bridge.clock.advance(Duration::from_secs(1));
    let now = bridge.clock.now();
    // The bridge ends before it claims the call.
    let store = store_of(&bridge);
    let changed = store.retry_now(AccountFilter::All, now, 9);
    let changed = actix_web::rt::System::new().block_on(changed);
    assert_eq!(changed.expect("written"), 1);
    drop(store);
    bridge.starts();
    bridge.settles();
    assert_eq!(bridge.state(&sid(1)), "delivered");
}
