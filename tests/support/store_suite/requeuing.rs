//! An operator queues a call for delivery again.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::attempt::Verdict;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::{ClaimRequest, NextState, State, Store};

use super::auditing::alice;
use super::place::{
    LEASE, Place, account, attempt, callback, claim, claim_one, of_account, record, settle, sid,
    state,
};

async fn requeue(store: &dyn Store, number: u32, now: i64) -> bool {
    let requeued = store
        .requeue(&sid(number), alice(), None, Millis(now))
        .await;
    requeued.expect("requeued")
}

pub async fn a_requeued_call_is_due_whatever_its_state(place: &Place) {
    let store = place.open();
    let states = [
        NextState::PendingAt(Millis(9_000)),
        NextState::Delivered,
        NextState::Skipped(Cause::NotReported, "nothing to send".to_owned()),
        NextState::Parked(Cause::Refused(422), "refused".to_owned()),
    ];
    for (number, next) in (1..).zip(states) {
        record(&*store, &sid(number), 0).await;
        let claimed = claim_one(&*store, 0).await;
        settle(&*store, &claimed, next, 1).await;
        assert!(requeue(&*store, number, 2).await);
        assert_eq!(state(&*store, &sid(number)).await, State::Pending);
        let again = claim_one(&*store, 2).await;
        assert_eq!(again.sid, sid(number));
        settle(&*store, &again, NextState::Delivered, 3).await;
    }
}

pub async fn a_requeued_call_is_handed_out_with_its_earlier_attempts_apart(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::Delivered, 1).await;
    requeue(&*store, 1, 2).await;
    let again = claim_one(&*store, 2).await;
    assert_eq!(again.attempts, [attempt(&sid(1), Verdict::Accepted, 1)]);
    assert_eq!(again.attempts_before_requeue, 1);
    settle(&*store, &again, NextState::PendingAt(Millis(3)), 3).await;
    let later = claim_one(&*store, 3).await;
    assert_eq!(
        (later.attempts.len(), later.attempts_before_requeue),
        (2, 1)
    );
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!((call.attempts.len(), call.attempts_before_requeue), (2, 1));
}

pub async fn a_requeue_while_claimed_makes_the_call_due_at_once(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    assert!(requeue(&*store, 1, 1).await);
    assert!(claim(&*store, 2, 10).await.is_empty(), "still claimed");
    settle(&*store, &claimed, NextState::Delivered, 3).await;
    let again = claim_one(&*store, 3).await;
    let attempts = (again.attempts.len(), again.attempts_before_requeue);
    assert_eq!(attempts, (1, 1), "the attempt was of the round before");
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!((call.attempts.len(), call.attempts_before_requeue), (1, 1));
}

pub async fn a_call_is_requeued_by_a_child_leg_too(place: &Place) {
    let store = place.open();
    let child = callback(&sid(1), &sid(2), "completed");
    store.record(child, Millis(0)).await.expect("recorded");
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::Delivered, 1).await;
    assert!(requeue(&*store, 2, 2).await);
    assert_eq!(claim_one(&*store, 2).await.sid, sid(1));
}

pub async fn an_unknown_call_is_not_requeued(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    assert!(!requeue(&*store, 2, 1).await);
}

pub async fn requeued_calls_stand_behind_fresh_ones(place: &Place) {
    let store = place.open();
    for number in 1..=40 {
        record(&*store, &sid(number), 0).await;
        let claimed = claim_one(&*store, 0).await;
        settle(&*store, &claimed, NextState::Delivered, 0).await;
    }
    let now = 1_000_000;
    for number in 1..=40 {
        assert!(requeue(&*store, number, now).await);
    }
    record(&*store, &sid(99), now + 1).await;
    let next = async || {
        let claims = store
            .claim(Millis(now + 1), LEASE, ClaimRequest::any(1))
            .await;
        claims.expect("claimed").calls[0].sid.clone()
    };
    assert_eq!(next().await, sid(99), "the fresh call first");
    assert_ne!(next().await, sid(99), "then the others, at once");
}

pub async fn a_requeued_call_has_not_failed(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 1).await;
    store
        .requeue(&sid(1), alice(), None, Millis(2))
        .await
        .expect("requeued");
    let claimed = claim_one(&*store, 2).await;
    assert_eq!(claimed.failing_since, None);
    store
        .requeue(&sid(1), alice(), None, Millis(3))
        .await
        .expect("requeued");
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 4).await;
    assert_eq!(claim_one(&*store, 4).await.failing_since, None);
}

/// One account signs the SID of another one's call, as a call of its own or as a leg of one.
pub async fn a_sid_that_two_accounts_signed_reaches_the_calls_of_both(place: &Place) {
    let store = place.open();
    for (number, call, leg) in [(1, 5, 6), (2, 6, 6), (3, 7, 6)] {
        let signed = of_account(number, &sid(call), &sid(leg), "completed");
        store.record(signed, Millis(0)).await.expect("recorded");
    }
    for claimed in claim(&*store, 0, 9).await {
        settle(&*store, &claimed, NextState::Delivered, 1).await;
    }
    place.look(|reader| {
        let calls = reader.get_all(&sid(6)).expect("read");
        let accounts = calls.iter().map(|call| call.summary.account.clone());
        let accounts: Vec<_> = accounts.collect();
        // The account whose call has the SID itself comes first.
        assert_eq!(accounts, [2, 1, 3].map(account));
    });
    assert!(requeue(&*store, 6, 2).await);
    assert_eq!(claim(&*store, 2, 9).await.len(), 3);
}
