//! Erasures: nothing is left of a call, and its callbacks make no new one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use twilio_acquire_bridge::app::operations::{Carrier, Pace, Step};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::domain::audit::{Act, Reason};
use twilio_acquire_bridge::domain::call_filter::CallFilter;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::domain::operation::{OperationKind, OperationState};
use twilio_acquire_bridge::domain::plan::Rules;
use twilio_acquire_bridge::domain::subject::Subject;
use twilio_acquire_bridge::store::erasure::{Compaction, NewErasure};
use twilio_acquire_bridge::store::ledger::Unit;
use twilio_acquire_bridge::store::{
    AuditFilter, Expiry, NewOperation, NextState, Operation, Recorded, RefusedFilter,
    RefusedLimits, RefusedRequest, RemovalCause, State, Store,
};

use super::auditing::alice;
use super::place::{Place, account, callback, claim_one, record, settle, sid, state};

/// The number of call 1: see [`super::place::number_of`].
pub const NUMBER: &str = "+12025550001";

pub async fn makes(store: &dyn Store, subject: &str, compaction: Compaction) -> Operation {
    let subject = Subject::parse_any(subject).expect("a subject");
    let words = subject.words(&store.address_hasher().await.expect("a key"));
    let new = NewOperation {
        key: words.clone(),
        kind: OperationKind::Erase,
        filter: CallFilter::default(),
        before: Millis(100),
        rate: NonZeroU32::new(1_000).expect("a rate"),
        actor: alice(),
        reason: Some(Reason::parse("request 17").expect("a reason")),
        erasure: Some(NewErasure {
            subject,
            words,
            compaction,
        }),
    };
    store.make_operation(new, Millis(100)).await.expect("made")
}

pub fn carrier(store: &Arc<dyn Store>) -> Carrier {
    Carrier {
        store: Arc::clone(store),
        clock: Clock::system(),
        pace: Pace::Unlimited,
        node: None,
        outage_of: Arc::new(|_| None),
    }
}

/// Carries out the only operation; returns it at its end.
pub async fn carries_out(store: &Arc<dyn Store>) -> Operation {
    let (carrier, rules) = (carrier(store), Arc::new(Rules::default()));
    loop {
        let step = carrier.step(&rules).await.expect("a step");
        let seen = store.operations(1).await.expect("read").remove(0);
        if seen.state.is_final() {
            return seen;
        }
        assert_eq!(step, Step::Changed, "{seen:?}");
    }
}

async fn erases(store: &Arc<dyn Store>, subject: &str) -> Operation {
    makes(&**store, subject, Compaction::Off).await;
    carries_out(store).await
}

pub fn refused(body: &str) -> RefusedRequest {
    RefusedRequest {
        at: Millis(5),
        cause: "no-match".to_owned(),
        explanation: String::new(),
        status: 403,
        peer: "192.0.2.1".to_owned(),
        method: "POST".to_owned(),
        target: "/twilio/voice/status".to_owned(),
        url: "https://bridge.example.com/twilio/voice/status".to_owned(),
        headers: String::new(),
        body_bytes: body.len() as u64,
        body: body.to_owned().into(),
    }
}

pub async fn an_erased_number_is_in_no_row_and_other_calls_stay(place: &Place) {
    let store: Arc<dyn Store> = place.open().into();
    record(&*store, &sid(1), 10).await;
    let claimed = claim_one(&*store, 10).await;
    settle(&*store, &claimed, NextState::Delivered, 10).await;
    // Call 2 has the number in an attempt, call 3 in no field, call 4 in a longer number.
    for (number, more) in [
        (2, "&X=mail+1+202+555+0001"),
        (3, ""),
        (4, "&X=120255500011"),
    ] {
        let mut of = callback(&sid(number), &sid(number), "completed");
        let form = String::from_utf8(of.request.body.to_vec()).expect("text");
        of.request.body = format!("{form}{more}").into();
        store.record(of, Millis(20)).await.expect("recorded");
        let claimed = claim_one(&*store, 20).await;
        let next = NextState::Parked(Cause::Refused(422), "refused".to_owned());
        settle(&*store, &claimed, next, 20).await;
    }
    let limits = RefusedLimits {
        most: 9,
        retention: Duration::from_secs(9),
    };
    let requests = ["From=%2B12025550001", "From=%2B12025550002"].map(refused);
    let kept = store.refuse(requests.to_vec(), limits, Millis(20)).await;
    kept.expect("kept");
    let done = erases(&store, NUMBER).await;
    assert_eq!(done.state, OperationState::Done);
    let receipt = done.receipt().expect("a receipt");
    let removed = receipt.removed;
    assert_eq!(
        (
            removed.calls,
            removed.legs,
            removed.undelivered,
            removed.refused
        ),
        (2, 2, 1, 1)
    );
    assert!(receipt.not_reached.iter().any(|of| of.contains("Acquire")));
    assert!(!format!("{:?} {:?}", receipt.lines(), done).contains("5550001"));
    for number in [1, 2] {
        assert!(store.get(&sid(number)).await.expect("read").is_none());
        let left = store.removed(&sid(number)).await.expect("read");
        assert_eq!(
            (left[0].cause, &left[0].reason),
            (RemovalCause::Erased, &None)
        );
    }
    assert_eq!(state(&*store, &sid(3)).await, State::Parked);
    assert_eq!(state(&*store, &sid(4)).await, State::Parked);
    let filter = RefusedFilter {
        id: None,
        cause: None,
        limit: 9,
    };
    let refused = store.refused(filter).await.expect("read");
    assert_eq!(refused.len(), 1);
    let filter = AuditFilter {
        limit: 9,
        ..AuditFilter::default()
    };
    let rows = store.audit(filter).await.expect("read");
    let acts: Vec<Act> = rows.iter().map(|of| of.row.act).collect();
    assert_eq!(acts, [Act::Erase, Act::OperationMade]);
    assert!(!format!("{rows:?}").contains("5550001"));
}

pub async fn callbacks_of_an_erased_call_store_nothing(place: &Place) {
    let store: Arc<dyn Store> = place.open().into();
    // Leg 12 came before its parent was known, so that its own call is merged.
    for (call, leg) in [(11, 12), (1, 11), (1, 1)] {
        let of = callback(&sid(call), &sid(leg), "completed");
        store.record(of, Millis(10)).await.expect("recorded");
    }
    let claimed = claim_one(&*store, 10).await;
    settle(&*store, &claimed, NextState::Delivered, 10).await;
    let done = erases(&store, sid(12).as_str()).await;
    let removed = done.receipt().expect("a receipt").removed;
    assert_eq!((removed.calls, removed.legs), (1, 3));
    for (call, leg, status) in [
        (1, 1, "completed"),
        (1, 13, "completed"),
        (11, 12, "busy"),
        (12, 14, "completed"),
    ] {
        let of = callback(&sid(call), &sid(leg), status);
        let recorded = store.record(of, Millis(200)).await.expect("answered");
        assert_eq!(recorded, Recorded::Erased, "{call} {leg}");
    }
    let counts = store.counts().await.expect("counted");
    assert_eq!((counts.seen, counts.purged, counts.pending), (2, 2, 0));
    // Long after: it is known for ever.
    let year = 365 * 24 * 3_600 * 1_000;
    let expiry = Expiry {
        now: Millis(year),
        delivered_and_skipped: Millis(year),
        parked: Millis(year),
    };
    store.purge(expiry, 99).await.expect("purged");
    assert_eq!(record(&*store, &sid(1), year).await, Recorded::Erased);
}

pub async fn a_call_is_erased_once_its_request_in_flight_has_ended(place: &Place) {
    let store: Arc<dyn Store> = place.open().into();
    record(&*store, &sid(1), 10).await;
    let claimed = claim_one(&*store, 10).await;
    makes(&*store, NUMBER, Compaction::Off).await;
    let rules = Arc::new(Rules::default());
    for _ in 0..4 {
        carrier(&store).step(&rules).await.expect("a step");
    }
    assert_eq!(state(&*store, &sid(1)).await, State::Claimed);
    settle(&*store, &claimed, NextState::Delivered, 20).await;
    let done = carries_out(&store).await;
    assert_eq!(done.receipt().expect("a receipt").removed.calls, 1);
    assert!(store.get(&sid(1)).await.expect("read").is_none());
}

pub async fn the_ledger_keeps_an_erased_call(place: &Place) {
    let store: Arc<dyn Store> = place.open().into();
    for number in [1, 2] {
        record(&*store, &sid(number), 10).await;
    }
    let claimed = super::place::claim(&*store, 10, 1).await.remove(0);
    settle(&*store, &claimed, NextState::Delivered, 10).await;
    for number in [1, 2] {
        makes(&*store, sid(number).as_str(), Compaction::Off).await;
    }
    let rules = Arc::new(Rules::default());
    while store
        .operations(9)
        .await
        .expect("read")
        .iter()
        .any(|of| !of.state.is_final())
    {
        carrier(&store).step(&rules).await.expect("a step");
    }
    let rows = store.ledger(Millis(0)..Millis(1)).await.expect("read");
    let of = |unit: Unit| {
        let row = rows
            .iter()
            .find(|row| row.account == account(1) && row.unit == unit);
        row.map_or(0, |row| row.calls)
    };
    assert_eq!(of(Unit::Received), 2);
    assert_eq!(of(Unit::Class(Class::InTime, None)), 1);
    assert_eq!(of(Unit::Class(Class::Erased, None)), 1);
}
