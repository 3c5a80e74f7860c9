//! A chain of parents is one call, in any order of its callbacks.

use twilio_acquire_bridge::store::{NextState, Recorded, State, Store};

use super::place::{
    LEASE, Place, callback, claim, claim_one, next_due, retry_now, settle, sid, state,
};
use twilio_acquire_bridge::clock::Millis;

/// Records that `leg` has ended, a child of `parent`.
async fn ends(store: &dyn Store, parent: u32, leg: u32, now: i64) -> Recorded {
    let ended = callback(&sid(parent), &sid(leg), "completed");
    store.record(ended, Millis(now)).await.expect("recorded")
}

pub async fn every_order_of_a_chain_makes_one_call(place: &Place) {
    // Each chain is 1 <- 2 <- 3 <- 4 with numbers of its own.
    let links = [(1, 1), (1, 2), (2, 3), (3, 4)];
    let mut chain = 0;
    let store = place.open();
    for first in 0..4 {
        for second in (0..4).filter(|link| *link != first) {
            for third in (0..4).filter(|link| ![first, second].contains(link)) {
                let fourth = 6 - first - second - third;
                chain += 10;
                for link in [first, second, third, fourth] {
                    let (parent, leg) = links[link];
                    assert_eq!(
                        ends(&*store, chain + parent, chain + leg, 10).await,
                        Recorded::New
                    );
                }
                let call = claim_one(&*store, 20).await;
                assert_eq!(call.sid, sid(chain + 1));
                assert_eq!(call.callbacks.len(), 4, "{first}{second}{third}{fourth}");
                settle(&*store, &call, NextState::Delivered, 20).await;
                for (parent, leg) in links {
                    let again = ends(&*store, chain + parent, chain + leg, 30).await;
                    assert_eq!(again, Recorded::Repeated);
                    let found = store.get(&sid(chain + leg)).await.expect("read");
                    assert_eq!(found.expect("known").summary.sid, sid(chain + 1));
                }
            }
        }
    }
    let counts = store.counts().await.expect("counted");
    assert_eq!(counts.delivered, 24);
}

pub async fn a_call_that_is_being_sent_is_merged_into_its_parent_once_it_is_settled(place: &Place) {
    let store = place.open();
    ends(&*store, 2, 3, 10).await;
    let started = claim_one(&*store, 10).await;
    assert_eq!(started.sid, sid(2));
    ends(&*store, 1, 2, 20).await;
    settle(&*store, &started, NextState::Delivered, 30).await;
    let call = claim_one(&*store, 30).await;
    assert_eq!(call.sid, sid(1));
    assert_eq!((call.callbacks.len(), call.attempts.len()), (2, 1));
    assert_eq!(claim(&*store, 30, 10).await.len(), 0);
    settle(&*store, &call, NextState::Delivered, 30).await;
    assert_eq!(state(&*store, &sid(3)).await, State::Delivered);
}

pub async fn a_call_that_was_being_sent_at_a_crash_is_merged_into_its_parent(place: &Place) {
    let store = place.open();
    ends(&*store, 2, 3, 10).await;
    assert_eq!(claim_one(&*store, 10).await.sid, sid(2));
    ends(&*store, 1, 2, 20).await;
    drop(store);

    let store = place.open();
    let later = 20 + i64::try_from(LEASE.as_millis()).expect("a minute");
    // Once the claim has ended; whichever call is claimed first, one call is left.
    while let Some(call) = claim(&*store, later, 1).await.first() {
        settle(&*store, call, NextState::Delivered, later).await;
    }
    for leg in 1..=3 {
        let found = store.get(&sid(leg)).await.expect("read").expect("known");
        assert_eq!(found.summary.sid, sid(1), "leg {leg}");
        assert_eq!(found.callbacks.len(), 2);
    }
}

pub async fn a_call_that_is_merged_into_its_parent_keeps_its_retry_now(place: &Place) {
    let store = place.open();
    ends(&*store, 2, 3, 10).await;
    let claimed = claim_one(&*store, 10).await;
    settle(&*store, &claimed, NextState::PendingAt(Millis(900)), 11).await;
    retry_now(&*store, 20).await;
    ends(&*store, 1, 2, 30).await;
    let call = claim_one(&*store, 30).await;
    assert_eq!((call.sid, call.retry_now_at), (sid(1), Some(Millis(20))));
}

pub async fn a_chain_that_is_merged_while_its_last_leg_is_being_sent_is_one_call(place: &Place) {
    let store = place.open();
    ends(&*store, 3, 4, 10).await;
    let claimed = claim_one(&*store, 10).await;
    assert_eq!(claimed.sid, sid(3));
    ends(&*store, 2, 3, 20).await;
    ends(&*store, 1, 2, 21).await;
    settle(&*store, &claimed, NextState::Delivered, 30).await;
    let call = claim_one(&*store, 30).await;
    assert_eq!(call.sid, sid(1));
    assert_eq!((call.callbacks.len(), call.attempts.len()), (3, 1));
    settle(&*store, &call, NextState::Delivered, 31).await;
    for leg in 1..=4 {
        let found = store.get(&sid(leg)).await.expect("read").expect("known");
        assert_eq!(found.summary.sid, sid(1), "leg {leg}");
    }
    assert_eq!(claim(&*store, 40, 10).await.len(), 0);
}

pub async fn a_call_that_ends_while_its_leg_is_being_sent_waits_for_it(place: &Place) {
    let store = place.open();
    ends(&*store, 2, 3, 10).await;
    let claimed = claim_one(&*store, 10).await;
    ends(&*store, 1, 2, 20).await;
    ends(&*store, 1, 1, 21).await;
    assert_eq!(claim(&*store, 30, 10).await.len(), 0, "leg 3 is being sent");
    assert_eq!(next_due(&*store).await, None);
    settle(&*store, &claimed, NextState::Delivered, 31).await;
    let call = claim_one(&*store, 31).await;
    assert_eq!(call.sid, sid(1));
    assert_eq!((call.callbacks.len(), call.attempts.len()), (3, 1));
}

pub async fn legs_that_name_each_other_as_parents_are_one_call(place: &Place) {
    let store = place.open();
    ends(&*store, 1, 1, 10).await;
    ends(&*store, 2, 2, 10).await;
    let claimed = claim(&*store, 10, 10).await;
    assert_eq!(claimed.len(), 2);
    for (parent, leg) in [(1, 2), (2, 1)] {
        let busy = callback(&sid(parent), &sid(leg), "busy");
        store.record(busy, Millis(20)).await.expect("recorded");
    }
    for call in &claimed {
        settle(&*store, call, NextState::Delivered, 30).await;
    }
    let call = claim_one(&*store, 30).await;
    assert_eq!((call.callbacks.len(), call.attempts.len()), (4, 2));
    settle(&*store, &call, NextState::Delivered, 40).await;
    assert_eq!(claim(&*store, 50, 10).await.len(), 0);
}
