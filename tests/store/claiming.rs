//! Calls are handed out when due, to one at a time, and settled with what was made of them.

use std::time::Duration;

use twilio_acquire_bridge::acquire::Fault;
use twilio_acquire_bridge::attempt::{Attempt, Verdict};
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{Recorded, Rest, Settlement, State, Store, StoreError};

use crate::place::{
    Place, attempt, callback, claim, claim_one, next_due, record, settle, settlement, sid, sids,
    state,
};

pub async fn calls_are_handed_out_in_the_order_they_fell_due(place: &Place) {
    let store = place.open();
    for (call, at) in [(1, 30), (2, 10), (3, 20), (4, 20), (5, 99)] {
        record(&*store, &sid(call), at).await;
    }
    assert_eq!(sids(&claim(&*store, 50, 3).await), [sid(2), sid(3), sid(4)]);
    assert_eq!(sids(&claim(&*store, 50, 3).await), [sid(1)]);
    // One that fell due earlier than what was handed out already is not passed over.
    record(&*store, &sid(6), 5).await;
    assert_eq!(sids(&claim(&*store, 50, 3).await), [sid(6)]);
}

pub async fn a_claimed_call_is_handed_out_again_only_after_its_lease(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 10).await;
    claim_one(&*store, 10).await;
    assert!(claim(&*store, 60_009, 10).await.is_empty());
    assert_eq!(claim(&*store, 60_010, 10).await.len(), 1);
    assert!(claim(&*store, 60_011, 10).await.is_empty());
}

pub async fn a_ticket_is_stale_once_another_claim_was_made(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let first = claim_one(&*store, 0).await;
    let second = claim_one(&*store, 60_000).await;
    let late = store.settle(
        first.ticket,
        settlement(&sid(1), Rest::Delivered, 1),
        Millis(1),
    );
    assert!(matches!(late.await, Err(StoreError::StaleTicket)));
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(
        (call.summary.state, call.attempts.len()),
        (State::Claimed, 0)
    );
    settle(&*store, &second, Rest::Delivered, 60_001).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
}

pub async fn a_ticket_settles_once(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    let both = tokio::join!(
        store.settle(
            claimed.ticket.clone(),
            settlement(&sid(1), Rest::Delivered, 1),
            Millis(1)
        ),
        store.settle(
            claimed.ticket.clone(),
            settlement(&sid(1), Rest::Parked("x".to_owned()), 1),
            Millis(1)
        ),
    );
    assert!(matches!(both, (Ok(_), Err(StoreError::StaleTicket))));
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
}

pub async fn a_late_ticket_is_good_while_nobody_else_claimed(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, Rest::Delivered, 70_000).await;
    assert!(claim(&*store, 80_000, 10).await.is_empty());
}

pub async fn a_retry_is_handed_out_when_it_is_due(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, Rest::PendingAt(Millis(500)), 1).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Pending);
    assert!(claim(&*store, 499, 10).await.is_empty());
    assert_eq!(claim_one(&*store, 500).await.attempts.len(), 1);
}

pub async fn a_callback_recorded_while_claimed_makes_the_call_due_at_once(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    let second = store
        .record(callback(&sid(1), &sid(2), "busy"), Millis(5))
        .await;
    assert_eq!(second.expect("recorded"), Recorded::New);
    assert!(claim(&*store, 6, 10).await.is_empty(), "still claimed");
    settle(&*store, &claimed, Rest::Delivered, 7).await;
    let again = claim_one(&*store, 7).await;
    assert_eq!((again.callbacks.len(), again.attempts.len()), (2, 1));
}

pub async fn a_leg_that_ends_after_delivery_makes_the_call_due(place: &Place) {
    second_leg_after(&*place.open(), Rest::Delivered).await;
}

pub async fn a_leg_that_ends_after_parking_makes_the_call_due(place: &Place) {
    second_leg_after(&*place.open(), Rest::Parked("refused".to_owned())).await;
}

async fn second_leg_after(store: &dyn Store, rest: Rest) {
    record(store, &sid(1), 0).await;
    let claimed = claim_one(store, 0).await;
    settle(store, &claimed, rest, 1).await;
    assert_eq!(record(store, &sid(1), 2).await, Recorded::Repeated);
    assert!(
        claim(store, 3, 10).await.is_empty(),
        "a repeat owes nothing"
    );
    let second = store.record(callback(&sid(1), &sid(2), "busy"), Millis(5));
    second.await.expect("recorded");
    let again = claim_one(store, 5).await;
    assert_eq!((again.callbacks.len(), again.attempts.len()), (2, 1));
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(call.summary.reason, None);
}

pub async fn a_claim_ends_with_the_process(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    claim_one(&*store, 0).await;
    drop(store);
    assert_eq!(claim_one(&*place.open(), 1).await.sid, sid(1));
}

pub async fn attempts_are_read_back_as_they_were_made(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let made = [
        Attempt {
            status: Some(503),
            fault: Some(Fault::Busy),
            sent: r#"{"From":"+12025550123"}"#.to_owned(),
            excerpt: "no \"room\"".to_owned(),
            ..attempt(&sid(1), Verdict::Again(Millis(2)), 1)
        },
        Attempt {
            status: None,
            fault: Some(Fault::TimeOut),
            took: Duration::from_secs(10),
            ..attempt(&sid(2), Verdict::GivenUp("used up".to_owned()), 2)
        },
        attempt(&sid(1), Verdict::AcceptedAsRepeat, 3),
        attempt(&sid(1), Verdict::Accepted, 4),
    ];
    for attempt in &made {
        let ticket = claim_one(&*store, attempt.at.0).await.ticket;
        let settlement = Settlement {
            attempt: Some(attempt.clone()),
            rest: Rest::PendingAt(attempt.at),
        };
        let settled = store.settle(ticket, settlement, attempt.at);
        settled.await.expect("settled");
    }
    assert_eq!(claim_one(&*store, 5).await.attempts, made);
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(call.attempts, made);
}

pub async fn the_next_due_time_leaves_claimed_calls_out(place: &Place) {
    let store = place.open();
    assert_eq!(next_due(&*store).await, None);
    record(&*store, &sid(1), 10).await;
    record(&*store, &sid(2), 20).await;
    assert_eq!(next_due(&*store).await, Some(Millis(10)));
    let first = claim(&*store, 15, 1).await.remove(0);
    assert_eq!(next_due(&*store).await, Some(Millis(20)));
    claim(&*store, 20, 1).await;
    assert_eq!(next_due(&*store).await, None);
    settle(&*store, &first, Rest::PendingAt(Millis(15)), 21).await;
    assert_eq!(next_due(&*store).await, Some(Millis(15)));
}
