//! The leg that was answered first, by the evidence that Twilio sends.

use super::*;

#[test]
fn the_leg_that_was_answered_first_gives_the_email() {
    // Jane answered first in each case, and her leg ended last.
    for children in [
        "bob 6-9; jane 2-30",
        "jane in-progress Timestamp=2; bob 6-9; jane Timestamp=30 CallDuration=",
        "bob in-progress Timestamp=5; bob 0-9; jane 4-30",
        "jane in-progress; bob 6-9; jane 2-30",
        "bob Timestamp=9 CallDuration=; jane 2-30",
        "bob CallDuration=3; jane CallDuration=28",
        // A CallDuration that is impossible makes no agent the first.
        "bob Timestamp=9 CallDuration=4294967290; jane 2-30",
        "bob Timestamp=9 CallDuration=1e300; jane 2-30",
        "bob Timestamp=9 CallDuration=-9; jane 2-30",
        "bob 6-9; jane Timestamp=30 CallDuration=28.9",
    ] {
        let children = children.replace("jane", "child To=client:jane");
        let children = children.replace("bob", "second To=client:bob");
        let case = one_call(&children).and("parent");
        let end = case.directory("client:jane=jane client:bob=bob").end();
        assert_eq!(end.email.as_deref(), Some("jane"), "{children}");
    }
}

#[test]
fn an_agent_whom_the_api_calls_from_a_softphone_address_gives_the_email() {
    let case = one_call("parent Direction=outbound-api From=client:dialer To=client:jane; child");
    let end = case
        .directory("client:jane=jane client:dialer=dialer")
        .end();
    assert_eq!(end.email.as_deref(), Some("jane"));
}

#[test]
fn a_sip_host_that_may_be_of_customers_is_named_while_the_setting_is_missing() {
    let host_of = |case: &Case| {
        let plan = case.plan(NOW);
        plan.unnamed_sip_host().map(|host| host.as_str().to_owned())
    };
    let sip = "From=sip:+12025550123@SBC.example.net:5060";
    let agent = "To=client:jane";
    let answered = format!("parent {sip}; child {sip} {agent}");
    for (text, is_named) in [
        (answered.clone(), true),
        (format!("parent {sip}; child {agent}"), true),
        (format!("child {sip} {agent}"), true),
        (format!("parent {sip}"), false),
        (format!("parent {sip}; child {sip}"), false),
        (format!("parent; child {sip} {agent}"), false),
        (format!("parent From=client:eve; child {agent}"), false),
        (
            format!("parent {sip} Direction=outbound-api; child {agent}"),
            false,
        ),
    ] {
        let expected = is_named.then(|| "sbc.example.net".to_owned());
        assert_eq!(host_of(&one_call(&text)), expected, "{text}");
    }
    let none = |rules: &mut Rules| rules.sip_customers = SipCustomers::Hosts(Vec::new());
    assert_eq!(host_of(&one_call(&answered).with(none)), None);
    assert_eq!(host_of(&legs(&answered)), None);
}

#[test]
fn a_recording_of_a_leg_that_is_not_reported_belongs_to_the_child_that_was_answered_first() {
    let requests = legs("parent To=; child 6-9; second 2-30; RE1").requests();
    let with_recording = requests.iter().map(|planned| &planned.request);
    let with_recording = with_recording.filter(|request| request.message.recording_url().is_some());
    let legs = with_recording.map(|request| named(request.leg.as_str()));
    assert_eq!(legs.collect::<Vec<_>>(), ["second"]);
}

#[test]
fn a_call_of_the_api_has_the_email_of_the_agent_who_was_dialled_for_it() {
    let customer = "To=+13125550142";
    let of_customer = format!("{customer} ?email=url@example.com");
    for (first, dialled, expected) in [
        (customer, "To=client:jane", Some("jane")),
        (customer, "To=+14045550142", Some("agent")),
        (customer, "?email=url@example.com", Some("url@example.com")),
        (customer, "To=client:eve", None),
        (&of_customer, "To=client:eve", Some("url@example.com")),
        (customer, "busy To=client:jane", None),
        // Agents with phones, who are called first, are known by the directory alone.
        ("To=+14045550142", customer, Some("agent")),
        // The API called Jane, not a customer.
        ("To=client:jane", "To=client:bob", Some("jane")),
    ] {
        let first = format!("parent Direction=outbound-api From=+14045550199 {first}");
        let case = one_call(&format!("{first}; child {dialled}"));
        let end = case
            .directory("+14045550142=agent client:jane=jane client:bob=bob")
            .end();
        assert_eq!(end.email.as_deref(), expected, "{first} {dialled}");
        assert_eq!(end.direction, acquire::Direction::Outgoing);
        assert_eq!(end.call_id, sid("parent"));
    }
}
