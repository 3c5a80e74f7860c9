//! The leg that was answered first, by the evidence that Twilio sends.

use super::whole::{one_call, recording};
use super::*;

const SECOND_CHILD: &str = "CA00000000000000000000000000000003";

/// The time in the first minute of a day, as Twilio writes it.
fn second(second: u8) -> String {
    format!("Thu, 01 Jan 2026 00:00:{second:02} +0000")
}

#[test]
fn the_leg_that_was_answered_first_gives_the_email() {
    let mut rules = one_call();
    let agents = [("client:jane", "jane"), ("client:bob", "bob")];
    let agents = agents.map(|(address, email)| (address.to_owned(), email.to_owned()));
    rules.directory.entries = agents.into_iter().collect();
    let of_jane = |changes: &[(&str, &str)]| child(&[&[("To", "client:jane")], changes].concat());
    let bob = [("CallSid", SECOND_CHILD), ("To", "client:bob")];
    let of_bob = |changes: &[(&str, &str)]| child(&[&bob, changes].concat());
    let (two, five, nine, thirty) = (&*second(2), &*second(5), &*second(9), &*second(30));
    let answered = ("CallStatus", "in-progress");
    // Jane answered first in each case, and her leg ended last.
    for (what, legs) in [
        (
            "only ends",
            vec![
                of_bob(&[("Timestamp", nine), ("CallDuration", "3")]),
                of_jane(&[("Timestamp", thirty), ("CallDuration", "28")]),
            ],
        ),
        (
            "the answer of Jane",
            vec![
                of_jane(&[answered, ("Timestamp", two)]),
                of_bob(&[("Timestamp", nine), ("CallDuration", "3")]),
                of_jane(&[("Timestamp", thirty), ("CallDuration", "")]),
            ],
        ),
        (
            "the answer of Bob",
            vec![
                of_bob(&[answered, ("Timestamp", five)]),
                of_bob(&[("Timestamp", nine), ("CallDuration", "9")]),
                of_jane(&[("Timestamp", thirty), ("CallDuration", "26")]),
            ],
        ),
        (
            "an answer without Timestamp",
            vec![
                of_jane(&[answered]),
                of_bob(&[("Timestamp", nine), ("CallDuration", "3")]),
                of_jane(&[("Timestamp", thirty), ("CallDuration", "28")]),
            ],
        ),
        (
            "an end of Bob without CallDuration",
            vec![
                of_bob(&[("Timestamp", nine), ("CallDuration", "")]),
                of_jane(&[("Timestamp", thirty), ("CallDuration", "28")]),
            ],
        ),
        (
            "no Timestamp at all",
            vec![
                of_bob(&[("CallDuration", "3")]),
                of_jane(&[("CallDuration", "28")]),
            ],
        ),
    ] {
        let known = [&legs[..], &[callback(&[])]].concat();
        let end = sent(plan(&received(&known), &[], &rules, NOW));
        assert_eq!(end.email.as_deref(), Some("jane"), "{what}");
    }
}

#[test]
fn an_impossible_call_duration_does_not_make_an_agent_the_first() {
    let mut rules = one_call();
    rules.directory.default = Some("nobody".to_owned());
    rules.directory.entries = [("client:jane".to_owned(), "jane".to_owned())].into();
    let (nine, thirty) = (&*second(9), &*second(30));
    for (of_jane, of_bob) in [
        ("28", "4294967290"),
        ("28", "1e300"),
        ("28", "-9"),
        ("28.9", "3"),
    ] {
        let bob = [
            ("CallSid", SECOND_CHILD),
            ("To", "client:bob"),
            ("Timestamp", nine),
        ];
        let jane = [("To", "client:jane"), ("Timestamp", thirty)];
        let known = [
            child(&[&bob[..], &[("CallDuration", of_bob)]].concat()),
            child(&[&jane[..], &[("CallDuration", of_jane)]].concat()),
            callback(&[]),
        ];
        let end = sent(plan(&received(&known), &[], &rules, NOW));
        assert_eq!(end.email.as_deref(), Some("jane"), "{of_jane} {of_bob}");
    }
}

#[test]
fn an_agent_whom_the_api_calls_from_a_softphone_address_gives_the_email() {
    let mut rules = one_call();
    let agents = [("client:jane", "jane"), ("client:dialer", "dialer")];
    let agents = agents.map(|(address, email)| (address.to_owned(), email.to_owned()));
    rules.directory.entries = agents.into();
    let dialer = ("From", "client:dialer");
    let first = callback(&[("Direction", "outbound-api"), dialer, ("To", "client:jane")]);
    let end = sent(plan(&received(&[first, child(&[])]), &[], &rules, NOW));
    assert_eq!(end.email.as_deref(), Some("jane"));
}

#[test]
fn a_sip_host_that_may_be_of_customers_is_named_while_the_setting_is_missing() {
    let sip = ("From", "sip:+12025550123@SBC.example.net:5060");
    let agent = ("To", "client:jane");
    let host_of = |known: &[Callback], rules: &Rules, history| {
        let received = received(known);
        let plan = Plan::of(&received, history, rules, NOW);
        plan.unnamed_sip_host().map(|host| host.as_str().to_owned())
    };
    let answered = [callback(&[sip]), child(&[sip, agent])];
    for (known, expected) in [
        (answered.to_vec(), true),
        (vec![callback(&[sip]), child(&[agent])], true),
        (vec![child(&[sip, agent])], true),
        (vec![callback(&[sip])], false),
        (vec![callback(&[sip]), child(&[sip])], false),
        (vec![callback(&[]), child(&[sip, agent])], false),
        (
            vec![callback(&[("From", "client:eve")]), child(&[agent])],
            false,
        ),
        (
            vec![
                callback(&[sip, ("Direction", "outbound-api")]),
                child(&[agent]),
            ],
            false,
        ),
    ] {
        let host = host_of(&known, &one_call(), History::default());
        let expected = expected.then(|| "sbc.example.net".to_owned());
        assert_eq!(host, expected, "{known:?}");
    }
    let mut set = one_call();
    set.sip_customers = SipCustomers::Hosts(Vec::new());
    assert_eq!(host_of(&answered, &set, History::default()), None);
    assert_eq!(
        host_of(&answered, &Rules::default(), History::default()),
        None
    );
}

#[test]
fn a_recording_of_a_leg_that_is_not_reported_belongs_to_the_child_that_was_answered_first() {
    let known = [
        callback(&[("To", "")]),
        child(&[("Timestamp", &second(9)), ("CallDuration", "3")]),
        child(&[
            ("CallSid", SECOND_CHILD),
            ("Timestamp", &second(30)),
            ("CallDuration", "28"),
        ]),
        recording(1, "completed", &[]),
    ];
    let plan = Plan::of(&received(&known), History::of(&[]), &Rules::default(), NOW);
    let with_recording: Vec<&str> = plan
        .items()
        .filter_map(|item| match item {
            PlanItem::Send(planned) => Some(&planned.request),
            _ => None,
        })
        .filter(|request| request.message.to_json().contains("RecordingUrl"))
        .map(|request| request.leg.as_str())
        .collect();
    assert_eq!(with_recording, [SECOND_CHILD]);
}

#[test]
fn a_call_of_the_api_has_the_email_of_the_agent_who_was_dialled_for_it() {
    let mut rules = one_call();
    let known = [
        (AGENT, "agent"),
        ("client:jane", "jane"),
        ("client:bob", "bob"),
    ];
    let known = known.map(|(address, email)| (address.to_owned(), email.to_owned()));
    rules.directory.entries = known.into_iter().collect();
    let api = |changes: &[(&str, &str)]| {
        let usual = [("Direction", "outbound-api"), ("From", "+14045550199")];
        callback(&[&usual[..], changes].concat())
    };
    let customer = ("To", "+13125550142");
    for (first, dialled, expected) in [
        (&[customer][..], &[("To", "client:jane")][..], Some("jane")),
        (&[customer], &[("To", AGENT)], Some("agent")),
        (
            &[customer],
            &[("?email", "url@example.com")],
            Some("url@example.com"),
        ),
        (&[customer], &[("To", "client:eve")], None),
        (
            &[customer, ("?email", "url@example.com")],
            &[("To", "client:eve")],
            Some("url@example.com"),
        ),
        (
            &[customer],
            &[("To", "client:jane"), ("CallStatus", "busy")],
            None,
        ),
        // Agents with phones, who are called first, are known by the directory alone.
        (&[("To", AGENT)], &[customer], Some("agent")),
        // The API called Jane, not a customer.
        (
            &[("To", "client:jane")],
            &[("To", "client:bob")],
            Some("jane"),
        ),
    ] {
        let known = received(&[api(first), child(dialled)]);
        let end = sent(plan(&known, &[], &rules, NOW));
        assert_eq!(end.email.as_deref(), expected, "{first:?} {dialled:?}");
        assert_eq!(end.direction, acquire::Direction::Outgoing);
        assert_eq!(end.call_id, PARENT);
    }
}
