//! The leg and the mode of the first attempt stay, whatever follows.

use super::whole::one_call;
use super::*;

fn tried(leg: &str, report_mode: ReportMode) -> Attempt {
    Attempt {
        report_mode,
        ..attempt(leg, Verdict::Accepted)
    }
}

/// The legs that are sent after a requeue, and the next step once Acquire has accepted them.
fn requeued(known: &[Callback], before: Attempt, rules: &Rules) -> (Vec<String>, Next) {
    let known = received(known);
    let (mut legs, mut attempts) = (Vec::new(), vec![before]);
    loop {
        let history = History::requeued(&attempts, 1);
        let plan = Plan::of(&known, history, rules, NOW);
        let Next::Send(request) = plan.next() else {
            return (legs, plan.next().clone());
        };
        legs.push(request.leg.to_string());
        let again = tried(request.leg.as_str(), history.mode(rules));
        attempts.push(again);
    }
}

#[test]
fn a_requeued_call_is_sent_as_the_leg_that_was_tried_first() {
    let known = [callback(&[]), child(&[])];
    for leg in [CHILD, PARENT] {
        let expected = (vec![leg.to_owned()], Next::Delivered);
        for rules in [one_call(), Rules::default()] {
            let before = tried(leg, ReportMode::Call);
            assert_eq!(requeued(&known, before, &rules), expected);
        }
    }
    let (legs, next) = requeued(&known, tried(CHILD, ReportMode::Legs), &one_call());
    assert_eq!((legs.len(), next), (2, Next::Delivered), "one for each leg");
}

#[test]
fn a_changed_mode_is_not_that_of_a_call_that_was_tried() {
    let known = received(&[callback(&[]), child(&[])]);
    let next = |attempts: &[Attempt], rules: &Rules| {
        let plan = Plan::of(&known, History::requeued(attempts, 0), rules, NOW);
        plan.next().clone()
    };
    let as_one = [tried(PARENT, ReportMode::Call)];
    assert_eq!(next(&as_one, &Rules::default()), Next::Delivered);
    let by_leg = [tried(PARENT, ReportMode::Legs)];
    assert_eq!(sent(next(&by_leg, &one_call())).call_id, CHILD);
    let mut later = tried(PARENT, ReportMode::Legs);
    later.at = Millis(1);
    let merged = [later, tried(CHILD, ReportMode::Call)];
    let mode = History::requeued(&merged, 0).mode(&Rules::default());
    assert_eq!(mode, ReportMode::Call, "the earlier of two merged calls");
}

#[test]
fn a_requeued_call_has_the_values_of_the_settings_of_today() {
    let mut rules = one_call();
    rules.directory.default = Some("new@example.com".to_owned());
    let before = [tried(PARENT, ReportMode::Call)];
    let history = History::requeued(&before, 1);
    let plan = Plan::of(&received(&[callback(&[])]), history, &rules, NOW);
    let end = sent(plan.next().clone());
    assert_eq!(end.email.as_deref(), Some("new@example.com"));
}

/// The direction, the caller's leg and the e-mail of what a requeue sends for a leg that was tried.
fn requeued_end(known: &[Callback], leg: &str, change: impl FnOnce(&mut Rules)) -> CallEnd {
    let mut rules = one_call();
    let agents = ["client:jane", "sip:jane@voice.example.com"];
    let agents = agents.map(|address| (address.to_owned(), "jane@example.com".to_owned()));
    rules.directory.entries = agents.into();
    change(&mut rules);
    let before = [tried(leg, ReportMode::Call)];
    let plan = Plan::of(&received(known), History::requeued(&before, 1), &rules, NOW);
    let end = sent(plan.next().clone());
    assert_eq!(end.call_id, leg);
    end
}

#[test]
fn a_requeue_repairs_the_direction_and_the_email_after_sip_customers_changed() {
    let jane = Some("jane@example.com");
    let sip = ("From", "sip:jane@voice.example.com");
    let called_out = [callback(&[sip]), child(&[])];
    let end = requeued_end(&called_out, PARENT, |_| ());
    assert_eq!(end.direction, acquire::Direction::Outgoing);
    assert_eq!(end.email.as_deref(), jane, "the agent who called");

    let called_in = [callback(&[sip]), child(&[sip, ("To", "client:jane")])];
    let end = requeued_end(&called_in, CHILD, |rules| {
        rules.sip_customers = SipCustomers::All;
    });
    assert_eq!(end.direction, acquire::Direction::Incoming);
    assert_eq!(end.email.as_deref(), jane, "the agent who answered");
}

#[test]
fn an_agents_leg_of_a_call_from_the_api_is_outgoing_once_its_first_leg_is_known() {
    let agent = child(&[("From", "+14045550199"), ("To", "client:jane")]);
    let from_api = callback(&[("Direction", "outbound-api"), ("To", "+12025550123")]);
    for (known, direction) in [
        (vec![agent.clone()], acquire::Direction::Incoming),
        (vec![agent, from_api], acquire::Direction::Outgoing),
    ] {
        let end = requeued_end(&known, CHILD, |_| ());
        assert_eq!(end.direction, direction);
    }
}

#[test]
fn conversations_that_were_tried_stay_after_sip_customers_changed() {
    const SECOND_CHILD: &str = "CA00000000000000000000000000000003";
    let second = child(&[("CallSid", SECOND_CHILD), ("To", "+14045550143")]);
    let sip = ("From", "sip:desk@voice.example.com");
    let known = received(&[child(&[]), second, callback(&[sip])]);
    let mut rules = one_call();
    rules.sip_customers = SipCustomers::All;
    let failed = Attempt {
        verdict: Verdict::Again(Millis(1)),
        ..tried(SECOND_CHILD, ReportMode::Call)
    };
    let attempts = [tried(CHILD, ReportMode::Call), failed];
    let retried = Plan::of(&known, History::requeued(&attempts, 0), &rules, NOW);
    assert_eq!(sent(retried.next().clone()).call_id, SECOND_CHILD);
    let requeued = Plan::of(&known, History::requeued(&attempts, 2), &rules, NOW);
    let is_sent = |item: &&PlanItem| matches!(item, PlanItem::Send(_));
    assert_eq!(requeued.items().filter(is_sent).count(), 2, "{requeued:?}");
}
