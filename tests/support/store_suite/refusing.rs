//! Refused requests are kept for diagnosis, within limits.

use std::time::Duration;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::store::{
    RefusedCause, RefusedFilter, RefusedLimits, RefusedRequest, Store,
};

use super::place::Place;

const TEN_FOR_AN_HOUR: RefusedLimits = RefusedLimits {
    most: 10,
    retention: Duration::from_secs(3600),
};

fn refused(cause: &str, at: i64) -> RefusedRequest {
    RefusedRequest {
        at: Millis(at),
        cause: cause.to_owned(),
        explanation: "the query was sorted on the way.\nKeep it as it is.".to_owned(),
        status: 403,
        peer: "203.0.113.7".to_owned(),
        method: "POST".to_owned(),
        target: "/twilio/voice/status?b=2&a=1".to_owned(),
        url: "https://bridge.example.com/twilio/voice/status?b=2&a=1".to_owned(),
        headers: "x-twilio-signature: bm8=\n".to_owned(),
        body: (&b"From=\x00\xff"[..]).into(),
        body_bytes: 7,
    }
}

async fn refuse(store: &dyn Store, requests: Vec<RefusedRequest>, now: i64) {
    let kept = store.refuse(requests, TEN_FOR_AN_HOUR, Millis(now)).await;
    kept.expect("kept");
}

async fn causes(store: &dyn Store) -> Vec<RefusedCause> {
    store.refused_by_cause().await.expect("read")
}

pub async fn a_refused_request_is_read_back_as_it_was(place: &Place) {
    let store = place.open();
    refuse(&*store, vec![refused("query-sorted", 1)], 1).await;
    drop(store);
    let store = place.open();
    let example = causes(&*store).await.remove(0).example;
    let filter = RefusedFilter {
        id: Some(example),
        cause: None,
        limit: 1,
    };
    let read = store.refused(filter).await.expect("read").remove(0);
    assert_eq!(
        (read.id, read.request),
        (example, refused("query-sorted", 1))
    );
}

pub async fn refused_requests_are_counted_and_listed_by_cause(place: &Place) {
    let store = place.open();
    let three = ["malformed", "no-match", "malformed"];
    let three = (1..).zip(three).map(|(at, cause)| refused(cause, at));
    refuse(&*store, three.collect(), 3).await;
    let counted: Vec<_> = causes(&*store)
        .await
        .into_iter()
        .map(|counted| (counted.cause, counted.count, counted.first, counted.last))
        .collect();
    let malformed = ("malformed".to_owned(), 2, Millis(1), Millis(3));
    let no_match = ("no-match".to_owned(), 1, Millis(2), Millis(2));
    assert_eq!(counted, [malformed, no_match], "the latest cause first");
    let filter = RefusedFilter {
        id: None,
        cause: Some("malformed".to_owned()),
        limit: 1,
    };
    let latest = store.refused(filter).await.expect("read");
    let at: Vec<Millis> = latest.iter().map(|read| read.request.at).collect();
    assert_eq!(at, [Millis(3)]);
}

pub async fn a_flood_of_one_cause_pushes_out_no_other(place: &Place) {
    let store = place.open();
    let rare = |at| refused("query-sorted", at);
    refuse(&*store, vec![rare(1), rare(2)], 2).await;
    for at in 0..20 {
        refuse(&*store, vec![refused("no-match", 10 + at); 5], 10 + at).await;
    }
    let kept: Vec<_> = causes(&*store)
        .await
        .into_iter()
        .map(|counted| (counted.cause, counted.count, counted.first))
        .collect();
    let flood = ("no-match".to_owned(), 8, Millis(28));
    let rare = ("query-sorted".to_owned(), 2, Millis(1));
    assert_eq!(
        kept,
        [flood, rare],
        "of the flood the latest, and all that is rare"
    );
}

pub async fn refused_requests_go_when_their_time_is_over(place: &Place) {
    let store = place.open();
    refuse(&*store, vec![refused("no-match", 0)], 0).await;
    refuse(&*store, vec![refused("no-match", 1_000)], 1_000).await;
    refuse(&*store, Vec::new(), 3_600_500).await;
    let kept = causes(&*store).await;
    assert_eq!((kept[0].count, kept[0].first), (1, Millis(1_000)));
    refuse(&*store, Vec::new(), 9_999_999).await;
    assert!(causes(&*store).await.is_empty());
}

pub async fn the_number_of_a_refused_request_is_not_used_again(place: &Place) {
    let store = place.open();
    refuse(&*store, vec![refused("no-match", 0)], 0).await;
    let first = causes(&*store).await[0].example;
    refuse(&*store, Vec::new(), 9_999_999).await;
    refuse(&*store, vec![refused("no-match", 9_999_999)], 9_999_999).await;
    let second = causes(&*store).await[0].example;
    assert!(second > first, "{second} after {first}");
}
