//! Cases that scenario folders cannot show: the requests due between two arrivals, and after an attempt.

use super::*;
use crate::domain::recording_link::{LinkKey, LinkSigner, RecordingLinks};

#[test]
fn an_end_waits_for_its_recording_to_the_millisecond() {
    let case = legs("parent; RE1 in-progress");
    assert_eq!(case.step(119_999), "wait 120000");
    assert_eq!(case.end_at(120_000).recording_url, None);
}

#[test]
fn only_the_leg_that_gets_the_recording_waits_for_it() {
    let always = |rules: &mut Rules| rules.recordings.expect = RecordingExpectation::Always;
    check(
        |text| legs(text).with(always),
        "parent; child     | | 0ms: call-end child
         parent To=; child | | 0ms: wait 120000
         parent busy       | | 0ms: call-end parent",
    );
}

#[test]
fn of_equally_long_recordings_the_first_goes() {
    for (recordings, expected) in [
        (
            "RE1 RecordingStartTime=2 RecordingDuration=9; RE2 RecordingStartTime=1 RecordingDuration=9",
            "2",
        ),
        ("RE1 RecordingDuration=9; RE2 RecordingStartTime=1", "1"),
    ] {
        let url = legs("parent").and(recordings).end_at(0).recording_url;
        assert!(
            url.is_some_and(|url| url.ends_with(expected)),
            "{recordings}"
        );
    }
}

#[test]
fn a_recording_that_an_end_names_stays_with_its_leg() {
    let own =
        "RecordingSid=RE00000000000000000000000000000001 RecordingUrl=https://api.twilio.com/child";
    let requests = legs(&format!("parent; child {own}; RE1")).requests();
    let has_url = requests.iter().map(|planned| {
        let request = &planned.request;
        (
            named(request.leg.as_str()),
            request.message.recording_url().is_some(),
        )
    });
    let expected = [("parent".to_owned(), false), ("child".to_owned(), true)];
    assert_eq!(has_url.collect::<Vec<_>>(), expected);
}

#[test]
fn one_call_is_decided_when_its_legs_have_settled() {
    let case = one_call("parent; child no-answer");
    assert_eq!(case.step(4_999), "wait 5000");
    assert_eq!(
        case.end_at(5_000).call_status,
        acquire::CallStatus::NoAnswer
    );
    let open = one_call("parent; child ringing");
    assert_eq!(open.step(5_000), format!("wait {WAITED}"));
    assert_eq!(open.step(WAITED), "call-end parent");
}

#[test]
fn a_call_stays_the_leg_that_was_tried_first() {
    check(
        one_call,
        "child         |                | 14400000ms: call-end child
         child; parent | child accepted | delivered
         child; parent | child again:1  | call-end child
         child; parent | child refused  | parked refused-422: refused",
    );
}

#[test]
fn of_several_dialled_phones_the_answered_one_is_the_call() {
    for (children, expected) in [
        ("child busy Timestamp=1; second Timestamp=9", "second"),
        (
            "child busy Timestamp=1; second no-answer Timestamp=9",
            "second",
        ),
        // The order is that of their times, not of their SIDs.
        (
            "child no-answer Timestamp=10; second no-answer Timestamp=9",
            "child",
        ),
        ("child Timestamp=1; second no-answer Timestamp=9", "child"),
    ] {
        let end = one_call("parent From=client:jane To=")
            .and(children)
            .end_at(5_000);
        assert_eq!(end.call_id, sid(expected), "{children}");
        assert_eq!(end.direction, acquire::Direction::Outgoing);
    }
}

#[test]
fn legs_that_name_each_other_as_parents_end_all_the_same() {
    let circle = "parent Direction=outbound-dial ParentCallSid=child; child";
    for case in modes(circle) {
        assert!(matches!(case.next(5_000), Next::Send(_)));
    }
}

#[test]
fn a_recording_without_its_call_is_skipped() {
    for case in modes("RE1") {
        let step = case.step(0);
        assert!(
            step.starts_with("skipped not-ended") && step.contains("no leg"),
            "{step}"
        );
    }
}

#[test]
fn an_event_that_failed_delays_neither_the_next_nor_the_end() {
    let case = |text: &str| {
        let case = legs(text)
            .directory("default=calls@example.com")
            .with(|rules| {
                rules.events.ringing = Forward::On;
                rules.events.answered = Forward::On;
            });
        let mut tried = case.tried("parent again:1500000");
        tried.attempts[0].kind = acquire::RequestKind::CallRinging;
        tried
    };
    assert_eq!(case("parent ringing").step(0), "wait 1500000");
    let ended = case("parent ringing; RE1 in-progress; parent");
    assert_eq!(ended.step(0), "wait 120000");
    assert_eq!(ended.step(120_000), "call-end parent");
    let accepted = ended.tried("parent accepted");
    assert_eq!(
        accepted.step(i64::MAX),
        "delivered",
        "nothing is sent after the end"
    );
    let answered = case("parent ringing; parent in-progress");
    assert_eq!(answered.step(0), "call-answered parent");
}

#[test]
fn no_event_is_sent_before_it_is_known_which_leg_is_the_call() {
    let ringing = one_call("child ringing To=client:jane").with(|rules| {
        rules.events.ringing = Forward::On;
    });
    assert!(ringing.step(0).starts_with("skipped not-ended"));
    assert_eq!(
        ringing.and("parent in-progress").step(0),
        "call-ringing parent"
    );
}

/// A day, with links of the bridge.
fn linking(case: Case, secret: &str) -> Case {
    let day = Duration::from_secs(86_400);
    let keys = vec![LinkKey::new(secret)];
    let signer = LinkSigner::new("https://bridge.example.com".into(), day, keys);
    case.with(|rules| rules.recordings.links = RecordingLinks::Bridge(signer))
}

#[test]
fn a_link_counts_from_the_first_callback_with_its_url() {
    let link = "https://bridge.example.com/recordings/RE00000000000000000000000000000001?";
    let end = "parent RecordingSid=RE00000000000000000000000000000001 RecordingUrl=https://api.twilio.com/1";
    for (text, expires) in [
        (
            "RE1 in-progress @1000; RE1 @7000; parent @9000; RE1 @9500".to_owned(),
            86_407,
        ),
        (format!("{end} @3000; RE1 @8000"), 86_403),
        (format!("{end} @4000; {end} @5000"), 86_404),
    ] {
        let case = linking(legs(&text), "made-up");
        let mut reversed = case.clone();
        reversed.known.reverse();
        for case in [case, reversed] {
            let url = case.end().recording_url.expect("a link");
            assert!(url.starts_with(link), "{url}");
            assert!(url.contains(&format!("&expires={expires}&")), "{url}");
        }
    }
}

#[test]
fn a_recording_without_a_sid_has_no_link() {
    let case = legs("parent RecordingUrl=https://api.twilio.com/1");
    assert_eq!(linking(case, "made-up").end().recording_url, None);
}

#[test]
fn a_link_with_another_secret_is_no_late_recording() {
    let sent = linking(legs("parent; RE1"), "old").answered(|_| ());
    let case = linking(sent, "new");
    assert!(case.plan(NOW).late_recordings().is_empty());
    let case = case.and("RE2 RecordingDuration=9; RE3 absent; RE4 RecordingDuration=1");
    assert_eq!(case.plan(NOW).late_recordings(), [2, 4]);
}
