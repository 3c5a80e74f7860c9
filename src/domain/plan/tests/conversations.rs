//! The conversations of a session that dials one after another.

use super::*;

/// A call of a softphone.
fn session(children: &str) -> Case {
    one_call("parent From=client:jane To=").and(children)
}

/// The legs that are sent, if Acquire accepts everything.
fn sent(case: &Case) -> String {
    let mut steps = case.steps(NOW);
    steps.pop();
    let legs = steps.iter().map(|step| step.replace("call-end ", ""));
    legs.collect::<Vec<_>>().join(" ")
}

/// Why nothing is sent of the other legs, once Acquire has accepted everything.
fn others(case: &Case) -> Vec<String> {
    let mut case = case.clone();
    while matches!(case.next(NOW), Next::Send(_)) {
        case = case.answered(|_| ());
    }
    let plan = case.plan(NOW);
    let others = plan.items().filter_map(|item| match item {
        PlanItem::Nothing(_, why) => Some(named(why)),
        _ => None,
    });
    others.collect()
}

#[test]
fn each_conversation_that_does_not_overlap_the_one_before_is_a_call() {
    for (children, expected) in [
        ("child 5-65", "child"),
        ("child 5-65; second 80-90", "child second"),
        ("second 5-65; child 80-90", "second child"),
        // Whole seconds: the answer of the second is no earlier than the end of the first.
        ("child 5-65; second 64-90", "child second"),
        ("child 5-65; second 50-90", "child"),
        ("second 5-65; child 50-60", "second"),
        // The third joined the second, who had joined the first.
        ("child 5-65; second 50-90; third 80-99", "child"),
        ("child 5-65; second 50-90; third 95-99", "child third"),
        // An agent who joined is not the call, even if answered first.
        ("child 5-65 To=client:bob; second 50-90", "second"),
        ("child 5-65; second 50-90 To=client:bob", "child"),
        (
            "child 5-65 To=client:bob; second 80-90 To=client:eve",
            "child second",
        ),
    ] {
        let case = session(children);
        assert_eq!(sent(&case), expected, "{children}");
        let others = others(&case);
        let unsent = case.known.len() - expected.split(' ').count();
        assert_eq!(
            others.len(),
            unsent,
            "each other leg has a reason: {others:?}"
        );
    }
}

#[test]
fn a_leg_that_is_not_reported_has_its_reason() {
    let apart = "child 5-65; second 80-90; third busy";
    for (children, leg, why) in [
        (
            apart,
            "parent",
            "legs child, second are the calls that it made",
        ),
        (apart, "third", "it was not answered, and another leg was"),
        (
            "child 5-65; second 50-90",
            "second",
            "leg child is the call",
        ),
    ] {
        let why = format!("leg {leg} has no call-end of its own: {why}");
        let others = others(&session(children));
        assert!(
            others.iter().any(|other| other.starts_with(&why)),
            "{others:?}"
        );
    }
}

#[test]
fn each_conversation_stays_the_leg_that_was_tried_first() {
    let three = "child 5-20; second 40-60; third 10-50";
    for (children, tried, expected) in [
        // A leg that was answered earlier becomes known after the other was tried.
        ("child 50-65; second 5-90", "child again:1", "child"),
        ("child 50-65; second 5-40", "child again:1", "second child"),
        // A third leg shows that two legs that were tried are one conversation: it has one end.
        (three, "second again:1; child accepted", ""),
        (three, "second again:1; child again:1", "second"),
        // An unanswered leg was sent, and then an answered one becomes known.
        ("child busy; second 40-60", "child accepted", "second"),
    ] {
        let found = sent(&session(children).tried(tried));
        assert_eq!(found, expected, "{children} {tried}");
    }
}

#[test]
fn a_conversation_that_becomes_known_later_waits_like_the_first() {
    check(
        session,
        "child 5-65; second 80-90; third ringing | child again:1  | 1ms: call-end child
         child 5-65; second 80-90; third ringing | child accepted | 1ms: wait 14400000
         child 5-65; second 80-90; third ringing | child accepted | 14400000ms: call-end second",
    );
}

#[test]
fn a_recording_of_the_session_goes_to_the_conversation_that_it_is_of() {
    let two = session("child 5-65; second 80-200");
    for (recordings, expected) in [
        ("RE1 5-65", ["RE1", ""]),
        ("RE1 80-200", ["", "RE1"]),
        ("RE2 80-200; RE1 3-65", ["RE1", "RE2"]),
        // From the ringing on.
        ("RE1 65-200", ["", "RE1"]),
        // A part of a conversation.
        ("RE1 190-199", ["", "RE1"]),
        ("RE1 6-9", ["RE1", ""]),
        ("RE1 0-205", ["RE1", "RE1"]),
        ("RE1", ["RE1", "RE1"]),
        ("RE1 CallSid=second", ["", "RE1"]),
    ] {
        let requests = two.clone().and(recordings).requests();
        let urls = requests.iter().map(|planned| {
            let url = planned.request.message.recording_url().unwrap_or_default();
            let name = url.replace("https://api.twilio.com/", "");
            name.replace(&"0".repeat(31), "")
        });
        assert_eq!(urls.collect::<Vec<_>>(), expected, "{recordings}");
    }
    let announced = two.and("RE1 in-progress RecordingStartTime=79");
    assert_eq!(announced.step(5_000), "call-end child");
    assert_eq!(announced.tried("child accepted").step(5_000), "wait 120000");
}

#[test]
fn a_recording_of_the_whole_session_that_is_under_way_is_waited_for_by_each_conversation() {
    let two = "child 5-65; second 80-200; RE1 in-progress RecordingStartTime=5";
    let taken = session(two).tried("child accepted");
    assert_eq!(taken.step(5_000), "wait 120000");
    let whole = taken.and("RE1 5-200");
    assert!(whole.end_at(5_000).recording_url.is_some());
}

#[test]
fn a_conversation_between_agents_is_sent_although_no_customers_leg_ends() {
    let bob = "child 5-65 To=client:bob";
    let dialled = session(&format!("{bob}; second ringing"));
    assert_eq!(dialled.step(WAITED), "call-end child");
    // Its end comes after the customer's leg was sent.
    let both = session(&format!("second 80-90; {bob}")).tried("second accepted");
    assert_eq!(both.step(1), "wait 5000");
    assert_eq!(both.step(5_000), "call-end child");
}

#[test]
fn a_leg_of_an_agent_is_outgoing_if_that_is_all_that_ended() {
    for (text, leg) in [
        (
            "parent From=sip:jane@voice.example.com To=sip:+13125550142@voice.example.com; \
             child in-progress",
            "parent",
        ),
        (
            "parent in-progress Direction=outbound-api From=+14045550199 To=+12025550123; \
             child From=+14045550199 To=client:jane",
            "child",
        ),
    ] {
        let end = one_call(text).end_at(WAITED);
        let outgoing = acquire::Direction::Outgoing;
        assert_eq!((end.call_id, end.direction), (sid(leg), outgoing));
    }
}

#[test]
fn of_unanswered_legs_without_timestamps_the_last_that_came_is_the_last() {
    for (first, last) in [("child", "second"), ("second", "child")] {
        let case = session(&format!("{last} busy @2000; {first} busy @1000"));
        assert_eq!(case.end().call_id, sid(last));
    }
}

#[test]
fn two_agents_of_a_caller_without_a_reported_leg_are_one_call() {
    let agents = one_call("child 5-65 To=client:jane; second 80-90 To=client:bob");
    assert_eq!(agents.tried("child accepted").step(WAITED), "delivered");
}

#[test]
fn a_chain_that_is_joined_after_a_leg_was_tried_has_one_end() {
    let joined = "third ParentCallSid=second To=client:jane; \
                  second ParentCallSid=child To=client:bob; \
                  child ParentCallSid=other To=client:eve";
    let root = "other ParentCallSid= Direction=inbound To=+14045550199";
    for text in [joined.to_owned(), format!("{joined}; {root}")] {
        for (tried, expected) in [
            ("third accepted", ""),
            // The calls of both legs were tried before they were joined.
            ("child again:1; third accepted", ""),
            ("third accepted; other again:1", ""),
            ("third again:1; child again:1", "third"),
        ] {
            assert_eq!(
                sent(&one_call(&text).tried(tried)),
                expected,
                "{text} {tried}"
            );
        }
    }
}

#[test]
fn a_requeued_call_stays_its_leg_and_its_mode_and_follows_the_current_settings() {
    let accepted = one_call("child To=client:jane; parent").tried("child accepted");
    let by_leg = |case: Case| case.with(|rules| rules.legs.report = ReportMode::Legs);
    let requeued = accepted
        .clone()
        .directory("default=calls@example.com")
        .requeued();
    let again = requeued.end();
    assert_eq!(again.call_id, sid("child"));
    assert_eq!(again.email.as_deref(), Some("calls@example.com"));
    assert_eq!(requeued.tried("child accepted").step(NOW), "delivered");

    // A change of calls.report makes no second record of a call of which something was sent.
    assert_eq!(by_leg(accepted).step(NOW), "delivered");
    let tried = legs("child To=client:jane; parent").tried("child accepted");
    assert_eq!(tried.step(NOW), "call-end parent");
}
