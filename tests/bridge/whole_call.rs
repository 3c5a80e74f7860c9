//! The whole call: the requests to Acquire for recordings, legs and call events, with restarts in between.

use std::time::Duration;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use crate::support::harness::Bridge;
use crate::support::twilio::{STATUS, sid, status_form};

pub const RECORDING: &str = "/twilio/voice/recording";
const URL: &str = "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings/RE1";

pub fn recording_form(call: &str, status: &str) -> String {
    format!(
        "RecordingSource=DialVerb&RecordingSid=RE00000000000000000000000000000001\
         &RecordingUrl=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2FAccounts%2FAC1%2FRecordings%2FRE1\
         &RecordingStatus={status}&RecordingDuration=9&ErrorCode=0&CallSid={call}\
         &AccountSid=AC00000000000000000000000000000001"
    )
}

fn leg_form(leg: &str, parent: &str, status: &str, to: &str) -> String {
    format!(
        "CallSid={leg}&ParentCallSid={parent}&AccountSid=AC00000000000000000000000000000001\
         &CallStatus={status}&From=%2B12025550123&To={to}&Direction=outbound-dial&CallDuration=7\
         &CallbackSource=call-progress-events&SequenceNumber=0"
    )
}

impl Bridge {
    pub fn records(&self, call: &str, status: &str) {
        let answer = self
            .twilio
            .sends_form(RECORDING, &recording_form(call, status));
        assert_eq!(answer.status, 204, "{}", answer.body);
        self.settles();
    }

    fn sends(&self, form: &str) {
        assert_eq!(self.twilio.sends_form(STATUS, form).status, 204);
        self.settles();
    }

    fn restarts(&mut self) {
        self.stops();
        self.starts();
    }

    fn urls(&self) -> Vec<Value> {
        let sent = self.sent();
        sent.iter()
            .map(|body| body["RecordingUrl"].clone())
            .collect()
    }

    /// The planned requests in the call's timeline.
    fn requests_of(&self, call: &str) -> String {
        self.call(call)["planned"].to_string()
    }
}

#[test]
fn an_announced_recording_is_waited_for_across_restarts() {
    let mut bridge = Bridge::start();
    bridge.records(&sid(1), "in-progress");
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.restarts();
    bridge.waits(Duration::from_secs(110));
    assert_eq!(bridge.urls(), Vec::<Value>::new());
    assert!(
        bridge
            .requests_of(&sid(1))
            .contains("waits for recording RE0")
    );

    bridge.restarts();
    bridge.records(&sid(1), "completed");
    assert_eq!(bridge.urls(), [json!(URL)]);
    bridge.restarts();
    bridge.records(&sid(1), "completed");
    bridge.waits(Duration::from_secs(3600));
    assert_eq!(bridge.urls().len(), 1);
}

#[test]
fn a_recording_that_never_comes_is_waited_for_and_then_left_out() {
    let bridge = Bridge::start();
    bridge.records(&sid(1), "in-progress");
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.waits(Duration::from_secs(121));
    assert_eq!(bridge.urls(), [Value::Null]);
    assert!(
        bridge
            .requests_of(&sid(1))
            .contains("RecordingUrl left out: waited for recording RE0")
    );
}

#[test]
fn a_late_recording_is_kept_shown_and_counted_once() {
    let mut bridge = Bridge::start();
    let late = "bridge_late_recordings_total{account=\"acme\"}";
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.waits(Duration::from_secs(30));
    bridge.records(&sid(1), "completed");
    assert_eq!(bridge.metric(late), Some(1.0));
    bridge.records(&sid(1), "completed");
    assert_eq!(bridge.metric(late), Some(1.0));
    bridge.restarts();
    bridge.waits(Duration::from_secs(3600));
    assert_eq!(bridge.urls(), [Value::Null]);
    assert_eq!(bridge.state(&sid(1)), "delivered");
    let planned = bridge.requests_of(&sid(1));
    assert!(
        planned.contains("its recording came after the end was sent"),
        "{planned}"
    );
    assert!(planned.contains("in-progress completed"), "{planned}");
}

#[test]
fn late_recordings_are_counted_each_once_also_those_that_come_together() {
    let bridge = Bridge::start();
    let late = "bridge_late_recordings_total{account=\"acme\"}";
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    let form = recording_form(&sid(1), "completed");
    // Mostly in one claim: nothing is waited for in between.
    for number in 1..=20 {
        let another = form.replace("RE000", &format!("RE1{number:02}"));
        assert_eq!(bridge.twilio.sends_form(RECORDING, &another).status, 204);
    }
    bridge.settles();
    assert_eq!(bridge.metric(late), Some(20.0));
    bridge.records(&sid(1), "completed");
    assert_eq!(bridge.metric(late), Some(21.0));
}

#[test]
fn a_late_recording_is_sent_once_more_where_that_is_asked_for() {
    let mut bridge = Bridge::with(&[("BRIDGE__RECORDING__LATE", "resend")]);
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.acquire.answers([Reply::Status(503)]);
    bridge.records(&sid(1), "completed");
    bridge.restarts();
    bridge.waits(Duration::from_secs(60));
    bridge.waits(Duration::from_secs(3600));
    assert_eq!(bridge.urls(), [Value::Null, json!(URL), json!(URL)]);
    let sent = bridge.sent();
    assert_eq!(sent[0]["CallId"], sent[2]["CallId"]);
    assert_eq!(bridge.state(&sid(1)), "delivered");
}

#[test]
fn an_end_without_an_answer_is_repeated_as_it_was_sent_across_restarts() {
    for (reply, again) in [
        (Reply::Reset, Value::Null),
        (Reply::Status(500), Value::Null),
        (Reply::Status(503), json!(URL)),
    ] {
        let mut bridge = Bridge::start();
        bridge.acquire.answers([reply.clone()]);
        bridge.twilio.ends(&sid(1), "completed");
        bridge.settles();
        bridge.restarts();
        bridge.records(&sid(1), "completed");
        bridge.waits(Duration::from_secs(60));
        assert_eq!(bridge.urls(), [Value::Null, again], "{reply}");
        assert_eq!(bridge.state(&sid(1)), "delivered");
    }
}

#[test]
fn a_call_without_callbacks_of_its_first_leg_is_decided_after_the_wait() {
    let mut bridge = Bridge::with(&[
        ("BRIDGE__CALLS__REPORT", "call"),
        ("BRIDGE__CALLS__WAIT", "10m"),
    ]);
    bridge.sends(&leg_form(&sid(2), &sid(1), "no-answer", "client:jane"));
    bridge.waits(Duration::from_secs(599));
    bridge.restarts();
    assert_eq!(bridge.sent().len(), 0);
    let waited_for = format!("waits for the end of leg {}", sid(1));
    assert!(bridge.requests_of(&sid(2)).contains(&waited_for));
    bridge.waits(Duration::from_secs(1));
    let sent = bridge.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["CallId"], sid(2).as_str());
    assert_eq!(sent[0]["Direction"], "incoming");
}

#[test]
fn an_absent_recording_ends_the_wait() {
    let bridge = Bridge::start();
    bridge.records(&sid(1), "in-progress");
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    assert_eq!(bridge.sent().len(), 0);
    bridge.records(&sid(1), "absent");
    assert_eq!(bridge.urls(), [Value::Null]);
}

#[test]
fn each_path_refuses_what_belongs_to_the_other() {
    let bridge = Bridge::start();
    let at_status = bridge
        .twilio
        .sends_form(STATUS, &recording_form(&sid(1), "completed"));
    let at_recording = bridge
        .twilio
        .sends_form(RECORDING, &status_form(&sid(1), "completed"));
    for (answer, words) in [
        (at_status, "/twilio/voice/recording"),
        (at_recording, "/twilio/voice/status"),
    ] {
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(words), "{}", answer.body);
    }
    let form = recording_form(&sid(1), "completed");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let elsewhere = "https://elsewhere.example.com/twilio/voice/recording";
    let forged = bridge
        .twilio
        .signs_and_sends(elsewhere, RECORDING, &headers, form.as_bytes());
    assert_eq!(forged.status, 403);
}

#[test]
fn one_call_has_one_end_whatever_comes_between_and_after() {
    let mut bridge = Bridge::with(&[
        ("BRIDGE__CALLS__REPORT", "call"),
        ("BRIDGE__DIRECTORY__ENTRIES", "client:jane=jane@example.com"),
    ]);
    bridge.sends(&leg_form(&sid(2), &sid(1), "completed", "client:jane"));
    bridge.restarts();
    bridge.waits(Duration::from_secs(4));
    bridge.sends(&status_form(&sid(1), "completed"));
    bridge.waits(Duration::from_secs(4));
    assert_eq!(bridge.sent().len(), 0);
    bridge.restarts();
    bridge.waits(Duration::from_secs(2));
    let sent = bridge.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["CallId"], sid(1));
    assert_eq!(sent[0]["Direction"], "incoming");
    assert_eq!(sent[0]["email"], "jane@example.com");

    bridge.sends(&leg_form(&sid(3), &sid(1), "completed", "client:bob"));
    bridge.restarts();
    bridge.waits(Duration::from_secs(5 * 3600));
    assert_eq!(bridge.sent().len(), 1);
    assert_eq!(bridge.state(&sid(3)), "delivered");
    let planned = bridge.requests_of(&sid(1));
    for words in [
        "incoming: called from a phone number",
        "e-mail of the agent who answered leg",
        "has no call-end of its own",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
}

#[test]
fn a_chain_is_one_call_also_if_its_last_leg_is_reported_first() {
    let bridge = Bridge::with(&[("BRIDGE__CALLS__REPORT", "call")]);
    bridge.sends(&leg_form(&sid(3), &sid(2), "completed", "client:bob"));
    bridge.sends(&leg_form(&sid(2), &sid(1), "no-answer", "client:jane"));
    bridge.sends(&status_form(&sid(1), "completed"));
    bridge.waits(Duration::from_secs(6));
    bridge.waits(Duration::from_secs(5 * 3600));
    let sent = bridge.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["CallId"], sid(1));
}

#[test]
fn a_leg_that_never_ends_is_waited_for() {
    let bridge = Bridge::with(&[("BRIDGE__CALLS__REPORT", "call")]);
    bridge.sends(&leg_form(&sid(2), &sid(1), "in-progress", "client:jane"));
    bridge.sends(&status_form(&sid(1), "completed"));
    bridge.waits(Duration::from_secs(4 * 3600 - 1));
    assert_eq!(bridge.sent().len(), 0);
    assert!(bridge.requests_of(&sid(1)).contains("calls.wait"));
    bridge.waits(Duration::from_secs(2));
    assert_eq!(bridge.sent().len(), 1);
}

#[test]
fn the_events_of_a_call_go_to_their_own_paths_in_order() {
    let mut bridge = Bridge::with(&[
        ("BRIDGE__ACQUIRE__EVENTS", "in-queue ringing answered ended"),
        ("BRIDGE__ACQUIRE__CALL_END_PATH", "/api/v1/voip/call-end"),
        ("BRIDGE__DIRECTORY__DEFAULT", "calls@example.com"),
    ]);
    let report = |bridge: &Bridge, status: &str| {
        bridge.sends(&status_form(&sid(1), status));
    };
    report(&bridge, "initiated");
    bridge.restarts();
    bridge.acquire.answers([Reply::Status(503)]);
    report(&bridge, "ringing");
    report(&bridge, "in-progress");
    bridge.restarts();
    report(&bridge, "completed");
    report(&bridge, "queued");
    bridge.waits(Duration::from_secs(3600));
    let received = bridge.acquire.received();
    let paths: Vec<&str> = received
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "/api/v1/voip/call-in-queue",
            "/api/v1/voip/call-ringing",
            "/api/v1/voip/call-answered",
            "/api/v1/voip/call-end"
        ],
        "a failed event is left out once the next is due"
    );
    assert_eq!(bridge.state(&sid(1)), "delivered");
}
