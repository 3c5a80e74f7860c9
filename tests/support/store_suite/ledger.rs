//! Causes of calls, and the numbers that are kept of them.

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::{NextState, Store};

use super::auditing::alice;
use super::place::{Place, callback, claim_one, record, settle, sid};

async fn cause(store: &dyn Store, number: u32) -> Option<Cause> {
    let call = store.get(&sid(number)).await.expect("read");
    call.expect("the call is known").summary.cause
}

pub async fn a_finished_call_has_a_cause_until_it_is_due_again(place: &Place) {
    let store = place.open();
    let why = || "as it was".to_owned();
    let finished = [
        (
            Cause::Refused(422),
            NextState::Parked(Cause::Refused(422), why()),
        ),
        (Cause::NoTo, NextState::Skipped(Cause::NoTo, why())),
    ];
    for (number, (of_it, next)) in (1..).zip(finished) {
        record(&*store, &sid(number), 0).await;
        settle(&*store, &claim_one(&*store, 0).await, next.clone(), 1).await;
        assert_eq!(cause(&*store, number).await, Some(of_it));
        store
            .requeue(&sid(number), alice(), None, Millis(2))
            .await
            .expect("written");
        assert_eq!(cause(&*store, number).await, None);
        settle(&*store, &claim_one(&*store, 2).await, next.clone(), 3).await;
        assert_eq!(cause(&*store, number).await, Some(of_it));
        let busy = callback(&sid(number), &sid(number), "busy");
        store.record(busy, Millis(4)).await.expect("recorded");
        assert_eq!(cause(&*store, number).await, None);
        settle(&*store, &claim_one(&*store, 4).await, next, 5).await;
        // A leg that started a call of its own is found to be a part of this one.
        record(&*store, &sid(number + 10), 6).await;
        let child = callback(&sid(number), &sid(number + 10), "busy");
        store.record(child, Millis(7)).await.expect("recorded");
        assert_eq!(cause(&*store, number).await, None);
        settle(
            &*store,
            &claim_one(&*store, 7).await,
            NextState::Delivered,
            8,
        )
        .await;
        assert_eq!(cause(&*store, number).await, None);
    }
    let skipped = place.look(|reader| reader.list(twilio_acquire_bridge::store::ListFilter::ALL));
    let parts = skipped
        .expect("read")
        .into_iter()
        .filter_map(|call| call.cause);
    assert_eq!(parts.collect::<Vec<_>>(), [Cause::PartOfAnother; 2]);
}
