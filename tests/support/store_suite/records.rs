//! What the comparison with Twilio's own records asks of a store.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{
    ClaimRequest, Expiry, NewCallback, NextState, Recorded, SignedRequest, Store,
};
use twilio_acquire_bridge::twilio::listed::RequestSource;

use super::place::{LEASE, Place, account, callback, claim_one, record, settle, sid};

/// The row of Twilio's list that replaces the first callback of a call.
fn listed(number: u32) -> NewCallback {
    let sid = sid(number);
    let row = format!(
        r#"{{"sid":"{sid}","account_sid":"{}","status":"completed","duration":"7"}}"#,
        account(1)
    );
    let request = SignedRequest {
        url: format!("https://api.example.com/Calls/{sid}.json"),
        headers: RequestSource::Listed.headers(None),
        body: row.into(),
    };
    NewCallback::of(request.read().expect("a row"), request)
}

async fn recorded(store: &dyn Store, callback: NewCallback, now: i64) -> Recorded {
    store.record(callback, Millis(now)).await.expect("recorded")
}

pub async fn each_leg_has_its_own_callbacks(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 5).await;
    recorded(&*store, callback(&sid(1), &sid(2), "completed"), 6).await;
    let sids = vec![sid(2), sid(3), sid(1)];
    let of = |number| place.look(|reader| reader.legs(&account(number), &sids).expect("legs"));
    let legs = of(1);
    let counts: Vec<usize> = legs.iter().map(|leg| leg.callbacks.len()).collect();
    assert_eq!(counts, [1, 0, 1]);
    assert_eq!(legs[0].callbacks[0].received, Millis(6));
    assert!(legs.iter().all(|leg| !leg.is_removed));
    let others = of(2);
    assert!(others.iter().all(|leg| leg.callbacks.is_empty()));
    let oldest = place.look(|reader| reader.oldest_call().expect("a time"));
    assert_eq!(oldest, Some(Millis(5)));
}

pub async fn a_leg_of_a_removed_call_is_marked(place: &Place) {
    let store = place.open();
    // PostgreSQL's tables exist after the first answer.
    store.counts().await.expect("counted");
    let oldest = place.look(|reader| reader.oldest_call().expect("no time"));
    assert_eq!(oldest, None);
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::Delivered, 1).await;
    let expiry = Expiry {
        now: Millis(10),
        delivered_and_skipped: Millis(10),
        parked: Millis(0),
    };
    store.purge(expiry, 10).await.expect("purged");
    let legs = place.look(|reader| reader.legs(&account(1), &[sid(1)]).expect("legs"));
    assert!(legs[0].is_removed && legs[0].callbacks.is_empty());
}

pub async fn notes_are_written_found_by_prefix_and_removed(place: &Place) {
    let store = place.open();
    let note = |key: &str, text: &str| (key.to_owned(), Some(text.to_owned()));
    let notes = vec![note("held/1", "a"), note("held/2", "b"), note("lease", "c")];
    store.write_notes(notes).await.expect("written");
    let changes = vec![note("held/2", "d"), ("held/1".to_owned(), None)];
    store.write_notes(changes).await.expect("written");
    drop(store);
    let store = place.open();
    let held = store.notes("held/".to_owned()).await.expect("notes");
    assert_eq!(held, [("held/2".to_owned(), "d".to_owned())]);
    let all = place.look(|reader| reader.notes("").expect("notes"));
    assert_eq!(all.len(), 2);
}

pub async fn a_note_is_replaced_only_if_it_is_as_it_was_read(place: &Place) {
    let store = place.open();
    let replace = async |before: Option<&str>, after: Option<&str>| {
        let change = ("lease".to_owned(), after.map(ToOwned::to_owned));
        let replaced = store
            .replace_note(change, before.map(ToOwned::to_owned))
            .await;
        replaced.expect("an answer")
    };
    assert!(replace(None, Some("one")).await);
    assert!(!replace(None, Some("two")).await);
    assert!(!replace(Some("two"), Some("three")).await);
    assert!(replace(Some("one"), Some("three")).await);
    assert!(!replace(Some("one"), None).await);
    assert!(replace(Some("three"), None).await);
    assert!(store.notes(String::new()).await.expect("notes").is_empty());
}

pub async fn a_signed_callback_is_stored_beside_the_row_and_the_row_never_beside_it(place: &Place) {
    let store = place.open();
    assert_eq!(recorded(&*store, listed(1), 0).await, Recorded::New);
    assert_eq!(recorded(&*store, listed(1), 1).await, Recorded::Repeated);
    let signed = || callback(&sid(1), &sid(1), "completed");
    assert_eq!(recorded(&*store, signed(), 2).await, Recorded::New);
    assert_eq!(recorded(&*store, signed(), 3).await, Recorded::Repeated);
    assert_eq!(recorded(&*store, listed(1), 4).await, Recorded::Repeated);
    record(&*store, &sid(2), 5).await;
    assert_eq!(recorded(&*store, listed(2), 6).await, Recorded::Repeated);
}

pub async fn an_imported_call_stands_behind_fresh_ones(place: &Place) {
    let store = place.open();
    let now = 1_000_000;
    recorded(&*store, listed(1), now).await;
    record(&*store, &sid(2), now).await;
    let next = async || {
        let claims = store.claim(Millis(now), LEASE, ClaimRequest::any(1)).await;
        claims.expect("claimed").calls[0].sid.clone()
    };
    assert_eq!(next().await, sid(2), "the fresh call first");
    assert_eq!(next().await, sid(1));
}
