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
