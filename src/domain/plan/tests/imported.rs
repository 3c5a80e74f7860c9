//! Ends that were imported from Twilio's own records.

use proptest::prelude::*;

use super::*;
use crate::twilio::Evidence;

/// The call with these of its ends as Twilio's list has them.
fn listed(mut case: Case, ends: &[usize]) -> Case {
    for end in ends {
        if let CallbackContent::Status(status) = &mut case.known[*end].callback.kind {
            status.evidence = Evidence::Listed;
            status.sequence_number = None;
        }
    }
    case
}

#[test]
fn an_imported_end_is_used_at_once() {
    let case = listed(legs("parent CallDuration=7"), &[0]);
    assert_eq!(case.end_at(0).duration.as_deref(), Some("7"));
}

#[test]
fn a_signed_end_is_used_instead_as_long_as_nothing_was_sent() {
    let (row, signed) = ("parent busy CallDuration=7", "parent CallDuration=8");
    for case in [
        listed(legs(&format!("{row}; {signed} @10")), &[0]),
        listed(legs(&format!("{signed}; {row} @10")), &[1]),
    ] {
        assert_eq!(case.end().duration.as_deref(), Some("8"));
    }
}

#[test]
fn a_signed_end_that_comes_after_the_imported_one_was_tried_is_a_repeat() {
    let case = listed(
        legs("parent CallDuration=7; parent CallDuration=8 @10"),
        &[0],
    );
    let tried = case.tried("parent again:20 @5");
    assert_eq!(tried.end().duration.as_deref(), Some("7"));
}

#[test]
fn weaker_evidence_does_not_replace_an_imported_end() {
    let weaker = "parent CallbackSource= CallDuration=1";
    let case = listed(legs(&format!("{weaker}; parent CallDuration=7 @1")), &[1]);
    assert_eq!(case.end().duration.as_deref(), Some("7"));
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
        mode in 0..2_usize,
    ) {
        let texts = LEGS.iter().zip(&ends).map(|(leg, (status, _))| format!("{leg} {status}"));
        let reported = modes(&texts.collect::<Vec<_>>().join("; "))[mode].clone();
        let rows = listed(reported.clone(), &[0, 1, 2][..ends.len()]);
        let mut here = Case { known: Vec::new(), ..reported.clone() };
        for (n, (_, end)) in ends.iter().enumerate() {
            if !matches!(end, End::Lost) {
                here.known.push(reported.known[n].clone());
            }
            if !matches!(end, End::Came) {
                here.known.push(rows.known[n].clone());
            }
        }
        fastrand::Rng::with_seed(order).shuffle(&mut here.known);
        let requests = |case: &Case| {
            let requests = case.requests().into_iter();
            requests.map(|planned| planned.request.message.to_json()).collect::<Vec<_>>()
        };
        prop_assert_eq!(requests(&here), requests(&reported));
    }
}
