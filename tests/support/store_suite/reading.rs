//! Reads for operators and metrics, and removal after the retention.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::{Counts, Expiry, ListFilter, NextState, Recorded, State, Store};
use twilio_acquire_bridge::twilio::CallSid;

use super::place::{Place, callback, claim, claim_one, of_account, record, settle, sid, state};

pub async fn a_call_is_found_by_any_of_its_legs(place: &Place) {
    let store = place.open();
    for leg in [2, 3] {
        for status in ["ringing", "completed"] {
            let child = callback(&sid(1), &sid(leg), status);
            store.record(child, Millis(0)).await.expect("recorded");
        }
    }
    record(&*store, &sid(1), 1).await;
    for leg in 1..=3 {
        let call = store.get(&sid(leg)).await.expect("read").expect("known");
        assert_eq!(call.summary.sid, sid(1));
        assert_eq!(call.callbacks.len(), 5);
    }
    assert!(store.get(&sid(4)).await.expect("read").is_none());
}

async fn list(store: &dyn Store, state: Option<State>, limit: usize) -> Vec<CallSid> {
    let calls = store
        .list(ListFilter { state, limit })
        .await
        .expect("listed");
    calls.into_iter().map(|call| call.sid).collect()
}

pub async fn a_list_is_newest_first_and_by_state(place: &Place) {
    let store = place.open();
    for number in 1..=4 {
        record(&*store, &sid(number), i64::from(number)).await;
    }
    let claimed = claim(&*store, 10, 2).await;
    settle(
        &*store,
        &claimed[0],
        NextState::Parked(Cause::Refused(422), "refused".to_owned()),
        11,
    )
    .await;
    assert_eq!(list(&*store, None, 3).await, [sid(4), sid(3), sid(2)]);
    let pending = list(&*store, Some(State::Pending), 9).await;
    assert_eq!(pending, [sid(3), sid(4)], "soonest due first");
    assert_eq!(list(&*store, Some(State::Claimed), 9).await, [sid(2)]);
    assert_eq!(list(&*store, Some(State::Parked), 9).await, [sid(1)]);
    assert_eq!(list(&*store, Some(State::Delivered), 9).await, []);
    assert_eq!(list(&*store, None, 0).await, []);
}

pub async fn a_claimed_call_is_shown_as_claimed(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    claim_one(&*store, 0).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Claimed);
    let counts = store.counts().await.expect("counted");
    assert_eq!((counts.pending, counts.claimed), (0, 1));
}

pub async fn counts_have_every_state_and_the_oldest_due_time(place: &Place) {
    let store = place.open();
    for number in 1..=6 {
        record(&*store, &sid(number), i64::from(number)).await;
    }
    let claimed = claim(&*store, 10, 4).await;
    settle(&*store, &claimed[0], NextState::Delivered, 11).await;
    settle(
        &*store,
        &claimed[1],
        NextState::Skipped(Cause::NotReported, "x".to_owned()),
        11,
    )
    .await;
    settle(
        &*store,
        &claimed[2],
        NextState::Parked(Cause::Refused(422), "x".to_owned()),
        11,
    )
    .await;
    let expected = Counts {
        seen: 6,
        purged: 0,
        pending: 2,
        claimed: 1,
        delivered: 1,
        skipped: 1,
        parked: 1,
        oldest_due: Some(Millis(4)),
    };
    assert_eq!(store.counts().await.expect("counted"), expected);
    drop(store);
    let after_restart = Counts {
        pending: 3,
        claimed: 0,
        ..expected
    };
    let counted = place.open().counts().await;
    assert_eq!(counted.expect("counted"), after_restart);
}

pub async fn expired_calls_are_purged_oldest_first(place: &Place) {
    let store = place.open();
    let states = [
        NextState::Delivered,
        NextState::Skipped(Cause::NotReported, "x".to_owned()),
        NextState::Parked(Cause::Refused(422), "x".to_owned()),
        NextState::Delivered,
        NextState::PendingAt(Millis(5)),
        NextState::Parked(Cause::Refused(422), "x".to_owned()),
    ];
    for (number, next) in (1..).zip(states) {
        record(&*store, &sid(number), 0).await;
        let claimed = claim_one(&*store, 0).await;
        settle(&*store, &claimed, next, i64::from(number) * 10).await;
    }
    let expiry = Expiry {
        now: Millis(100),
        delivered_and_skipped: Millis(41),
        parked: Millis(60),
    };
    for (limit, purged, left) in [
        (1, 1, vec![2, 3, 4, 5, 6]),
        (2, 2, vec![4, 5, 6]),
        (9, 1, vec![5, 6]),
        (9, 0, vec![5, 6]),
    ] {
        let removed = store.purge(expiry, limit).await.expect("purged");
        assert_eq!(removed.removed(), purged);
        let mut there = list(&*store, None, 9).await;
        there.reverse();
        assert_eq!(there, left.into_iter().map(sid).collect::<Vec<_>>());
    }
    let counts = store.counts().await.expect("counted");
    assert_eq!((counts.seen, counts.purged), (6, 4));
}

pub async fn callbacks_of_a_removed_call_are_repeats(place: &Place) {
    let day = 24 * 3_600 * 1_000;
    let store = place.open();
    let child = || callback(&sid(1), &sid(2), "completed");
    let grandchild = || callback(&sid(2), &sid(3), "completed");
    for callback in [child(), grandchild()] {
        store.record(callback, Millis(0)).await.expect("recorded");
    }
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::Delivered, 1).await;
    let expiry = Expiry {
        now: Millis(2),
        delivered_and_skipped: Millis(2),
        parked: Millis(2 - 90 * day),
    };
    assert_eq!(store.purge(expiry, 9).await.expect("purged").delivered, 1);
    drop(store);

    let store = place.open();
    for number in [1, 2, 3] {
        assert!(store.get(&sid(number)).await.expect("read").is_none());
    }
    let first = callback(&sid(1), &sid(1), "completed");
    for callback in [first, child(), grandchild()] {
        let recorded = store.record(callback, Millis(3)).await;
        assert_eq!(recorded.expect("recorded"), Recorded::Repeated);
    }
    // In one batch with a call that is new.
    let (removed, unknown) = (sid(1), sid(4));
    let (known, new) = tokio::join!(record(&*store, &removed, 4), record(&*store, &unknown, 4));
    assert_eq!((known, new), (Recorded::Repeated, Recorded::New));
    assert_eq!(claim_one(&*store, 4).await.sid, sid(4));
    let counts = store.counts().await.expect("counted");
    assert_eq!((counts.seen, counts.purged), (2, 1));

    // Of another account, and after store.parked_retention.
    let other = of_account(2, &sid(1), &sid(1), "completed");
    let recorded = store.record(other, Millis(5)).await;
    assert_eq!(recorded.expect("recorded"), Recorded::New);
    let later = Expiry {
        now: Millis(91 * day),
        delivered_and_skipped: Millis(0),
        parked: Millis(day),
    };
    assert_eq!(store.purge(later, 9).await.expect("purged").removed(), 0);
    assert_eq!(record(&*store, &sid(1), 6).await, Recorded::New);
}

pub async fn a_ping_is_answered(place: &Place) {
    place.open().ping().await.expect("answered");
}

pub async fn of_a_long_list_those_that_are_wanted_are_found(place: &Place) {
    let store = place.open();
    for number in 1..=1_100 {
        record(&*store, &sid(number), 0).await;
    }
    drop(store);
    let found = |state, limit| {
        place.look(|reader| {
            let wanted = [1, 700, 1_100].map(sid);
            let found = reader.find(ListFilter { state, limit }, &mut |call| {
                // The same reader is asked for more while it is at it.
                let known = reader.get(&call.sid)?;
                Ok(known.is_some_and(|call| wanted.contains(&call.summary.sid)))
            });
            let sids = found.expect("read").into_iter().map(|call| call.sid);
            sids.collect::<Vec<_>>()
        })
    };
    assert_eq!(found(None, 9), [sid(1_100), sid(700), sid(1)]);
    assert_eq!(found(None, 2), [sid(1_100), sid(700)]);
    assert_eq!(found(Some(State::Pending), 1), [sid(1)]);
    assert_eq!(found(Some(State::Parked), 9), []);
}
