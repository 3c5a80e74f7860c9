//! The leg and the mode of the first attempt stay, whatever follows.

use super::*;

/// The call, of which a leg was tried in a mode, with these rules since then.
fn tried(before: Case, text: &str, now: fn(&str) -> Case) -> Case {
    let rules = now("parent").rules;
    Case {
        rules,
        ..before.tried(text)
    }
}

#[test]
fn a_requeued_call_is_sent_as_the_leg_that_was_tried_first() {
    for leg in ["child", "parent"] {
        for now in [one_call, legs] {
            let accepted = format!("{leg} accepted");
            let case = tried(one_call("parent; child"), &accepted, now).requeued();
            let expected = [format!("call-end {leg}"), "delivered".to_owned()];
            assert_eq!(case.steps(NOW), expected);
        }
    }
    let by_leg = tried(legs("parent; child"), "child accepted", one_call).requeued();
    let expected = ["call-end parent", "call-end child", "delivered"];
    assert_eq!(by_leg.steps(NOW), expected, "one for each leg");
}

#[test]
fn a_changed_mode_is_not_that_of_a_call_that_was_tried() {
    let text = "parent; child";
    let as_one = tried(one_call(text), "parent accepted", legs);
    assert_eq!(as_one.step(NOW), "delivered");
    let by_leg = tried(legs(text), "parent accepted", one_call);
    assert_eq!(by_leg.step(NOW), "call-end child");
    let merged = tried(legs(text), "parent accepted @1", one_call).tried("child accepted");
    let mode = merged.history().mode(&Rules::default());
    assert_eq!(mode, ReportMode::Call, "the earlier of two merged calls");
}

/// What a requeue sends for a leg that was tried.
fn requeued_end(text: &str, leg: &str, change: impl FnOnce(&mut Rules)) -> CallEnd {
    let jane = "client:jane=jane@example.com sip:jane@voice.example.com=jane@example.com";
    let case = one_call(text).directory(jane).with(change);
    let end = case.tried(&format!("{leg} accepted")).requeued().end();
    assert_eq!(end.call_id, sid(leg));
    end
}

#[test]
fn a_requeue_repairs_the_direction_and_the_email_after_sip_customers_changed() {
    let jane = Some("jane@example.com");
    let sip = "From=sip:jane@voice.example.com";
    let end = requeued_end(&format!("parent {sip}; child"), "parent", |_| ());
    assert_eq!(end.direction, acquire::Direction::Outgoing);
    assert_eq!(end.email.as_deref(), jane, "the agent who called");

    let called_in = format!("parent {sip}; child {sip} To=client:jane");
    let end = requeued_end(&called_in, "child", |rules| {
        rules.sip_customers = SipCustomers::All;
    });
    assert_eq!(end.direction, acquire::Direction::Incoming);
    assert_eq!(end.email.as_deref(), jane, "the agent who answered");
}

#[test]
fn an_agents_leg_of_a_call_from_the_api_is_outgoing_once_its_first_leg_is_known() {
    let agent = "child From=+14045550199 To=client:jane";
    let from_api = format!("{agent}; parent Direction=outbound-api To=+12025550123");
    for (text, direction) in [
        (agent, acquire::Direction::Incoming),
        (&from_api, acquire::Direction::Outgoing),
    ] {
        assert_eq!(requeued_end(text, "child", |_| ()).direction, direction);
    }
}

#[test]
fn conversations_that_were_tried_stay_after_sip_customers_changed() {
    let text = "child; second To=+14045550143; parent From=sip:desk@voice.example.com";
    let case = one_call(text).with(|rules| rules.sip_customers = SipCustomers::All);
    let tried = case.tried("child accepted; second again:1");
    assert_eq!(tried.step(NOW), "call-end second");
    assert_eq!(tried.requeued().requests().len(), 2);
}
