//! Passes without an order.

use super::*;
use crate::support::harness::until;

#[test]
fn forty_calls_that_ended_while_the_bridge_was_off_reach_acquire() {
    let mut world = World::with(&[("BRIDGE__RECONCILE__EVERY", "15m")]);
    world.reports(1);
    world.bridge.stops();
    for number in 2..=41 {
        world.ticks();
        world.has_call(number, |_| {});
    }
    world.clock.advance(2 * HOUR);
    world.bridge.clock.advance(2 * HOUR);
    world.bridge.starts();
    until("Acquire has the calls", || world.bridge.sent().len() >= 41);
    world.bridge.settles();
    for number in 1..=41 {
        assert_eq!(world.sent(number).len(), 1, "call {number}");
    }
    let imported = "bridge_reconcile_taken_in_total{account=\"acme\",evidence=\"listed\"}";
    assert_eq!(world.bridge.metric(imported), Some(40.0));
    let last = "bridge_reconcile_last_success_timestamp_seconds{account=\"acme\"}";
    assert!(world.bridge.metric(last) > Some(0.0));
}

#[test]
fn a_call_that_becomes_final_on_the_tenth_day_is_imported() {
    let world = World::with(&[("BRIDGE__RECONCILE__EVERY", "15m")]);
    world.reports(1);
    world.has_call(2, |call| call.duration = None);
    for day in 0..16 {
        world.reports(100 + day);
        world.waits(24 * HOUR);
        if day == 10 {
            world.api.with(|records| {
                let mut calls = records.calls.iter_mut();
                let late = calls.find(|call| call.sid == sid(2));
                late.expect("the call").duration = Some(7);
            });
        }
    }
    until("the late call is sent", || {
        world.ticks();
        world.sent(2).len() == 1
    });
    assert_eq!(world.sent(2)[0]["Duration"], "7");
}

#[test]
fn a_short_pass_by_hand_leaves_what_was_before_it_to_the_first_continuous_pass() {
    let mut world = World::with_a_reported_call();
    world.has_call(2, |_| {});
    world.waits(10 * HOUR);
    let from = world.clock.now().minus(HOUR).to_string();
    let report = world.reconciles(&json!({ "from": from }));
    assert_eq!(report["never_came"], 0, "{report:#}");
    world.bridge.restarts_with("[reconcile]\nevery = \"15m\"\n");
    until("Acquire has the call", || {
        world.ticks();
        world.sent(2).len() == 1
    });
}

#[test]
fn an_account_that_the_key_may_not_read_leaves_the_others() {
    // Then the bridge reads the accounts of its calls.
    let mut world = World::with(&[("TWILIO_ACCOUNT_SID", "")]);
    world.reports(1);
    let first = "AC00000000000000000000000000000000";
    let form = status_form(&sid(9), "completed").replace(ACCOUNT, first);
    assert_eq!(world.bridge.twilio.sends_form(STATUS, &form).status, 204);
    world.api.with(|records| {
        let key = "SK00000000000000000000000000000001".to_owned();
        records.keys.insert(key, vec![ACCOUNT.to_owned()]);
    });
    world.has_call(2, |_| {});
    world.waits(2 * HOUR);
    world.bridge.restarts_with("[reconcile]\nevery = \"15m\"\n");
    until("Acquire has the call", || {
        world.ticks();
        world.sent(2).len() == 1
    });
}

#[test]
fn a_pass_that_ends_between_any_two_requests_loses_and_repeats_nothing() {
    for requests in 1..=7 {
        let mut world = World::with(&[("BRIDGE__RECONCILE__EVERY", "15m")]);
        world.reports(1);
        world.bridge.stops();
        for number in 2..=4 {
            world.has_call(number, |_| {});
        }
        world.clock.advance(2 * HOUR);
        world.bridge.clock.advance(2 * HOUR);
        let before = world.api.with(|records| records.requests.len());
        world.bridge.starts();
        until("so many requests", || {
            let now = world.api.with(|records| records.requests.len());
            now >= before + requests
        });
        // Drops the pass where it waits; a lease that it leaves ends by itself.
        world.bridge.stops();
        world.clock.advance(HOUR);
        world.bridge.clock.advance(HOUR);
        world.bridge.starts();
        until("Acquire has the calls", || world.bridge.sent().len() >= 4);
        world.bridge.settles();
        for number in 1..=4 {
            assert_eq!(
                world.sent(number).len(),
                1,
                "call {number} after {requests} requests"
            );
        }
    }
}
