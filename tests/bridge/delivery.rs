//! Acquire's side: what arrives there, when, and what each answer leads to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply};

use crate::raw_servers::Held;
use crate::support::harness::{Bridge, until};
use crate::support::twilio::{STATUS, fixture, sid, status_form};

/// Longer than the longest wait of the default schedule with its jitter.
const LONG: Duration = Duration::from_secs(14 * 3600);

#[test]
fn an_ended_call_arrives_as_acquire_documents_it() {
    let bridge = Bridge::start();
    assert_eq!(bridge.twilio.sends("inbound-completed").status, 204);
    bridge.settles();
    let expected =
        std::fs::read_to_string("fixtures/acquire/inbound-completed.json").expect("a file");
    let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
    assert_eq!(bridge.sent(), [expected]);
    let request = &bridge.acquire.received()[0];
    assert_eq!(request.path, "/api/v1/voip/call-answered");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
}

#[test]
fn the_api_key_and_path_are_as_configured() {
    let bridge = Bridge::with(&[
        ("BRIDGE__ACQUIRE__API_KEY", "an-api-key"),
        ("BRIDGE__ACQUIRE__CALL_END_PATH", "/api/v1/voip/call-end"),
    ]);
    bridge.twilio.ends(&sid(1), "busy");
    bridge.settles();
    let request = &bridge.acquire.received()[0];
    assert_eq!(request.path, "/api/v1/voip/call-end");
    assert_eq!(request.header("authorization"), Some("Bearer an-api-key"));
}

#[test]
fn a_call_is_sent_again_until_acquire_has_it() {
    let bridge = Bridge::start();
    bridge.acquire.answers([
        Reply::Status(503),
        Reply::Reset,
        Reply::SuccessFalse,
        Reply::Html,
    ]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    assert_eq!(bridge.state(&sid(1)), "pending");
    for _ in 0..4 {
        bridge.waits(Duration::from_secs(40));
    }
    assert_eq!(bridge.sent().len(), 5);
    let call = bridge.call(&sid(1));
    assert_eq!(call["state"], "delivered");
    let outcomes: Vec<_> = call["attempts"]
        .as_array()
        .expect("attempts")
        .iter()
        .map(|attempt| (attempt["fault"].clone(), attempt["status"].clone()))
        .collect();
    assert_eq!(
        outcomes,
        [
            (json!("busy"), json!(503)),
            (json!("reset"), json!(null)),
            (json!("success-false"), json!(200)),
            (json!("unreadable"), json!(200)),
            (json!(null), json!(200)),
        ]
    );
}

#[test]
fn a_call_is_not_sent_before_its_time() {
    let bridge = Bridge::start();
    bridge.acquire.answers([Reply::TooMany {
        retry_after: "120".to_owned(),
    }]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.waits(Duration::from_secs(119));
    assert_eq!(bridge.sent().len(), 1);
    bridge.waits(Duration::from_secs(2));
    assert_eq!(bridge.sent().len(), 2);
}

#[test]
fn a_refused_call_is_parked_and_requeue_sends_it_again() {
    let bridge = Bridge::start();
    bridge.acquire.answers([Reply::Invalid]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let call = bridge.call(&sid(1));
    assert_eq!(call["state"], "parked");
    assert!(
        call["reason"]
            .as_str()
            .expect("a reason")
            .contains("refused it with 400")
    );
    bridge.waits(LONG);
    assert_eq!(bridge.sent().len(), 1);

    let answer = bridge.admin("POST", &format!("/api/calls/{}/requeue", sid(1)), &[]);
    assert_eq!(answer.status, 202);
    bridge.settles();
    assert_eq!(bridge.state(&sid(1)), "delivered");
    assert_eq!(bridge.sent().len(), 2);
}

#[test]
fn a_delivered_call_that_is_requeued_is_sent_once_more() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.admin("POST", &format!("/api/calls/{}/requeue", sid(1)), &[]);
    bridge.settles();
    assert_eq!(bridge.sent().len(), 2);
    assert_eq!(bridge.call(&sid(1))["attempts"][0]["before_requeue"], true);
}

#[test]
fn a_repeat_that_acquire_knows_counts_as_accepted() {
    let bridge = Bridge::start();
    bridge.acquire.answers([Reply::Duplicate]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let call = bridge.call(&sid(1));
    assert_eq!(call["state"], "delivered");
    assert_eq!(call["attempts"][0]["verdict"], "accepted-as-repeat");
}

#[test]
fn a_redirect_is_not_followed() {
    let bridge = Bridge::start();
    bridge.acquire.answers([Reply::Status(302)]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    assert_eq!(bridge.sent().len(), 1);
    assert_eq!(
        bridge.call(&sid(1))["attempts"][0]["fault"],
        "configuration"
    );
}

#[test]
fn the_end_of_the_schedule_parks_a_call() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__SCHEDULE", "1s 2s")]);
    bridge.acquire.behaves(Faults {
        default_reply: Reply::Status(500),
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.waits(Duration::from_secs(3));
    bridge.waits(Duration::from_secs(3));
    let call = bridge.call(&sid(1));
    assert_eq!(call["state"], "parked");
    let reason = call["reason"].as_str().expect("a reason");
    assert!(reason.contains("used up after 3 attempts"), "{reason}");
}

#[test]
fn an_answer_that_stays_unclear_is_parked_as_maybe_accepted() {
    let bridge = Bridge::start();
    bridge.acquire.behaves(Faults {
        default_reply: Reply::SuccessFalse,
        ..Faults::default()
    });
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    for _ in 0..5 {
        bridge.waits(LONG);
    }
    assert_eq!(bridge.sent().len(), 3);
    let reason = bridge.call(&sid(1))["reason"].to_string();
    assert!(reason.contains("may have been accepted"), "{reason}");
}

#[test]
fn a_slow_answer_is_a_time_out_and_retried() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__TIMEOUT", "500ms")]);
    let slow = Faults {
        delay: Duration::from_secs(60),
        ..Faults::default()
    };
    bridge.acquire.behaves(slow);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let call = bridge.call(&sid(1));
    assert_eq!(call["attempts"][0]["fault"], "time-out");
    assert_eq!(call["state"], "pending");
    bridge.acquire.behaves(Faults::default());
    // On a busy machine a healthy answer may be late as well.
    until("it is tried again", || {
        bridge.waits(Duration::from_secs(60));
        bridge.state(&sid(1)) == "delivered"
    });
}

#[test]
fn a_second_leg_is_delivered_after_the_first_was_delivered_or_parked() {
    for first in [Reply::Saved, Reply::Invalid] {
        let bridge = Bridge::start();
        bridge.acquire.answers([first]);
        bridge
            .twilio
            .sends_form(STATUS, &status_form(&sid(1), "completed"));
        bridge.settles();
        let child = format!(
            "{}&ParentCallSid={}",
            status_form(&sid(2), "no-answer"),
            sid(1)
        );
        bridge.twilio.sends_form(STATUS, &child);
        bridge.settles();
        let ids: Vec<_> = bridge
            .sent()
            .iter()
            .map(|body| body["CallId"].clone())
            .collect();
        assert_eq!(ids, [json!(sid(1)), json!(sid(2))]);
        assert_eq!(bridge.call(&sid(2))["call_sid"], sid(1), "found by its leg");
    }
}

#[test]
fn a_callback_recorded_while_its_call_is_claimed_is_delivered() {
    let acquire = Held::start();
    let bridge = Bridge::with(&[
        ("BRIDGE__ACQUIRE__BASE_URL", &acquire.url()),
        ("BRIDGE__DELIVERY__TIMEOUT", "50s"),
    ]);
    bridge.twilio.ends(&sid(1), "completed");
    until("it is sent", || acquire.taken().len() == 1);
    assert_eq!(bridge.state(&sid(1)), "claimed");
    let listed = bridge.runs(&["list", "--state", "claimed", "--json"]);
    let row: serde_json::Value = serde_json::from_str(&listed.out).expect("one line of JSON");
    assert_eq!(
        (&row["call_sid"], &row["state"]),
        (&json!(sid(1)), &json!("claimed"))
    );
    let child = format!(
        "{}&ParentCallSid={}",
        status_form(&sid(2), "completed"),
        sid(1)
    );
    assert_eq!(bridge.twilio.sends_form(STATUS, &child).status, 204);
    acquire.answers(2);
    bridge.settles();
    let ids: Vec<_> = acquire
        .taken()
        .iter()
        .map(|body| body["CallId"].clone())
        .collect();
    assert_eq!(ids, [json!(sid(1)), json!(sid(2))]);
}

#[test]
fn what_cannot_be_sent_is_kept_with_the_reason() {
    let bridge = Bridge::start();
    for (case, means, state, reason) in [
        (
            "not-ended-ringing",
            "before the end",
            "skipped",
            "has not ended (CallStatus ringing)",
        ),
        (
            "softphone-parent",
            "ends the leg",
            "skipped",
            "has an empty To",
        ),
        (
            "unknown-status",
            "stored: unknown status",
            "parked",
            "for which Acquire has no equivalent",
        ),
    ] {
        assert_eq!(bridge.twilio.sends(case).status, 204);
        bridge.settles();
        let form = String::from_utf8(fixture(case).body).expect("a form");
        let at = form.find("CallSid=CA").expect("a CallSid") + "CallSid=".len();
        let call = bridge.call(&form[at..at + 34]);
        assert_eq!(call["state"], state, "{case}");
        let parked_because = call["reason"].as_str().expect("a reason");
        assert!(parked_because.contains(reason), "{parked_because}");
        assert_eq!(call["callbacks"][0]["verdict"], means, "{case}");
    }
    assert!(bridge.sent().is_empty());
}

#[test]
fn no_more_requests_are_open_than_delivery_concurrency() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__CONCURRENCY", "2")]);
    bridge.acquire.behaves(Faults {
        delay: Duration::from_millis(50),
        ..Faults::default()
    });
    for call in 1..=10 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    bridge.settles();
    assert_eq!(bridge.sent().len(), 10);
    assert!(
        bridge.acquire.most_at_once() <= 2,
        "{}",
        bridge.acquire.most_at_once()
    );
}

#[test]
fn a_lease_that_ends_soon_after_the_time_limit_repeats_nothing() {
    let acquire = Held::start();
    let bridge = Bridge::with(&[
        ("BRIDGE__ACQUIRE__BASE_URL", &acquire.url()),
        ("BRIDGE__DELIVERY__CONCURRENCY", "2"),
        ("BRIDGE__DELIVERY__TIMEOUT", "50s"),
        ("BRIDGE__DELIVERY__LEASE", "50001ms"),
    ]);
    for call in 1..=12 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    // Each two take less than the lease, and all together more.
    for sent in (2..=12).step_by(2) {
        until("two are sent", || acquire.taken().len() == sent);
        bridge.clock.advance(Duration::from_secs(20));
        acquire.answers(sent);
    }
    bridge.settles();
    let ids: BTreeSet<String> = acquire
        .taken()
        .iter()
        .map(|body| body["CallId"].to_string())
        .collect();
    assert_eq!((ids.len(), acquire.taken().len()), (12, 12));
}

#[test]
fn a_leg_that_ends_while_the_other_is_sent_does_not_wait_for_the_next_poll() {
    let bridge = Bridge::start();
    bridge.acquire.behaves(Faults {
        delay: Duration::from_millis(60),
        ..Faults::default()
    });
    let mut pairs = 0;
    let mut a_pair_takes = || {
        let (parent, child) = (sid(2 * pairs + 1), sid(2 * pairs + 2));
        pairs += 1;
        let started = Instant::now();
        bridge.twilio.ends(&parent, "completed");
        let form = status_form(&child, "completed");
        bridge
            .twilio
            .sends_form(STATUS, &format!("{form}&ParentCallSid={parent}"));
        bridge.settles();
        assert_eq!(bridge.sent().len(), 2 * pairs);
        started.elapsed()
    };
    // A busy machine may take its time; a poll, which comes after a second, would delay each pair.
    until("a pair is sent in less", || {
        a_pair_takes() < Duration::from_millis(900)
    });
}

#[test]
fn no_more_requests_leave_in_a_second_than_delivery_max_rate() {
    let bridge = Bridge::with(&[("BRIDGE__DELIVERY__MAX_RATE", "10")]);
    // Requests may arrive late, so the time is counted from before the first could leave.
    let started = Clock::system().now();
    for call in 1..=10 {
        bridge.twilio.ends(&sid(call), "completed");
    }
    bridge.settles();
    let times: Vec<_> = bridge.acquire.received().iter().map(|it| it.time).collect();
    assert_eq!(times.len(), 10);
    let took = times[9].since(started);
    assert!(took >= Duration::from_millis(890), "{took:?}");
}
