//! Later callbacks do not contradict sent requests.

use super::whole::{one_call, recording};
use super::*;
use crate::acquire::DeliveryFault;

const SECOND_CHILD: &str = "CA00000000000000000000000000000003";

/// A try of the request that is due, which failed by `fault`.
fn failed(next: Next, status: Option<u16>, fault: DeliveryFault) -> Attempt {
    let Next::Send(request) = next else {
        panic!("nothing is sent: {next:?}");
    };
    Attempt {
        kind: request.message.kind(),
        sent: request.message.to_json(),
        status,
        fault: Some(fault),
        ..attempt(request.leg.as_str(), Verdict::Again(NOW))
    }
}

fn settled(known: &[Callback], attempts: &[Attempt]) -> Next {
    plan(&received(known), attempts, &one_call(), NOW)
}

#[test]
fn an_end_that_may_have_been_accepted_is_repeated_as_it_was_sent() {
    let first = [callback(&[("SequenceNumber", "3")])];
    let reported_later = [
        callback(&[("SequenceNumber", "2"), ("CallStatus", "failed")]),
        child(&[("CallStatus", "busy")]),
        recording(1, "completed", &[]),
    ];
    let all = [&first[..], &reported_later].concat();
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
        let tried = failed(settled(&first, &[]), status, fault);
        let again = sent(settled(&all, std::slice::from_ref(&tried)));
        if may_have_been_accepted {
            assert_eq!(again, sent(settled(&first, &[])), "{fault}");
        } else {
            assert_eq!(again.call_status, acquire::CallStatus::Failed, "{fault}");
            assert!(again.recording_url.is_some(), "{fault}");
        }
    }
}

#[test]
fn an_end_is_repeated_as_first_tried_whatever_failed_since() {
    let first = [callback(&[])];
    let known = [&first[..], &[recording(1, "completed", &[])]].concat();
    let perhaps = failed(settled(&first, &[]), None, DeliveryFault::TimeOut);
    let refused = Attempt {
        fault: Some(DeliveryFault::Connect),
        ..perhaps.clone()
    };
    for attempts in [
        vec![perhaps.clone(), refused.clone()],
        vec![refused, perhaps],
    ] {
        assert_eq!(sent(settled(&known, &attempts)).recording_url, None);
    }
}

#[test]
fn a_recording_that_came_between_two_tries_of_a_doubtful_end_is_late() {
    let first = [callback(&[])];
    let known = [&first[..], &[recording(1, "completed", &[])]].concat();
    let perhaps = failed(settled(&first, &[]), None, DeliveryFault::TimeOut);
    let taken = Attempt {
        verdict: Verdict::AcceptedAsRepeat,
        fault: None,
        ..perhaps.clone()
    };
    let mut rules = one_call();
    let attempts = [perhaps, taken];
    let next = |rules: &Rules| plan(&received(&known), &attempts, rules, NOW);
    assert_eq!(next(&rules), Next::Delivered);
    rules.recordings.late = LateRecording::Resend;
    let Next::Send(request) = next(&rules) else {
        panic!("the recording is sent");
    };
    assert_eq!(request.message.kind(), RequestKind::CallEndAgain);
}

#[test]
fn an_accepted_request_is_shown_as_it_was_sent() {
    let first = [callback(&[("SequenceNumber", "3")])];
    let failed_before = callback(&[("SequenceNumber", "2"), ("CallStatus", "failed")]);
    let taken = Attempt {
        verdict: Verdict::Accepted,
        fault: None,
        ..failed(settled(&first, &[]), Some(200), DeliveryFault::Busy)
    };
    let known = received(&[&first[..], &[failed_before]].concat());
    let plan = Plan::of(
        &known,
        History::of(std::slice::from_ref(&taken)),
        &one_call(),
        NOW,
    );
    let items: Vec<_> = plan.items().collect();
    let [PlanItem::Send(due)] = &items[..] else {
        panic!("one end: {items:?}");
    };
    assert_eq!(due.request.message.to_json(), taken.sent);
    let [because] = &due.reasons[..] else {
        panic!("one reason: {:?}", due.reasons);
    };
    assert!(because.why.contains("sent as shown"));
}

#[test]
fn an_event_that_may_have_been_accepted_is_repeated_as_it_was_sent() {
    let mut rules = one_call();
    rules.events.ringing = Forward::On;
    let ringing = [callback(&[
        ("CallStatus", "ringing"),
        ("To", "+14045550111"),
    ])];
    let now_another = callback(&[("CallStatus", "in-progress")]);
    let next =
        |known: &[Callback], attempts: &[Attempt]| plan(&received(known), attempts, &rules, NOW);
    let first = next(&ringing, &[]);
    let tried = failed(first.clone(), None, DeliveryFault::TimeOut);
    let known = [&ringing[..], &[now_another]].concat();
    assert_ne!(next(&known, &[]), first);
    assert_eq!(next(&known, &[tried]), first);
}

#[test]
fn a_first_leg_without_callbacks_is_waited_for() {
    let wait = one_call().legs.wait;
    let missed = [child(&[
        ("CallStatus", "no-answer"),
        ("To", "client:jane"),
        ("Timestamp", "Thu, 01 Jan 2026 00:00:01 +0000"),
    ])];
    let until = Millis::default().plus(wait);
    assert_eq!(settled(&missed, &[]), Next::Wait(until));
    let taken = child(&[
        ("CallSid", SECOND_CHILD),
        ("Timestamp", "Thu, 01 Jan 2026 00:00:09 +0000"),
    ]);
    let known = [&missed[..], &[taken, callback(&[])]].concat();
    let end = sent(settled(&known, &[]));
    assert_eq!(end.call_id, PARENT);
    assert_eq!(end.call_status, acquire::CallStatus::Completed);
}

/// Of these callbacks the kinds and legs that go out at once, if Acquire takes everything.
fn events_of(known: &[Callback]) -> Vec<(RequestKind, String)> {
    let mut rules = one_call();
    rules.directory.default = Some("calls@example.com".to_owned());
    rules.events = EventRules {
        in_queue: Forward::On,
        ringing: Forward::On,
        answered: Forward::On,
    };
    let (mut attempts, mut reported) = (Vec::new(), Vec::new());
    while let Next::Send(request) = plan(&received(known), &attempts, &rules, Millis(0)) {
        reported.push((request.message.kind(), request.leg.to_string()));
        attempts.push(Attempt {
            kind: request.message.kind(),
            sent: request.message.to_json(),
            ..attempt(request.leg.as_str(), Verdict::Accepted)
        });
    }
    reported
}

#[test]
fn a_party_that_the_api_calls_first_is_not_reported_as_the_call() {
    let api = |status, to| {
        let to = [
            ("Direction", "outbound-api"),
            ("CallStatus", status),
            ("To", to),
        ];
        callback(&to)
    };
    assert_eq!(events_of(&[api("ringing", "client:jane")]), []);
    let customer = [(RequestKind::CallRinging, PARENT.to_owned())];
    assert_eq!(events_of(&[api("ringing", AGENT)]), customer);
    let dialled = child(&[("CallStatus", "in-progress")]);
    let known = [api("in-progress", "client:jane"), dialled];
    assert_eq!(
        events_of(&known),
        [(RequestKind::CallAnswered, CHILD.to_owned())]
    );
}

#[test]
fn a_recording_that_only_an_app_names_is_neither_sent_nor_waited_for() {
    let of_app = |changes: &[(&str, &str)]| {
        let named = [
            ("From", "client:jane"),
            ("RecordingSid", "RE00000000000000000000000000000009"),
        ];
        [callback(&[&named[..], changes].concat())]
    };
    let url = ("RecordingUrl", "https://evil.example.com/9");
    for rules in [Rules::default(), one_call()] {
        for known in [of_app(&[]), of_app(&[url])] {
            let end = sent(plan(&received(&known), &[], &rules, NOW));
            assert_eq!(end.recording_url, None);
        }
        let mut always = rules.clone();
        always.recordings.expect = RecordingExpectation::Always;
        let waits = plan(&received(&of_app(&[url])), &[], &always, Millis(0));
        assert!(matches!(waits, Next::Wait(_)), "{waits:?}");
        // The leg of a phone that was created with Record=true names its own.
        let of_twilio = [callback(&[url])];
        let end = sent(plan(&received(&of_twilio), &[], &rules, NOW));
        assert!(end.recording_url.is_some());
    }
}

#[test]
fn a_presigned_url_that_expired_since_it_was_sent_is_left_out_of_the_retry() {
    let url = "https://bucket.example.com/RE1?Expires=2000&Signature=a";
    let known = received(&[
        callback(&[]),
        recording(1, "completed", &[("RecordingUrl", url)]),
    ]);
    let end = |attempts: &[Attempt], now| plan(&known, attempts, &one_call(), now);
    let first = end(&[], NOW);
    assert_eq!(sent(first.clone()).recording_url.as_deref(), Some(url));
    let expired = Millis(2_000_000);
    assert_eq!(sent(end(&[], expired)).recording_url, None);
    for fault in [DeliveryFault::TimeOut, DeliveryFault::Connect] {
        let tried = [failed(first.clone(), None, fault)];
        assert_eq!(
            sent(end(&tried, Millis(1_999_999)))
                .recording_url
                .as_deref(),
            Some(url)
        );
        assert_eq!(sent(end(&tried, expired)).recording_url, None, "{fault}");
    }
}
