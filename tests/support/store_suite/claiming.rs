//! Calls are claimed when due, by one worker at a time, and settled with their new state.

use std::time::Duration;

use twilio_acquire_bridge::acquire::DeliveryFault;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::attempt::{Attempt, Verdict};
use twilio_acquire_bridge::domain::call_addresses::CallTerms;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::domain::plan::ReportMode;
use twilio_acquire_bridge::store::{
    AccountFilter, ClaimRequest, ListOrder, NextState, Recorded, Settlement, State, Store,
    StoreError,
};
use twilio_acquire_bridge::twilio::CallSid;

use super::auditing::alice;
use super::place::{
    LEASE, Place, Room, account, attempt, callback, claim, claim_one, longest_due_first, next_due,
    of_account, record, retry_now, settle, settlement, sid, sids, state,
};

pub async fn calls_are_handed_out_in_the_order_they_fell_due(place: &Place) {
    let store = place.open();
    for (call, at) in [(1, 30), (2, 10), (3, 20), (4, 20), (5, 99)] {
        record(&*store, &sid(call), at).await;
    }
    assert_eq!(sids(&claim(&*store, 50, 3).await), [sid(2), sid(3), sid(4)]);
    assert_eq!(sids(&claim(&*store, 50, 3).await), [sid(1)]);
    // A call that was due earlier than those already claimed is not skipped.
    record(&*store, &sid(6), 5).await;
    assert_eq!(sids(&claim(&*store, 50, 3).await), [sid(6)]);
}

pub async fn a_claimed_call_is_handed_out_again_only_after_its_lease(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 10).await;
    claim_one(&*store, 10).await;
    assert!(claim(&*store, 60_009, 10).await.is_empty());
    assert_eq!(claim(&*store, 60_010, 10).await.len(), 1);
    assert!(claim(&*store, 60_011, 10).await.is_empty());
}

pub async fn a_ticket_is_stale_once_another_claim_was_made(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let first = claim_one(&*store, 0).await;
    let second = claim_one(&*store, 60_000).await;
    let late = store.settle(
        first.ticket,
        settlement(&sid(1), NextState::Delivered, 1),
        Millis(1),
    );
    assert!(matches!(late.await, Err(StoreError::StaleTicket)));
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(
        (call.summary.state, call.attempts.len()),
        (State::Claimed, 0)
    );
    settle(&*store, &second, NextState::Delivered, 60_001).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
}

pub async fn a_ticket_settles_once(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    let both = tokio::join!(
        store.settle(
            claimed.ticket.clone(),
            settlement(&sid(1), NextState::Delivered, 1),
            Millis(1)
        ),
        store.settle(
            claimed.ticket.clone(),
            settlement(
                &sid(1),
                NextState::Parked(Cause::Refused(422), "x".to_owned()),
                1
            ),
            Millis(1)
        ),
    );
    assert!(matches!(both, (Ok(_), Err(StoreError::StaleTicket))));
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
}

pub async fn a_late_ticket_is_valid_while_no_other_node_claimed(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::Delivered, 70_000).await;
    assert!(claim(&*store, 80_000, 10).await.is_empty());
}

pub async fn a_retry_is_handed_out_when_it_is_due(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::PendingAt(Millis(500)), 1).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Pending);
    assert!(claim(&*store, 499, 10).await.is_empty());
    assert_eq!(claim_one(&*store, 500).await.attempts.len(), 1);
}

pub async fn a_callback_recorded_while_claimed_makes_the_call_due_at_once(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    let second = store
        .record(callback(&sid(1), &sid(2), "busy"), Millis(5))
        .await;
    assert_eq!(second.expect("recorded"), Recorded::New);
    assert!(claim(&*store, 6, 10).await.is_empty(), "still claimed");
    settle(&*store, &claimed, NextState::Delivered, 7).await;
    let again = claim_one(&*store, 7).await;
    assert_eq!((again.callbacks.len(), again.attempts.len()), (2, 1));
}

pub async fn a_claim_returns_what_the_last_settled_one_had(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let first = claim_one(&*store, 0).await;
    assert_eq!((first.planned_callbacks, first.callbacks.len()), (0, 1));
    let second = callback(&sid(1), &sid(2), "busy");
    store.record(second, Millis(5)).await.expect("recorded");
    settle(&*store, &first, NextState::Delivered, 7).await;
    let overtaken = claim_one(&*store, 7).await;
    assert_eq!(
        (overtaken.planned_callbacks, overtaken.callbacks.len()),
        (1, 2)
    );
    settle(&*store, &overtaken, NextState::Delivered, 8).await;
    let third = callback(&sid(1), &sid(3), "busy");
    store.record(third, Millis(9)).await.expect("recorded");
    let last = claim_one(&*store, 9).await;
    assert_eq!((last.planned_callbacks, last.callbacks.len()), (2, 3));
}

pub async fn a_leg_that_ends_after_delivery_makes_the_call_due(place: &Place) {
    second_leg_after(&*place.open(), NextState::Delivered).await;
}

pub async fn a_leg_that_ends_after_parking_makes_the_call_due(place: &Place) {
    second_leg_after(
        &*place.open(),
        NextState::Parked(Cause::Refused(422), "refused".to_owned()),
    )
    .await;
}

async fn second_leg_after(store: &dyn Store, next: NextState) {
    record(store, &sid(1), 0).await;
    let claimed = claim_one(store, 0).await;
    settle(store, &claimed, next, 1).await;
    assert_eq!(record(store, &sid(1), 2).await, Recorded::Repeated);
    assert!(
        claim(store, 3, 10).await.is_empty(),
        "a repeat makes no request due"
    );
    let second = store.record(callback(&sid(1), &sid(2), "busy"), Millis(5));
    second.await.expect("recorded");
    let again = claim_one(store, 5).await;
    assert_eq!((again.callbacks.len(), again.attempts.len()), (2, 1));
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(call.summary.reason, None);
}

pub async fn a_claim_ends_with_the_process(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    claim_one(&*store, 0).await;
    drop(store);
    assert_eq!(claim_one(&*place.open(), 1).await.sid, sid(1));
}

pub async fn attempts_are_read_back_as_they_were_made(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let made = [
        Attempt {
            status: Some(503),
            fault: Some(DeliveryFault::Busy),
            sent: r#"{"From":"+12025550123"}"#.to_owned(),
            excerpt: "no \"room\"".to_owned(),
            ..attempt(&sid(1), Verdict::Again(Millis(2)), 1)
        },
        Attempt {
            status: None,
            report_mode: ReportMode::Call,
            fault: Some(DeliveryFault::TimeOut),
            took: Duration::from_secs(10),
            ..attempt(&sid(2), Verdict::GivenUp("used up".to_owned()), 2)
        },
        attempt(&sid(1), Verdict::AcceptedAsRepeat, 3),
        attempt(&sid(1), Verdict::Accepted, 4),
    ];
    for attempt in &made {
        let ticket = claim_one(&*store, attempt.at.0).await.ticket;
        let settlement = Settlement {
            class: Class::Waiting,
            attempt: Some(attempt.clone()),
            next: NextState::PendingAt(attempt.at),
            failing_since: None,
            terms: CallTerms::default(),
        };
        let settled = store.settle(ticket, settlement, attempt.at);
        settled.await.expect("settled");
    }
    assert_eq!(claim_one(&*store, 5).await.attempts, made);
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(call.attempts, made);
}

pub async fn the_next_due_time_leaves_claimed_calls_out(place: &Place) {
    let store = place.open();
    assert_eq!(next_due(&*store).await, None);
    record(&*store, &sid(1), 10).await;
    record(&*store, &sid(2), 20).await;
    assert_eq!(next_due(&*store).await, Some(Millis(10)));
    let first = claim(&*store, 15, 1).await.remove(0);
    assert_eq!(next_due(&*store).await, Some(Millis(20)));
    claim(&*store, 20, 1).await;
    assert_eq!(next_due(&*store).await, None);
    settle(&*store, &first, NextState::PendingAt(Millis(15)), 21).await;
    assert_eq!(next_due(&*store).await, Some(Millis(15)));
}

pub async fn of_a_backlog_the_freshest_calls_come_first(place: &Place) {
    let store = place.open();
    let minute = 60_000;
    for (call, at) in [(1, 0), (2, 1), (3, 2), (4, 9 * minute), (5, 10 * minute)] {
        record(&*store, &sid(call), at).await;
    }
    let claim = async |limit| {
        let claims = store.claim(Millis(10 * minute), LEASE, ClaimRequest::any(limit));
        sids(&claims.await.expect("claimed").calls)
    };
    assert_eq!(claim(1).await, [sid(5)]);
    assert_eq!(claim(2).await, [sid(4), sid(3)]);
    assert_eq!(claim(9).await, [sid(2), sid(1)]);
}

pub async fn calls_are_handed_out_by_account(place: &Place) {
    let store = place.open();
    for call in 1..=6 {
        let new = of_account(1 + call % 3, &sid(call), &sid(call), "completed");
        store
            .record(new, Millis(call.into()))
            .await
            .expect("recorded");
    }
    let claim = async |accounts| {
        let wanted = ClaimRequest {
            accounts,
            ..longest_due_first(9)
        };
        let claims = store
            .claim(Millis(9), LEASE, wanted)
            .await
            .expect("claimed");
        (sids(&claims.calls), claims.next_due)
    };
    let only = AccountFilter::Only(vec![account(1)]);
    assert_eq!(claim(only.clone()).await, (vec![sid(3), sid(6)], None));
    assert_eq!(claim(only.clone()).await, (vec![], None));
    let but = AccountFilter::AllBut(vec![account(1), account(3)]);
    assert_eq!(claim(but).await, (vec![sid(1), sid(4)], None));
    record_for(&*store, 1, 7, 8).await;
    assert_eq!(claim(only).await, (vec![sid(7)], None));
    assert_eq!(
        claim(AccountFilter::All).await,
        (vec![sid(2), sid(5)], None)
    );
}

pub async fn many_calls_of_others_are_passed_over_step_by_step(place: &Place) {
    let store = place.open();
    for call in 0..2_500 {
        record_for(&*store, 1, call, 1).await;
    }
    record_for(&*store, 2, 9_999, 2).await;
    let wanted = || ClaimRequest {
        accounts: AccountFilter::Only(vec![account(2)]),
        ..longest_due_first(9)
    };
    let mut looks = 0;
    loop {
        looks += 1;
        let claims = store
            .claim(Millis(5), LEASE, wanted())
            .await
            .expect("claimed");
        if !claims.calls.is_empty() {
            assert_eq!(sids(&claims.calls), [sid(9_999)]);
            break;
        }
        let next = claims.next_due.expect("there are more calls");
        assert!(next <= Millis(5) && looks < 10, "look {looks}: {next}");
    }
}

pub async fn calls_with_attempts_are_retried_now_and_no_others(place: &Place) {
    let store = place.open();
    for call in [1, 2] {
        record(&*store, &sid(call), 0).await;
        let claimed = claim_one(&*store, 0).await;
        settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 1).await;
    }
    record_for(&*store, 2, 3, 500).await;
    let retry_now = async |accounts, limit| {
        store
            .retry_now(accounts, Millis(10), limit)
            .await
            .expect("done")
    };
    assert_eq!(retry_now(AccountFilter::Only(vec![account(2)]), 9).await, 0);
    assert_eq!(retry_now(AccountFilter::All, 1).await, 1);
    assert_eq!(claim(&*store, 10, 9).await.len(), 1);
    assert_eq!(retry_now(AccountFilter::All, 9).await, 1);
    assert_eq!(retry_now(AccountFilter::All, 9).await, 0);
    assert_eq!(claim(&*store, 10, 9).await.len(), 1);
}

pub async fn a_call_that_is_being_sent_is_retried_now_once_it_is_settled(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    assert_eq!(retry_now(&*store, 10).await, 0);
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 11).await;
    let claimed = claim_one(&*store, 11).await;
    assert_eq!(claimed.retry_now_at, Some(Millis(10)));
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 12).await;
    assert!(claim(&*store, 899, 9).await.is_empty(), "only once");
    assert_eq!(retry_now(&*store, 20).await, 1);
    assert_eq!(claim_one(&*store, 20).await.retry_now_at, Some(Millis(20)));
}

pub async fn a_due_call_with_a_later_retry_is_retried_now_also_after_a_restart(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 1).await;
    let second = store.record(callback(&sid(1), &sid(2), "busy"), Millis(5));
    second.await.expect("recorded");
    assert_eq!(retry_now(&*store, 10).await, 1);
    assert_eq!(retry_now(&*store, 11).await, 0, "nothing changed since");
    drop(store);
    let store = place.open();
    let call = store.get(&sid(1)).await.expect("read").expect("known");
    assert_eq!(call.retry_now_at, Some(Millis(10)));
    assert_eq!(claim_one(&*store, 10).await.retry_now_at, Some(Millis(10)));
}

async fn record_for(store: &dyn Store, number: u32, call: u32, now: i64) {
    let new = of_account(number, &sid(call), &sid(call), "completed");
    store.record(new, Millis(now)).await.expect("recorded");
}

pub async fn calls_that_wait_for_more_than_a_second_are_a_backlog(place: &Place) {
    let store = place.open();
    for call in 1..=3 {
        record(&*store, &sid(call), i64::from(call)).await;
    }
    let claim = async |now| {
        let claims = store.claim(Millis(now), LEASE, ClaimRequest::any(1)).await;
        sids(&claims.expect("claimed").calls)
    };
    assert_eq!(claim(1_000).await, [sid(1)]);
    assert_eq!(claim(1_003).await, [sid(3)]);
}

pub async fn calls_that_have_not_failed_come_first_where_some_fail(place: &Place) {
    let store = place.open();
    for call in [1, 2] {
        record(&*store, &sid(call), 0).await;
        fail(&*store, &sid(call), 1, 5).await;
    }
    for (call, at) in [(3, 2), (4, 3)] {
        record(&*store, &sid(call), at).await;
    }
    let all = claim_unfailed(&*store, 9, 3).await;
    assert_eq!(all, [sid(4), sid(3), sid(1)]);
    assert_eq!(claim_unfailed(&*store, 9, 3).await, [sid(2)]);
    // One that fell due earlier than those is found later too.
    record(&*store, &sid(5), 1).await;
    assert_eq!(claim_unfailed(&*store, 9, 3).await, [sid(5)]);
}

pub async fn a_thousand_failing_calls_hide_no_healthy_one(place: &Place) {
    let store = place.open();
    for call in 1..=1_000 {
        record(&*store, &sid(call), 0).await;
    }
    for claimed in claim(&*store, 0, 1_000).await {
        settle(&*store, &claimed, NextState::PendingAt(Millis(1)), 1).await;
    }
    record(&*store, &sid(2_000), 2).await;
    assert_eq!(claim_unfailed(&*store, 9, 1).await, [sid(2_000)]);
    assert_eq!(claim_unfailed(&*store, 9, 1).await, [sid(1)]);
    assert_eq!(sids(&claim(&*store, 9, 1).await), [sid(2)]);
}

pub async fn a_call_that_failed_again_after_it_was_retried_now_keeps_its_time(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 0).await;
    let settled_at = async |claimed_at, failing_since, now| {
        let claimed = claim_one(&*store, claimed_at).await;
        let settlement = Settlement {
            failing_since: Some(Millis(failing_since)),
            ..settlement(&sid(1), NextState::PendingAt(Millis(900)), now)
        };
        let settled = store.settle(claimed.ticket, settlement, Millis(now));
        settled.await.expect("settled");
    };
    settled_at(0, 1, 1).await;
    assert_eq!(retry_now(&*store, 10).await, 1);
    settled_at(10, 1, 11).await;
    assert_eq!(retry_now(&*store, 20).await, 0, "it failed again since");
    assert!(claim(&*store, 899, 9).await.is_empty());
    let claimed = claim_one(&*store, 900).await;
    assert_eq!(claimed.failing_since, Some(Millis(1)));
    settle(&*store, &claimed, NextState::Delivered, 901).await;
    store
        .requeue(&sid(1), alice(), None, Millis(902))
        .await
        .expect("requeued");
    settled_at(902, 903, 903).await;
    assert_eq!(retry_now(&*store, 904).await, 1, "it began to fail later");
}

/// Claims calls in the order of a node on which calls fail.
async fn claim_unfailed(store: &dyn Store, now: i64, limit: usize) -> Vec<CallSid> {
    let wanted = ClaimRequest {
        order: ListOrder::UnfailedFirst,
        ..ClaimRequest::any(limit)
    };
    let claims = store.claim(Millis(now), LEASE, wanted).await;
    sids(&claims.expect("claimed").calls)
}

/// Settles the only due call as failed, due again at `again`.
async fn fail(store: &dyn Store, call: &CallSid, now: i64, again: i64) {
    let claimed = claim_one(store, now).await;
    assert_eq!(claimed.sid, *call);
    settle(store, &claimed, NextState::PendingAt(Millis(again)), now).await;
}

pub async fn an_offer_takes_a_new_call_or_wakes_the_worker(place: &Place) {
    let store = place.open();
    let room = Room::new();
    let offered = [
        (callback(&sid(1), &sid(1), "completed"), Recorded::New),
        (callback(&sid(1), &sid(1), "completed"), Recorded::Repeated),
        (callback(&sid(1), &sid(2), "completed"), Recorded::New),
        (callback(&sid(3), &sid(4), "completed"), Recorded::New),
        (callback(&sid(5), &sid(5), "busy"), Recorded::New),
    ];
    for (callback, expected) in offered {
        let (handed, recorded) = room.record(&*store, callback, 10).await;
        assert_eq!(recorded, expected);
        let mut found = claim(&*store, 10, 9).await;
        if handed.is_some() {
            assert!(found.is_empty(), "{found:?}");
        }
        found.extend(handed);
        assert_eq!(found.len(), usize::from(recorded == Recorded::New));
        for call in &found {
            settle(&*store, call, NextState::Delivered, 20).await;
        }
    }
    assert_eq!(store.counts().await.expect("counted").delivered, 3);
}
