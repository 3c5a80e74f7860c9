//! Bulk operations: each call is changed once, whatever happens meanwhile.

use std::num::NonZeroU32;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::audit::{Act, Reason};
use twilio_acquire_bridge::domain::call_filter::{CallFilter, FilterSource};
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::operation::{OperationChange, OperationKind, OperationState};
use twilio_acquire_bridge::store::{
    AuditFilter, Cursor, NewOperation, NextState, Operation, OperationBatch, State, Store,
};

use super::auditing::alice;
use super::place::{Place, account, claim_one, record, settle, sid, state};

async fn parked(store: &dyn Store, numbers: std::ops::RangeInclusive<u32>, now: i64) {
    for number in numbers {
        record(store, &sid(number), now).await;
        let claimed = claim_one(store, now).await;
        let next = NextState::Parked(Cause::Refused(422), "refused".to_owned());
        settle(store, &claimed, next, now).await;
    }
}

fn new(key: &str, kind: OperationKind, before: i64) -> NewOperation {
    let mut filter = CallFilter::default();
    filter
        .set("state", "parked", Millis(0), FilterSource::Typed)
        .expect("a filter");
    NewOperation {
        key: key.to_owned(),
        kind,
        filter,
        before: Millis(before),
        rate: NonZeroU32::new(10).expect("a rate"),
        actor: alice(),
        reason: Some(Reason::parse("the key is right now").expect("a reason")),
        erasure: None,
    }
}

fn batch(of: &Operation, numbers: std::ops::RangeInclusive<u32>, to: Cursor) -> OperationBatch {
    OperationBatch {
        operation: of.id,
        from: of.position,
        to,
        calls: numbers.map(|number| (sid(number), account(1))).collect(),
        refused: Vec::new(),
        held_for: None,
    }
}

async fn latest(store: &dyn Store) -> Operation {
    store.operations(1).await.expect("read").remove(0)
}

async fn acts(store: &dyn Store) -> Vec<Act> {
    let filter = AuditFilter {
        limit: 99,
        ..AuditFilter::default()
    };
    let rows = store.audit(filter).await.expect("read");
    rows.iter().rev().map(|of| of.row.act).collect()
}

pub async fn a_batch_changes_its_calls_and_moves_the_operation_in_one_step(place: &Place) {
    let store = place.open();
    parked(&*store, 1..=3, 1).await;
    parked(&*store, 4..=4, 9).await;
    let made = store
        .make_operation(new("a", OperationKind::Requeue, 5), Millis(5))
        .await;
    let made = made.expect("made");
    let first = batch(&made, 1..=2, Cursor::Behind(1, 2));
    store
        .carry_out(first.clone(), Millis(10))
        .await
        .expect("done");
    // Another node, or this one after a crash, finds that the operation has moved on.
    store.carry_out(first, Millis(11)).await.expect("done");
    assert_eq!(state(&*store, &sid(1)).await, State::Pending);
    let seen = latest(&*store).await;
    assert_eq!((seen.done, seen.failed), (2, 0));
    assert_eq!(seen.position, Cursor::Behind(1, 2));
    // Call 4 was parked later, and call 7 was removed.
    let rest = OperationBatch {
        calls: [3, 4, 7].map(|number| (sid(number), account(1))).to_vec(),
        ..batch(&seen, 3..=3, Cursor::End)
    };
    store.carry_out(rest, Millis(12)).await.expect("done");
    let seen = latest(&*store).await;
    assert_eq!(
        (seen.done, seen.failed, seen.state),
        (3, 2, OperationState::Done)
    );
    assert_eq!(state(&*store, &sid(4)).await, State::Parked);
    assert_eq!(
        acts(&*store).await,
        [Act::OperationMade, Act::OperationFinished]
    );
}

pub async fn a_key_makes_one_operation(place: &Place) {
    let store = place.open();
    let make = || store.make_operation(new("a", OperationKind::Requeue, 5), Millis(5));
    let (one, other) = tokio::join!(make(), make());
    assert_eq!(one.expect("made").id, other.expect("found").id);
    assert_eq!(store.operations(9).await.expect("read").len(), 1);
    assert_eq!(acts(&*store).await, [Act::OperationMade]);
}

pub async fn a_slot_of_the_rate_is_taken_once(place: &Place) {
    let store = place.open();
    let made = store
        .make_operation(new("a", OperationKind::Requeue, 5), Millis(5))
        .await;
    let id = made.expect("made").id;
    let take = async |now| {
        store
            .take_slot(id, Millis(now))
            .await
            .expect("asked")
            .is_some()
    };
    assert!(take(1_000).await);
    // Two calls at ten a second.
    assert!(!take(1_000).await && !take(1_199).await);
    assert!(take(1_200).await);
}

pub async fn a_paused_operation_changes_nothing_until_it_is_resumed(place: &Place) {
    let store = place.open();
    parked(&*store, 1..=2, 1).await;
    let made = store
        .make_operation(new("a", OperationKind::Dismiss, 5), Millis(5))
        .await;
    let id = made.expect("made").id;
    let change = async |change, rate: Option<u32>| {
        let rate = rate.and_then(NonZeroU32::new);
        let changed = store
            .change_operation(id, change, rate, alice(), Millis(6))
            .await;
        changed.expect("asked").expect("known")
    };
    let paused = change(OperationChange::Pause, None).await;
    assert_eq!(paused.state, OperationState::Paused);
    store
        .carry_out(batch(&paused, 1..=1, Cursor::End), Millis(7))
        .await
        .expect("asked");
    assert!(
        store
            .take_slot(id, Millis(9_000))
            .await
            .expect("asked")
            .is_none()
    );
    assert_eq!(state(&*store, &sid(1)).await, State::Parked);
    let resumed = change(OperationChange::Resume, Some(20)).await;
    assert_eq!(
        (resumed.state, resumed.rate.get()),
        (OperationState::Running, 20)
    );
    let first = batch(&resumed, 1..=1, Cursor::Behind(1, 1));
    store.carry_out(first, Millis(7)).await.expect("asked");
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    let reason = "dismissed by alice: the key is right now";
    assert_eq!(call.summary.reason.as_deref(), Some(reason));
    assert_eq!(call.summary.cause, Some(Cause::Dismissed));
    let cancelled = change(OperationChange::Cancel, None).await;
    assert_eq!(cancelled.state, OperationState::Cancelled);
    let resumed = change(OperationChange::Resume, None).await;
    assert_eq!(resumed.state, OperationState::Cancelled, "it stays so");
    let expected = [
        Act::OperationMade,
        Act::OperationPaused,
        Act::OperationResumed,
        Act::OperationCancelled,
    ];
    assert_eq!(acts(&*store).await, expected);
}

pub async fn a_call_that_is_being_sent_is_left_alone(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 1).await;
    let mut of_pending = new("a", OperationKind::Requeue, 5);
    of_pending.filter.state = Some(State::Pending);
    let made = store.make_operation(of_pending, Millis(5)).await;
    let made = made.expect("made");
    let claimed = claim_one(&*store, 5).await;
    store
        .carry_out(batch(&made, 1..=1, Cursor::End), Millis(6))
        .await
        .expect("asked");
    let seen = latest(&*store).await;
    assert_eq!((seen.done, seen.failed), (0, 1));
    settle(&*store, &claimed, NextState::Delivered, 7).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
}
