//! The audit log: an act and its row are one transaction, and a changed row is found.

use futures_util::future::join_all;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::audit::{Act, Actor, AuditEntry, KnownBy, Reason};
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::{
    AuditFilter, Dismissal, Expiry, NextState, State, Store, StoredAuditRow,
};

use super::place::{Place, account, claim_one, of_account, record, settle, sid};

pub fn alice() -> Actor {
    Actor::new("alice", KnownBy::Token)
}

fn why(text: &str) -> Reason {
    Reason::parse(text).expect("a reason")
}

async fn all(store: &dyn Store) -> Vec<StoredAuditRow> {
    let filter = AuditFilter {
        limit: 99,
        ..AuditFilter::default()
    };
    store.audit(filter).await.expect("read")
}

async fn parked(store: &dyn Store, number: u32, now: i64) {
    record(store, &sid(number), now).await;
    let claimed = claim_one(store, now).await;
    let next = NextState::Parked(Cause::Refused(422), "Acquire refused it".to_owned());
    settle(store, &claimed, next, now).await;
}

pub async fn a_requeue_and_a_dismissal_write_one_row_each(place: &Place) {
    let store = place.open();
    parked(&*store, 1, 0).await;
    parked(&*store, 2, 0).await;
    let reason = Some(why("the key is right now"));
    let requeued = store.requeue(&sid(1), alice(), reason, Millis(5)).await;
    assert!(requeued.expect("requeued"));
    let dismissed = store
        .dismiss(&sid(2), alice(), why("test calls"), Millis(6))
        .await;
    assert_eq!(dismissed.expect("dismissed"), Dismissal::Dismissed);
    let rows = all(&*store).await;
    let shown: Vec<_> = rows
        .iter()
        .map(|stored| {
            let row = &stored.row;
            let target = row.target.as_deref().expect("a target");
            (
                row.number,
                row.act,
                row.actor.as_str(),
                target,
                row.count,
                row.reason.as_deref(),
            )
        })
        .collect();
    let (first, second) = (sid(1).to_string(), sid(2).to_string());
    assert_eq!(
        shown,
        [
            (
                2,
                Act::Dismiss,
                "alice",
                &*second,
                Some(1),
                Some("test calls")
            ),
            (
                1,
                Act::Requeue,
                "alice",
                &*first,
                Some(1),
                Some("the key is right now")
            ),
        ]
    );
    let call = store.get(&sid(2)).await.expect("read").expect("known");
    assert_eq!(call.summary.state, State::Skipped);
    assert_eq!(call.summary.cause, Some(Cause::Dismissed));
    assert_eq!(
        call.summary.reason.as_deref(),
        Some("dismissed by alice: test calls")
    );
    let again = store.requeue(&sid(2), alice(), None, Millis(7)).await;
    assert!(again.expect("requeued"), "a requeue takes it back");
}

pub async fn an_act_without_effect_writes_no_row(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let unknown = store.requeue(&sid(9), alice(), None, Millis(1)).await;
    assert!(!unknown.expect("asked"));
    for (number, dismissal) in [
        (9, Dismissal::Unknown),
        (1, Dismissal::NotParked(State::Pending)),
    ] {
        let done = store
            .dismiss(&sid(number), alice(), why("x"), Millis(1))
            .await;
        assert_eq!(done.expect("asked"), dismissal);
    }
    assert!(all(&*store).await.is_empty());
}

pub async fn of_the_calls_of_two_accounts_the_parked_one_is_dismissed(place: &Place) {
    let store = place.open();
    parked(&*store, 5, 0).await;
    let other = of_account(2, &sid(5), &sid(5), "completed");
    store.record(other, Millis(1)).await.expect("recorded");
    let dismissed = store.dismiss(&sid(5), alice(), why("x"), Millis(2)).await;
    assert_eq!(dismissed.expect("asked"), Dismissal::Dismissed);
    for call in store.get_all(&sid(5)).await.expect("read") {
        let expected = if call.summary.account == account(1) {
            State::Skipped
        } else {
            State::Pending
        };
        assert_eq!(call.summary.state, expected);
    }
    assert_eq!(all(&*store).await[0].row.count, Some(1));
}

pub async fn rows_that_are_written_at_once_are_one_chain(place: &Place) {
    let store = place.open();
    for number in 1..=20 {
        record(&*store, &sid(number), 0).await;
    }
    let sids: Vec<_> = (1..=20).map(sid).collect();
    let requeues = sids
        .iter()
        .map(|sid| store.requeue(sid, alice(), None, Millis(1)));
    for requeued in join_all(requeues).await {
        assert!(requeued.expect("requeued"));
    }
    let numbers: Vec<_> = all(&*store).await.iter().map(|of| of.row.number).collect();
    assert_eq!(numbers, (1..=20).rev().collect::<Vec<_>>());
    assert_eq!(place.disagreements(), Vec::<String>::new());
}

pub async fn rows_are_found_by_actor_act_and_time(place: &Place) {
    let store = place.open();
    for (number, name) in (1..).zip(["alice", "bob", "alice"]) {
        let actor = Actor::new(name, KnownBy::Cli);
        let entry = AuditEntry::new(Act::Reload, actor, Millis(number));
        store.write_audit(entry).await.expect("written");
    }
    let found = async |filter: AuditFilter| {
        let rows = store.audit(filter).await.expect("read");
        rows.iter().map(|of| of.row.number).collect::<Vec<_>>()
    };
    let any = AuditFilter {
        limit: 9,
        ..AuditFilter::default()
    };
    let by = AuditFilter {
        actor: Some("alice".to_owned()),
        ..any.clone()
    };
    assert_eq!(found(by.clone()).await, [3, 1]);
    assert_eq!(found(AuditFilter { limit: 1, ..by }).await, [3]);
    let since = Some(Millis(2));
    assert_eq!(
        found(AuditFilter {
            since,
            ..any.clone()
        })
        .await,
        [3, 2]
    );
    let before = Some(3);
    assert_eq!(
        found(AuditFilter {
            before,
            ..any.clone()
        })
        .await,
        [2, 1]
    );
    let act = Some(Act::Expiry);
    assert_eq!(found(AuditFilter { act, ..any }).await, [0; 0]);
}

pub async fn calls_that_expire_parked_are_in_the_log(place: &Place) {
    let store = place.open();
    parked(&*store, 1, 0).await;
    parked(&*store, 2, 0).await;
    let expiry = Expiry {
        now: Millis(100),
        delivered_and_skipped: Millis(50),
        parked: Millis(50),
    };
    store.purge(expiry, 9).await.expect("purged");
    let rows = all(&*store).await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0].row;
    assert_eq!(
        (row.act, row.actor.as_str(), row.count),
        (Act::Expiry, "system", Some(2))
    );
}

pub async fn a_row_that_was_changed_or_removed_is_found(place: &Place) {
    let store = place.open();
    for number in 1..=4 {
        let entry = AuditEntry::new(Act::Reload, alice(), Millis(number));
        store.write_audit(entry).await.expect("written");
    }
    drop(store);
    place.changes("UPDATE audit SET row = replace(row, 'alice', 'mallory') WHERE number = 3");
    let found = place.disagreements();
    assert!(
        found.len() == 1 && found[0].contains("row 3 of the audit log"),
        "{found:?}"
    );
    place.changes("DELETE FROM audit WHERE number = 2");
    let found = place.disagreements();
    assert!(
        found.len() == 1 && found[0].contains("row 3 of the audit log"),
        "{found:?}"
    );
    place.changes("DELETE FROM audit WHERE number = 1");
    assert_eq!(place.disagreements().len(), 1, "the first row is missing");
    place.changes("DELETE FROM audit");
}
