//! Later callbacks do not contradict sent requests.

use super::*;

/// With an attempt of the request that is due, which failed.
fn failed(case: Case, status: Option<u16>, fault: DeliveryFault) -> Case {
    case.answered(|attempt| {
        attempt.verdict = Verdict::Again(Millis(NOW));
        (attempt.status, attempt.fault) = (status, Some(fault));
    })
}

#[test]
fn an_end_that_may_have_been_accepted_is_repeated_as_it_was_sent() {
    let first = one_call("parent SequenceNumber=3");
    let later = "parent failed SequenceNumber=2; child busy; RE1";
    for (status, fault, may_have_been_accepted) in [
        (None, DeliveryFault::TimeOut, true),
        (None, DeliveryFault::Reset, true),
        (Some(200), DeliveryFault::Unreadable, true),
        (Some(200), DeliveryFault::SuccessFalse, true),
        (Some(500), DeliveryFault::Busy, true),
        (Some(504), DeliveryFault::Busy, true),
        (Some(503), DeliveryFault::Busy, false),
        (Some(429), DeliveryFault::Busy, false),
        (Some(404), DeliveryFault::Configuration, false),
        (None, DeliveryFault::Connect, false),
        (None, DeliveryFault::Dns, false),
        (None, DeliveryFault::Tls, false),
    ] {
        let again = failed(first.clone(), status, fault).and(later).end();
        if may_have_been_accepted {
            assert_eq!(again, first.end(), "{fault}");
        } else {
            assert_eq!(again.call_status, acquire::CallStatus::Failed, "{fault}");
            assert!(again.recording_url.is_some(), "{fault}");
        }
    }
}

#[test]
fn an_end_is_repeated_as_first_tried_whatever_failed_since() {
    use DeliveryFault::{Connect, TimeOut};
    for faults in [[TimeOut, Connect], [Connect, TimeOut]] {
        let tried = faults
            .into_iter()
            .fold(one_call("parent"), |case, fault| failed(case, None, fault));
        assert_eq!(tried.and("RE1").end().recording_url, None);
    }
}

#[test]
fn a_recording_that_came_between_two_tries_of_a_doubtful_end_is_late() {
    let tried = failed(one_call("parent"), None, DeliveryFault::TimeOut);
    let taken = tried.answered(|attempt| attempt.verdict = Verdict::AcceptedAsRepeat);
    let known = taken.and("RE1");
    assert_eq!(known.step(NOW), "delivered");
    let resent = known.with(|rules| rules.recordings.late = LateRecording::Resend);
    assert_eq!(resent.step(NOW), "call-end-again parent");
}

#[test]
fn an_accepted_request_is_shown_as_it_was_sent() {
    let taken = one_call("parent SequenceNumber=3").answered(|_| ());
    let requests = taken
        .clone()
        .and("parent failed SequenceNumber=2")
        .requests();
    let [due] = &requests[..] else {
        panic!("one end: {requests:?}");
    };
    assert_eq!(due.request.message.to_json(), taken.attempts[0].sent);
    let [because] = &due.reasons[..] else {
        panic!("one reason: {:?}", due.reasons);
    };
    assert!(because.why.contains("sent as shown"));
}

#[test]
fn an_event_that_may_have_been_accepted_is_repeated_as_it_was_sent() {
    let ringing =
        one_call("parent ringing To=+14045550111").with(|rules| rules.events.ringing = Forward::On);
    let first = ringing.next(NOW);
    let now_another = "parent in-progress";
    assert_ne!(ringing.clone().and(now_another).next(NOW), first);
    let tried = failed(ringing, None, DeliveryFault::TimeOut);
    assert_eq!(tried.and(now_another).next(NOW), first);
}

#[test]
fn a_first_leg_without_callbacks_is_waited_for() {
    let missed = one_call("child no-answer To=client:jane Timestamp=1");
    assert_eq!(missed.step(NOW), format!("wait {WAITED}"));
    let end = missed.and("second Timestamp=9; parent").end();
    assert_eq!(end.call_id, sid("parent"));
    assert_eq!(end.call_status, acquire::CallStatus::Completed);
}

#[test]
fn a_party_that_the_api_calls_first_is_not_reported_as_the_call() {
    for (text, expected) in [
        (
            "parent ringing Direction=outbound-api To=client:jane",
            &[][..],
        ),
        (
            "parent ringing Direction=outbound-api To=+14045550142",
            &["call-ringing parent"],
        ),
        (
            "parent in-progress Direction=outbound-api To=client:jane; child in-progress",
            &["call-answered child"],
        ),
    ] {
        let case = one_call(text).directory("default=calls@example.com");
        let mut steps = case.with(|rules| rules.events = ALL_EVENTS).steps(0);
        steps.pop();
        assert_eq!(steps, expected, "{text}");
    }
}

#[test]
fn a_recording_that_only_an_app_names_is_neither_sent_nor_waited_for() {
    let url = "RecordingUrl=https://evil.example.com/9";
    let of_app = "parent From=client:jane RecordingSid=RE00000000000000000000000000000009";
    let with_url = format!("{of_app} {url}");
    for text in [of_app, &with_url] {
        for case in modes(text) {
            assert_eq!(case.end().recording_url, None);
        }
    }
    for case in modes(&with_url) {
        let always = case.with(|rules| rules.recordings.expect = RecordingExpectation::Always);
        assert!(always.step(0).starts_with("wait"));
    }
    // The leg of a phone that was created with Record=true names its own.
    for case in modes(&format!("parent {url}")) {
        assert!(case.end().recording_url.is_some());
    }
}

#[test]
fn a_presigned_url_that_expired_since_it_was_sent_is_left_out_of_the_retry() {
    let url = "https://bucket.example.com/RE1?Expires=2000&Signature=a";
    let case = one_call(&format!("parent; RE1 RecordingUrl={url}"));
    let expired = 2_000_000;
    assert_eq!(case.end_at(expired).recording_url, None);
    for fault in [DeliveryFault::TimeOut, DeliveryFault::Connect] {
        let tried = failed(case.clone(), None, fault);
        let before = tried.end_at(expired - 1).recording_url;
        assert_eq!(before.as_deref(), Some(url));
        assert_eq!(tried.end_at(expired).recording_url, None, "{fault}");
    }
}
