//! The conversations of a session that dials one after another.

use super::whole::{at, one_call, recording};
use super::*;

const SECOND_CHILD: &str = "CA00000000000000000000000000000003";
const THIRD_CHILD: &str = "CA00000000000000000000000000000004";

/// The end of a leg that was answered at `from` and ended at `to`, in seconds.
fn talk(leg: &str, from: u32, to: u32) -> Callback {
    talk_with("+13125550142", leg, from, to)
}

fn talk_with(callee: &str, leg: &str, from: u32, to: u32) -> Callback {
    child(&[
        ("CallSid", leg),
        ("To", callee),
        ("Timestamp", &time(to)),
        ("CallDuration", &(to - from).to_string()),
    ])
}

fn time(second: u32) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!("Thu, 01 Jan 2026 00:{minute:02}:{second:02} +0000")
}

fn softphone() -> Callback {
    callback(&[("From", "client:jane"), ("To", "")])
}

/// The legs that are sent after `attempts`, if Acquire accepts everything, and what the plan says last.
fn delivered(known: &[Callback], mut attempts: Vec<Attempt>) -> (Vec<String>, String) {
    let mut legs = Vec::new();
    loop {
        let received = received(known);
        let plan = Plan::of(&received, History::of(&attempts), &one_call(), NOW);
        let Next::Send(request) = plan.next() else {
            let nothing = plan.items().filter_map(|item| match item {
                PlanItem::Nothing(_, why) => Some(why.as_str()),
                _ => None,
            });
            return (legs, nothing.collect::<Vec<_>>().join("\n"));
        };
        legs.push(request.leg.to_string());
        attempts.push(Attempt {
            kind: request.message.kind(),
            sent: request.message.to_json(),
            ..attempt(request.leg.as_str(), Verdict::Accepted)
        });
    }
}

#[test]
fn each_conversation_that_does_not_overlap_the_one_before_is_a_call() {
    let (a, b, c) = (CHILD, SECOND_CHILD, THIRD_CHILD);
    for (legs, expected) in [
        (vec![talk(a, 5, 65)], vec![a]),
        (vec![talk(a, 5, 65), talk(b, 80, 90)], vec![a, b]),
        (vec![talk(b, 5, 65), talk(a, 80, 90)], vec![b, a]),
        // Whole seconds: the answer of the second is no earlier than the end of the first.
        (vec![talk(a, 5, 65), talk(b, 64, 90)], vec![a, b]),
        (vec![talk(a, 5, 65), talk(b, 50, 90)], vec![a]),
        (vec![talk(b, 5, 65), talk(a, 50, 60)], vec![b]),
        // The third joined the second, who had joined the first.
        (
            vec![talk(a, 5, 65), talk(b, 50, 90), talk(c, 80, 99)],
            vec![a],
        ),
        (
            vec![talk(a, 5, 65), talk(b, 50, 90), talk(c, 95, 99)],
            vec![a, c],
        ),
        // An agent who joined is not the call, even if answered first.
        (
            vec![talk_with("client:bob", a, 5, 65), talk(b, 50, 90)],
            vec![b],
        ),
        (
            vec![talk(a, 5, 65), talk_with("client:bob", b, 50, 90)],
            vec![a],
        ),
        (
            vec![
                talk_with("client:bob", a, 5, 65),
                talk_with("client:eve", b, 80, 90),
            ],
            vec![a, b],
        ),
    ] {
        let known = [&legs[..], &[softphone()]].concat();
        let (sent, why) = delivered(&known, Vec::new());
        assert_eq!(sent, expected, "{legs:?}");
        assert_eq!(
            why.lines().count(),
            known.len() - expected.len(),
            "each other leg has a reason: {why}"
        );
    }
}

#[test]
fn a_leg_that_is_not_reported_has_its_reason() {
    let busy = child(&[("CallSid", THIRD_CHILD), ("CallStatus", "busy")]);
    let known = [
        talk(CHILD, 5, 65),
        talk(SECOND_CHILD, 80, 90),
        busy,
        softphone(),
    ];
    let (_, why) = delivered(&known, Vec::new());
    let of = |leg| format!("leg {leg} has no call-end of its own: ");
    let root = format!(
        "{}legs {CHILD}, {SECOND_CHILD} are the calls that it made",
        of(PARENT)
    );
    assert!(why.contains(&root), "{why}");
    let unanswered = format!(
        "{}it was not answered, and another leg was",
        of(THIRD_CHILD)
    );
    assert!(why.contains(&unanswered), "{why}");

    let joined = [talk(CHILD, 5, 65), talk(SECOND_CHILD, 50, 90), softphone()];
    let (_, why) = delivered(&joined, Vec::new());
    let joined = format!("{}leg {CHILD} is the call", of(SECOND_CHILD));
    assert!(why.contains(&joined), "{why}");
}

#[test]
fn each_conversation_stays_the_leg_that_was_tried_first() {
    let failed = |leg| attempt(leg, Verdict::Again(Millis(1)));
    let first = [talk(CHILD, 50, 65), softphone()];
    // A leg that was answered earlier becomes known after the other was tried.
    let joined = [&first[..], &[talk(SECOND_CHILD, 5, 90)]].concat();
    let (sent, _) = delivered(&joined, vec![failed(CHILD)]);
    assert_eq!(sent, [CHILD]);
    let before = [&first[..], &[talk(SECOND_CHILD, 5, 40)]].concat();
    let (sent, _) = delivered(&before, vec![failed(CHILD)]);
    assert_eq!(sent, [SECOND_CHILD, CHILD]);
    // A third leg shows that two legs that were tried are one conversation: it has one end.
    let two = [talk(CHILD, 5, 20), talk(SECOND_CHILD, 40, 60), softphone()];
    let three = [&two[..], &[talk(THIRD_CHILD, 10, 50)]].concat();
    let tried = vec![failed(SECOND_CHILD), attempt(CHILD, Verdict::Accepted)];
    assert_eq!(delivered(&three, tried).0, [""; 0]);
    let tried = vec![failed(SECOND_CHILD), failed(CHILD)];
    assert_eq!(delivered(&three, tried).0, [SECOND_CHILD]);
    // An unanswered leg was sent, and then an answered one becomes known.
    let busy = child(&[("CallStatus", "busy")]);
    let late = [busy, talk(SECOND_CHILD, 40, 60), softphone()];
    let (sent, _) = delivered(&late, vec![attempt(CHILD, Verdict::Accepted)]);
    assert_eq!(sent, [SECOND_CHILD]);
}

#[test]
fn a_conversation_that_becomes_known_later_waits_like_the_first() {
    let known = [
        talk(CHILD, 5, 65),
        softphone(),
        talk(SECOND_CHILD, 80, 90),
        child(&[("CallSid", THIRD_CHILD), ("CallStatus", "ringing")]),
    ];
    let next = |attempts: &[Attempt], now| {
        let received = received(&known);
        plan(&received, attempts, &one_call(), Millis(now))
    };
    let failed = [attempt(CHILD, Verdict::Again(Millis(1)))];
    assert_eq!(sent(next(&failed, 1)).call_id, CHILD);
    let accepted = [attempt(CHILD, Verdict::Accepted)];
    let until = Millis::default().plus(one_call().legs.wait);
    assert_eq!(next(&accepted, 1), Next::Wait(until));
    assert_eq!(sent(next(&accepted, until.0)).call_id, SECOND_CHILD);
}

#[test]
fn a_recording_of_the_session_goes_to_the_conversation_that_it_is_of() {
    let two = [talk(CHILD, 5, 65), talk(SECOND_CHILD, 80, 200), softphone()];
    let made = |sid, from, seconds: &str| {
        let start = time(from);
        let changes = [
            ("RecordingStartTime", &*start),
            ("RecordingDuration", seconds),
        ];
        recording(sid, "completed", &changes)
    };
    for (recordings, expected) in [
        (vec![made(1, 5, "60")], [Some(1), None]),
        (vec![made(1, 80, "120")], [None, Some(1)]),
        (
            vec![made(2, 80, "120"), made(1, 3, "62")],
            [Some(1), Some(2)],
        ),
        // From the ringing on.
        (vec![made(1, 65, "135")], [None, Some(1)]),
        // A part of a conversation.
        (vec![made(1, 190, "9")], [None, Some(1)]),
        (vec![made(1, 6, "3")], [Some(1), None]),
        (vec![made(1, 0, "205")], [Some(1), Some(1)]),
        (vec![recording(1, "completed", &[])], [Some(1), Some(1)]),
        (
            vec![recording(1, "completed", &[("CallSid", SECOND_CHILD)])],
            [None, Some(1)],
        ),
    ] {
        let known = [&two[..], &recordings].concat();
        let received = received(&known);
        let plan = Plan::of(&received, History::default(), &one_call(), NOW);
        let urls = plan.items().filter_map(|item| match item {
            PlanItem::Send(planned) => match &planned.request.message {
                AcquireMessage::CallEnd(end) => Some(end.recording_url.clone()),
                _ => None,
            },
            _ => None,
        });
        let expected = expected.map(|sid| {
            let sid: u8 = sid?;
            Some(format!("https://api.twilio.com/RE{sid:032}"))
        });
        assert_eq!(urls.collect::<Vec<_>>(), expected, "{recordings:?}");
    }
    let announced = recording(1, "in-progress", &[("RecordingStartTime", &time(79))]);
    let known = [&two[..], &[announced]].concat();
    assert_eq!(sent(at(5_000, &known, &one_call())).call_id, CHILD);
    let taken = [attempt(CHILD, Verdict::Accepted)];
    let next = plan(&received(&known), &taken, &one_call(), Millis(5_000));
    assert_eq!(next, Next::Wait(Millis(120_000)));
}

#[test]
fn a_recording_of_the_whole_session_that_is_under_way_is_waited_for_by_each_conversation() {
    let start = ("RecordingStartTime", &*time(5));
    let announced = recording(1, "in-progress", &[start]);
    let known = [
        talk(CHILD, 5, 65),
        talk(SECOND_CHILD, 80, 200),
        softphone(),
        announced,
    ];
    let taken = [attempt(CHILD, Verdict::Accepted)];
    let next = plan(&received(&known), &taken, &one_call(), Millis(5_000));
    assert_eq!(next, Next::Wait(Millis(120_000)));
    let whole = recording(1, "completed", &[start, ("RecordingDuration", "195")]);
    let known = received(&[&known[..], &[whole]].concat());
    let end = sent(plan(&known, &taken, &one_call(), Millis(5_000)));
    assert!(end.recording_url.is_some());
}

#[test]
fn a_conversation_between_agents_is_sent_although_no_customers_leg_ends() {
    let dialled = child(&[("CallSid", SECOND_CHILD), ("CallStatus", "ringing")]);
    let bob = talk_with("client:bob", CHILD, 5, 65);
    let known = [softphone(), bob.clone(), dialled];
    let wait = Millis::default().plus(one_call().legs.wait);
    assert_eq!(sent(at(wait.0, &known, &one_call())).call_id, CHILD);
    // Its end comes after the customer's leg was sent.
    let sent_before = [attempt(SECOND_CHILD, Verdict::Accepted)];
    let known = received(&[softphone(), talk(SECOND_CHILD, 80, 90), bob]);
    let next = |now| plan(&known, &sent_before, &one_call(), Millis(now));
    assert_eq!(next(1), Next::Wait(Millis(5_000)));
    assert_eq!(sent(next(5_000)).call_id, CHILD);
}

#[test]
fn a_sip_phones_leg_is_outgoing_if_that_is_all_that_ended() {
    let phone = ("From", "sip:jane@voice.example.com");
    let root = callback(&[phone, ("To", "sip:+13125550142@voice.example.com")]);
    let known = [root, child(&[("CallStatus", "in-progress")])];
    let wait = Millis::default().plus(one_call().legs.wait);
    let end = sent(at(wait.0, &known, &one_call()));
    let outgoing = acquire::Direction::Outgoing;
    assert_eq!((&*end.call_id, end.direction), (PARENT, outgoing));
}

#[test]
fn an_agent_who_was_dialled_for_a_customer_whom_the_api_called_is_outgoing() {
    let api = callback(&[
        ("Direction", "outbound-api"),
        ("CallStatus", "in-progress"),
        ("From", "+14045550199"),
        ("To", "+12025550123"),
    ]);
    let known = [
        api,
        child(&[("From", "+14045550199"), ("To", "client:jane")]),
    ];
    let wait = Millis::default().plus(one_call().legs.wait);
    let end = sent(at(wait.0, &known, &one_call()));
    let outgoing = acquire::Direction::Outgoing;
    assert_eq!((&*end.call_id, end.direction), (CHILD, outgoing));
}

#[test]
fn of_unanswered_legs_without_timestamps_the_last_that_came_is_the_last() {
    let busy = |sid, at| ReceivedCallback {
        at: Millis(at),
        callback: child(&[("CallSid", sid), ("CallStatus", "busy")]),
    };
    let root = || received(&[softphone()]).remove(0);
    for (first, last) in [(CHILD, SECOND_CHILD), (SECOND_CHILD, CHILD)] {
        let known = [busy(last, 2_000), busy(first, 1_000), root()];
        let end = sent(plan(&known, &[], &one_call(), NOW));
        assert_eq!(end.call_id, last);
    }
}

#[test]
fn two_agents_of_a_caller_without_a_reported_leg_are_one_call() {
    let agents = [
        talk_with("client:jane", CHILD, 5, 65),
        talk_with("client:bob", SECOND_CHILD, 80, 90),
    ];
    let known = received(&agents);
    let wait = Millis::default().plus(one_call().legs.wait);
    let accepted = [attempt(CHILD, Verdict::Accepted)];
    assert_eq!(plan(&known, &accepted, &one_call(), wait), Next::Delivered);
}

#[test]
fn a_chain_that_is_joined_after_a_leg_was_tried_has_one_end() {
    let first = "CA00000000000000000000000000000009";
    let link = |leg, parent, to| {
        let fields = [("CallSid", leg), ("ParentCallSid", parent), ("To", to)];
        child(&fields)
    };
    let last = link(THIRD_CHILD, SECOND_CHILD, "client:jane");
    let joined = [
        last.clone(),
        link(SECOND_CHILD, CHILD, "client:bob"),
        link(CHILD, first, "client:eve"),
    ];
    let ended = [&joined[..], &[callback(&[("CallSid", first)])]].concat();
    let accepted = attempt(THIRD_CHILD, Verdict::Accepted);
    let failed = |leg| attempt(leg, Verdict::Again(Millis(1)));
    for known in [&joined[..], &ended] {
        for attempts in [
            vec![accepted.clone()],
            // The calls of both legs were tried before they were joined.
            vec![failed(CHILD), accepted.clone()],
            vec![accepted.clone(), failed(first)],
        ] {
            let (sent, why) = delivered(known, attempts);
            assert_eq!(sent, [""; 0], "{why}");
        }
        let (sent, _) = delivered(known, vec![failed(THIRD_CHILD), failed(CHILD)]);
        assert_eq!(sent, [THIRD_CHILD]);
    }
}

#[test]
fn a_requeued_call_stays_its_leg_and_its_mode_and_follows_the_current_settings() {
    let child_alone = [child(&[("To", "client:jane")])];
    let known = received(&[child_alone[0].clone(), callback(&[])]);
    let before = [attempt(CHILD, Verdict::Accepted)];
    let next = |attempts: &[Attempt], before_requeue, report, rules: &Rules| {
        let history = History {
            attempts,
            before_requeue,
            report,
        };
        Plan::of(&known, history, rules, NOW).next().clone()
    };
    let mut rules = one_call();
    rules.directory.default = Some("calls@example.com".to_owned());
    let again = sent(next(&before, 1, Some(ReportMode::Call), &rules));
    assert_eq!(again.call_id, CHILD);
    assert_eq!(again.email.as_deref(), Some("calls@example.com"));
    let twice = [before[0].clone(), before[0].clone()];
    let report = Some(ReportMode::Call);
    assert_eq!(next(&twice, 1, report, &rules), Next::Delivered);

    // A change of calls.report makes no second record of a call of which something was sent.
    rules.legs.report = ReportMode::Legs;
    assert_eq!(next(&before, 0, report, &rules), Next::Delivered);
    assert_eq!(sent(next(&before, 0, None, &rules)).call_id, PARENT);
    let of_legs = Some(ReportMode::Legs);
    assert_eq!(sent(next(&before, 0, of_legs, &one_call())).call_id, PARENT);
}
