//! Ends that were imported from Twilio's own records.

use proptest::prelude::*;

use super::*;
use crate::twilio::{CallbackContent, Evidence};

/// The end as Twilio's list has it.
fn listed(mut callback: Callback) -> Callback {
    if let CallbackContent::Status(status) = &mut callback.kind {
        status.evidence = Evidence::Listed;
        status.sequence_number = None;
    }
    callback
}

fn at(at: i64, callback: Callback) -> ReceivedCallback {
    let at = Millis(at);
    ReceivedCallback { at, callback }
}

fn duration(next: Next) -> Option<String> {
    sent(next).duration
}

#[test]
fn an_imported_end_is_used_at_once() {
    let call = [at(0, listed(callback(&[("CallDuration", "7")])))];
    let next = plan(&call, &[], &Rules::default(), Millis(0));
    assert_eq!(duration(next).as_deref(), Some("7"));
}

#[test]
fn a_signed_end_is_used_instead_as_long_as_nothing_was_sent() {
    let row = || listed(callback(&[("CallDuration", "7"), ("CallStatus", "busy")]));
    let signed = || callback(&[("CallDuration", "8")]);
    for call in [
        [at(0, row()), at(10, signed())],
        [at(0, signed()), at(10, row())],
    ] {
        let next = plan(&call, &[], &Rules::default(), NOW);
        assert_eq!(duration(next).as_deref(), Some("8"));
    }
}

#[test]
fn a_signed_end_that_comes_after_the_imported_one_was_tried_is_a_repeat() {
    let call = [
        at(0, listed(callback(&[("CallDuration", "7")]))),
        at(10, callback(&[("CallDuration", "8")])),
    ];
    let mut tried = attempt(PARENT, Verdict::Again(Millis(20)));
    tried.at = Millis(5);
    let next = plan(&call, &[tried], &Rules::default(), NOW);
    assert_eq!(duration(next).as_deref(), Some("7"));
}

#[test]
fn weaker_evidence_does_not_replace_an_imported_end() {
    let weaker = callback(&[("CallbackSource", ""), ("CallDuration", "1")]);
    let call = [
        at(0, weaker),
        at(1, listed(callback(&[("CallDuration", "7")]))),
    ];
    let next = plan(&call, &[], &Rules::default(), NOW);
    assert_eq!(duration(next).as_deref(), Some("7"));
}

/// What happened to the end of a leg.
#[derive(Clone, Copy, Debug)]
enum End {
    Came,
    /// Only its row was imported.
    Lost,
    /// It came, but its row was imported too.
    Late,
}

proptest! {
    /// Whichever ends are lost, and in whatever order rows and late callbacks come, Acquire receives the
    /// same requests.
    #[test]
    fn acquire_receives_the_same_whichever_ends_were_imported(
        ends in prop::collection::vec(
            (
                prop::sample::select(vec!["completed", "busy", "no-answer", "canceled", "failed"]),
                prop_oneof![Just(End::Came), Just(End::Lost), Just(End::Late)],
            ),
            1..4,
        ),
        order in any::<u64>(),
        report in prop::sample::select(vec![ReportMode::Legs, ReportMode::Call]),
    ) {
        let rules = Rules {
            legs: LegRules { report, settle: Duration::ZERO, ..LegRules::default() },
            ..Rules::default()
        };
        let leg = |number: usize, status: &str| {
            let sid = format!("CA{:032x}", number + 1);
            let changes = [("CallSid", sid.as_str()), ("CallStatus", status)];
            if number == 0 { callback(&changes) } else { child(&changes) }
        };
        let told: Vec<Callback> =
            ends.iter().enumerate().map(|(number, (status, _))| leg(number, status)).collect();
        let mut here = Vec::new();
        for (signed, (_, end)) in told.iter().zip(&ends) {
            if !matches!(end, End::Lost) {
                here.push(signed.clone());
            }
            if !matches!(end, End::Came) {
                here.push(listed(signed.clone()));
            }
        }
        let mut random = fastrand::Rng::with_seed(order);
        random.shuffle(&mut here);
        let requests = |callbacks: &[Callback]| {
            let received = received(callbacks);
            let plan = Plan::of(&received, History::default(), &rules, NOW);
            let items = plan.items().filter_map(|item| match item {
                PlanItem::Send(planned) => Some(planned.request.message.to_json()),
                _ => None,
            });
            items.collect::<Vec<_>>()
        };
        prop_assert_eq!(requests(&here), requests(&told));
    }
}
