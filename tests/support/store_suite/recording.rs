//! Each callback is kept once, in its call.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{NewCallback, NextState, Recorded, State};
use twilio_acquire_bridge::twilio::CallSid;

use super::place::{Place, callback, claim, claim_one, of_account, record, settle, sid, state};

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

/// A repeat of the end of call 1 with these fields added.
fn end_with(fields: &str) -> NewCallback {
    let mut end = callback(&sid(1), &sid(1), "completed");
    end.request.body = [&end.request.body[..], fields.as_bytes()].concat().into();
    end
}

pub async fn a_repeat_with_new_fields_is_stored(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 10).await;
    let first = claim_one(&*store, 10).await;
    settle(&*store, &first, NextState::Delivered, 11).await;
    for (now, fields, expected) in [
        // An empty field, or another value, is nothing new.
        (20, "&RecordingUrl=", Recorded::Repeated),
        (21, "&RecordingUrl=a", Recorded::New),
        (22, "&RecordingUrl=b", Recorded::Repeated),
        (23, "&RecordingUrl=b&CallDuration=5", Recorded::New),
        (24, "&CallDuration=5", Recorded::Repeated),
    ] {
        let recorded = store.record(end_with(fields), Millis(now)).await;
        assert_eq!(recorded.expect("recorded"), expected, "{fields}");
    }
    assert_eq!(state(&*store, &sid(1)).await, State::Pending);
    let call = claim_one(&*store, 30).await;
    let received: Vec<i64> = call.callbacks.iter().map(|at| at.received.0).collect();
    assert_eq!(received, [10, 21, 23]);
    assert_eq!(call.planned_callbacks, 1);
    settle(&*store, &call, NextState::Delivered, 31).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
}

pub async fn at_most_four_callbacks_of_a_key_are_stored(place: &Place) {
    let store: std::sync::Arc<dyn twilio_acquire_bridge::store::Store> = place.open().into();
    record(&*store, &sid(1), 10).await;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let store = std::sync::Arc::clone(&store);
            let end = end_with(&format!("&field{number}=1"));
            tokio::spawn(async move { store.record(end, Millis(20)).await.expect("recorded") })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.expect("no panic") == Recorded::New);
    }
    assert_eq!(new, 3);
    assert_eq!(claim_one(&*store, 30).await.callbacks.len(), 4);
}
