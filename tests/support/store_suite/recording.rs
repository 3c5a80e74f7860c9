//! Each callback is kept once, in its call.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{NewCallback, Recorded};
use twilio_acquire_bridge::twilio::CallSid;

use super::place::{Place, callback, claim, claim_one, of_account, record, sid};

pub async fn a_callback_is_new_once_and_repeated_ever_after(place: &Place) {
    let store = place.open();
    assert_eq!(record(&*store, &sid(1), 10).await, Recorded::New);
    assert_eq!(record(&*store, &sid(1), 20).await, Recorded::Repeated);
    let call = claim_one(&*store, 30).await;
    assert_eq!(call.callbacks.len(), 1);
    assert_eq!(call.callbacks[0].received, Millis(10));
    assert_eq!(record(&*store, &sid(1), 40).await, Recorded::Repeated);
}

pub async fn a_repeat_is_recognised_after_a_restart(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 10).await;
    drop(store);
    let store = place.open();
    assert_eq!(record(&*store, &sid(1), 20).await, Recorded::Repeated);
    assert_eq!(store.counts().await.expect("counted").seen, 1);
}

pub async fn another_status_of_a_leg_is_new(place: &Place) {
    let store = place.open();
    for status in ["ringing", "in-progress", "completed"] {
        let recorded = store.record(callback(&sid(1), &sid(1), status), Millis(10));
        assert_eq!(recorded.await.expect("recorded"), Recorded::New);
    }
    let bodies: Vec<_> = claim_one(&*store, 30)
        .await
        .callbacks
        .into_iter()
        .map(|callback| callback.request.body)
        .collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies[0].ends_with(b"ringing") && bodies[2].ends_with(b"completed"));
}

pub async fn the_same_callback_recorded_at_once_by_many_is_new_exactly_once(place: &Place) {
    let store: std::sync::Arc<dyn twilio_acquire_bridge::store::Store> = place.open().into();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { record(&*store, &sid(1), 10).await })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.expect("no panic") == Recorded::New);
    }
    assert_eq!(new, 1);
}

/// `SQLite`'s hash folds the two halves of a SID, so that these four share one.
pub async fn calls_whose_sids_share_a_hash_stay_apart(place: &Place) {
    let sids = [
        "CA000000000000000a000000000000000b",
        "CA000000000000000b000000000000000a",
        "CA000000000000000A000000000000000B",
        "CA00000000000000000000000000000001",
    ]
    .map(|text| CallSid::parse(text).expect("32 digits"));
    let store = place.open();
    for sid in &sids {
        assert_eq!(record(&*store, sid, 10).await, Recorded::New);
    }
    for sid in &sids {
        assert_eq!(record(&*store, sid, 20).await, Recorded::Repeated);
        let call = store.get(sid).await.expect("read").expect("known");
        assert_eq!(call.summary.sid, *sid);
        assert_eq!(call.callbacks.len(), 1);
    }
}

pub async fn two_accounts_with_one_call_sid_stay_apart(place: &Place) {
    let store = place.open();
    for account in [1, 2] {
        for (leg, expected) in [
            (1, Recorded::New),
            (1, Recorded::Repeated),
            (2, Recorded::New),
        ] {
            let callback = of_account(account, &sid(1), &sid(leg), "completed");
            let recorded = store.record(callback, Millis(10)).await;
            assert_eq!(recorded.expect("recorded"), expected);
        }
    }
    let claimed = claim(&*store, 10, 10).await;
    assert_eq!(claimed.len(), 2);
    assert_ne!(claimed[0].account, claimed[1].account);
    assert!(claimed.iter().all(|call| call.callbacks.len() == 2));
}

pub async fn bytes_are_kept_as_they_came(place: &Place) {
    let store = place.open();
    let all_bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    let mut callback: NewCallback = callback(&sid(1), &sid(1), "completed");
    callback.request.body = all_bytes.into();
    "a: ü\nb: \"'".clone_into(&mut callback.request.headers);
    let sent = callback.request.clone();
    store.record(callback, Millis(10)).await.expect("recorded");
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(call.callbacks[0].request, sent);
}
