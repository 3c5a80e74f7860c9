//! Times that a wrong clock wrote, and what is left of expired calls.

use std::time::Duration;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::attempt::Verdict;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::purge_clock::PurgeClock;
use twilio_acquire_bridge::store::{Expiry, NextState, RemovalCause, State};

use super::place::{
    Place, account, attempt, callback, claim, claim_one, next_due, record, settle, sid, state,
};

const YEARS_AHEAD: i64 = 315_360_000_000;

pub async fn times_that_a_wrong_clock_wrote_are_corrected(place: &Place) {
    let store = place.open();
    let far = YEARS_AHEAD;
    for number in [1, 2] {
        record(&*store, &sid(number), far).await;
        let claimed = claim_one(&*store, far).await;
        settle(
            &*store,
            &claimed,
            NextState::PendingAt(Millis(far + 5)),
            far,
        )
        .await;
    }
    place.look(|reader| assert_eq!(reader.due_after(Millis(1_000)).expect("read"), 2));
    record(&*store, &sid(4), far).await;
    let in_flight = claim_one(&*store, far).await;
    // An ordinary retry.
    record(&*store, &sid(5), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 0).await;

    let correct = async |limit| {
        let corrected = store.correct_times(Millis(100), Millis(1_000), limit).await;
        corrected.expect("corrected")
    };
    assert_eq!(correct(1).await + correct(9).await, 2);
    assert_eq!(correct(9).await, 0, "the call in flight is not changed");
    let retried = claim(&*store, 100, 9).await;
    assert_eq!(retried.len(), 2);
    let retried = retried.into_iter().find(|call| call.sid == sid(1));
    let retried = retried.expect("it is due");
    let now = Verdict::Again(Millis(100));
    assert_eq!(retried.attempts, [attempt(&sid(1), now, 100)]);
    assert_eq!(retried.callbacks[0].received, Millis(100));
    settle(&*store, &retried, NextState::Delivered, 101).await;
    settle(&*store, &in_flight, NextState::PendingAt(Millis(far)), 101).await;
    assert_eq!(correct(9).await, 1);
    assert_eq!(next_due(&*store).await, Some(Millis(100)));
}

pub async fn the_time_of_the_last_purge_is_kept(place: &Place) {
    let store = place.open();
    assert_eq!(store.purge_clock().await.expect("read"), None);
    for known in [5, 3] {
        let clock = PurgeClock {
            known: Millis(known),
            used: Millis(2),
            boot: "this one".to_owned(),
            uptime: Duration::from_millis(7),
        };
        store.set_purge_clock(clock.clone()).await.expect("written");
        let read = place.look(|reader| reader.purge_clock().expect("read"));
        assert_eq!(read.as_ref(), Some(&clock));
        assert_eq!(store.purge_clock().await.expect("read"), Some(clock));
    }
}

pub async fn an_expired_parked_call_leaves_its_cause_without_personal_data(place: &Place) {
    let day = 24 * 3_600 * 1_000;
    let store = place.open();
    let child = callback(&sid(1), &sid(2), "completed");
    store.record(child, Millis(0)).await.expect("recorded");
    record(&*store, &sid(3), 0).await;
    let why = "not saved (400): +12025550123, jane@example.com";
    for next in [
        NextState::Parked(Cause::Refused(422), why.to_owned()),
        NextState::Delivered,
    ] {
        let claimed = claim(&*store, 0, 1).await;
        settle(&*store, &claimed[0], next, 0).await;
    }
    assert_eq!(store.parked_before(Millis(0)).await.expect("counted"), 0);
    assert_eq!(store.parked_before(Millis(1)).await.expect("counted"), 1);
    let expiry = Expiry {
        now: Millis(90 * day + 5),
        delivered_and_skipped: Millis(1),
        parked: Millis(1),
    };
    store.purge(expiry, 9).await.expect("purged");
    let removed = |number| {
        let removed = place.look(|reader| reader.removed(&sid(number)).expect("read"));
        removed.into_iter().next()
    };
    for leg in [1, 2] {
        let removed = removed(leg).expect("it is remembered");
        assert_eq!(
            (removed.account, removed.day),
            (account(1), Millis(90 * day))
        );
        assert_eq!(removed.cause, RemovalCause::Expired);
        assert_eq!(removed.reason.as_deref(), Some("not saved (400): *** ***"));
    }
    assert_eq!(
        removed(3).expect("remembered").cause,
        RemovalCause::Retention
    );
    assert_eq!(removed(4), None);
}

pub async fn a_call_that_twilio_reported_later_is_not_removed(place: &Place) {
    let store = place.open();
    let reported = 1_795_514_400_000;
    let mut late = callback(&sid(1), &sid(1), "completed");
    let form = String::from_utf8(late.request.body.to_vec()).expect("text");
    late.request.body = format!("{form}&Timestamp=Tue%2C+24+Nov+2026+10%3A00%3A00+%2B0000").into();
    store.record(late, Millis(0)).await.expect("recorded");
    record(&*store, &sid(2), 0).await;
    for claimed in claim(&*store, 0, 9).await {
        settle(&*store, &claimed, NextState::Delivered, 0).await;
    }
    let mut expiry = Expiry {
        now: Millis(reported),
        delivered_and_skipped: Millis(reported - 1),
        parked: Millis(0),
    };
    let purged = store.purge(expiry, 9).await.expect("purged");
    assert_eq!((purged.delivered, purged.deferred), (1, 1));
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
    let purged = store.purge(expiry, 9).await.expect("purged");
    assert_eq!((purged.delivered, purged.deferred), (0, 0));
    expiry.delivered_and_skipped = Millis(reported + 1);
    assert_eq!(store.purge(expiry, 9).await.expect("purged").delivered, 1);
}
