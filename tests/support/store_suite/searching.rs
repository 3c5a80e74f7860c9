//! The search index, and lists page by page.

use std::collections::HashSet;
use std::sync::Arc;

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::call_addresses::{AddressHasher, TypedAddress};
use twilio_acquire_bridge::domain::call_filter::{CallFilter, FilterAddress};
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::directory::Directory;
use twilio_acquire_bridge::store::{
    CallPage, CallQuery, Detail, Expiry, NextState, State, Store, Towards, terms_of,
};
use twilio_acquire_bridge::twilio::CallSid;

use super::place::{Place, callback, claim, claim_one, number_of, record, settle, sid};

async fn by_address(store: &dyn Store, typed: &str) -> CallQuery {
    let hasher = store.address_hasher().await.expect("a key");
    let typed = TypedAddress::parse(typed).expect("an address");
    let filter = CallFilter {
        address: Some(FilterAddress::Typed(typed)),
        since: Some(Millis(0)),
        ..CallFilter::default()
    };
    let filter = filter.resolved(&hasher, Millis(0));
    query(&filter, &hasher, 50)
}

fn query(filter: &CallFilter, hasher: &AddressHasher, limit: usize) -> CallQuery {
    let (address, hasher) = (filter.hashed_address(), hasher.clone());
    CallQuery {
        wanted: address.map(|address| {
            Arc::new(move |call: &_| {
                let twilio_acquire_bridge::store::StoredCall {
                    callbacks,
                    attempts,
                    ..
                } = call;
                let terms = terms_of(callbacks, attempts, &Directory::default());
                address.found_in(&terms, &hasher).is_some()
            }) as _
        }),
        ..CallQuery::of(filter.clone(), limit)
    }
}

async fn page(store: &dyn Store, query: &CallQuery) -> CallPage {
    store.search(query.clone()).await.expect("read")
}

fn sids(page: &CallPage) -> Vec<CallSid> {
    let calls = page.calls.iter();
    calls.map(|call| call.summary.sid.clone()).collect()
}

async fn found(store: &dyn Store, typed: &str) -> Vec<CallSid> {
    let query = by_address(store, typed).await;
    sids(&page(store, &query).await)
}

/// As the background task does.
async fn sweep(store: &dyn Store, before: i64) -> usize {
    let (mut from, mut count) = (None, 0);
    loop {
        let part = store.unindexed(Millis(before), from).await.expect("read");
        let jobs = part.calls.into_iter().map(|(mut job, call)| {
            job.terms = terms_of(&call.callbacks, &call.attempts, &Directory::default());
            job
        });
        let jobs: Vec<_> = jobs.collect();
        count += jobs.len();
        store.index(jobs).await.expect("indexed");
        from = part.next;
        if from.is_none() {
            return count;
        }
    }
}

pub async fn a_call_is_found_by_its_addresses_once_it_is_settled(place: &Place) {
    let store = place.open();
    for number in 1..=3 {
        record(&*store, &sid(number), i64::from(number)).await;
    }
    assert_eq!(found(&*store, &number_of(&sid(1))).await, []);
    for claimed in claim(&*store, 10, 2).await {
        settle(&*store, &claimed, NextState::Delivered, 11).await;
    }
    let key = store.address_hasher().await.expect("a key").hash("x");
    finds_the_settled_calls(&*store).await;
    drop(store);
    let store = place.open();
    finds_the_settled_calls(&*store).await;
    let same = store.address_hasher().await.expect("a key").hash("x");
    assert_eq!(same, key, "made once");
}

async fn finds_the_settled_calls(store: &dyn Store) {
    assert_eq!(found(store, "+1 (202) 555-0001").await, [sid(1)]);
    assert_eq!(found(store, "0002").await, [sid(2)]);
    assert_eq!(found(store, "2025550002").await, [sid(2)]);
    assert_eq!(found(store, "3025550002").await, [], "other digits before");
    assert_eq!(found(store, "client:Agent").await, [sid(2), sid(1)]);
    assert_eq!(found(store, &number_of(&sid(3))).await, []);
}

pub async fn an_unsettled_call_is_indexed_by_the_background_task(place: &Place) {
    let store = place.open();
    record(&*store, &sid(1), 1).await;
    record(&*store, &sid(2), 2).await;
    assert_eq!(sweep(&*store, 2).await, 1, "call 2 changed too recently");
    assert_eq!(found(&*store, "client:agent").await, [sid(1)]);
    assert_eq!(sweep(&*store, 3).await, 1);
    assert_eq!(sweep(&*store, 3).await, 0, "each once");
    assert_eq!(found(&*store, "client:agent").await, [sid(2), sid(1)]);

    // A later callback brings a new address.
    let child = callback(&sid(1), &sid(7), "ringing");
    store.record(child, Millis(5)).await.expect("recorded");
    assert_eq!(found(&*store, &number_of(&sid(7))).await, []);
    assert_eq!(sweep(&*store, 6).await, 1);
    assert_eq!(found(&*store, &number_of(&sid(7))).await, [sid(1)]);

    // A settled call has nothing left to index.
    for claimed in claim(&*store, 6, 9).await {
        settle(&*store, &claimed, NextState::PendingAt(Millis(50)), 7).await;
    }
    assert_eq!(sweep(&*store, 99).await, 0);
}

pub async fn a_call_without_addresses_is_indexed_once(place: &Place) {
    let store = place.open();
    let mut withheld = callback(&sid(1), &sid(1), "completed");
    withheld.request.body = format!("CallSid={}&From=anonymous", sid(1)).into();
    store.record(withheld, Millis(1)).await.expect("recorded");
    assert_eq!(sweep(&*store, 2).await, 1);
    assert_eq!(sweep(&*store, 2).await, 0);
}

pub async fn a_merged_or_removed_call_is_found_no_more(place: &Place) {
    let store = place.open();
    record(&*store, &sid(2), 1).await;
    let leg = claim_one(&*store, 1).await;
    settle(&*store, &leg, NextState::Delivered, 1).await;
    assert_eq!(found(&*store, &number_of(&sid(2))).await, [sid(2)]);
    // Its parent appears.
    let parent = callback(&sid(1), &sid(2), "answered");
    store.record(parent, Millis(2)).await.expect("recorded");
    assert_eq!(found(&*store, &number_of(&sid(2))).await, []);
    assert_eq!(sweep(&*store, 9).await, 1);
    assert_eq!(found(&*store, &number_of(&sid(2))).await, [sid(1)]);

    for claimed in claim(&*store, 9, 9).await {
        settle(&*store, &claimed, NextState::Delivered, 9).await;
    }
    let expiry = Expiry {
        now: Millis(20),
        delivered_and_skipped: Millis(20),
        parked: Millis(20),
    };
    assert_eq!(store.purge(expiry, 9).await.expect("purged").removed(), 2);
    assert_eq!(found(&*store, &number_of(&sid(2))).await, []);
    // The check of the suite finds entries that belong to no call.
}

pub async fn the_newest_of_many_calls_of_one_number_come_first(place: &Place) {
    let store = place.open();
    for number in 1..=120 {
        record(&*store, &sid(number), 0).await;
    }
    assert_eq!(sweep(&*store, 1).await, 120);
    let mut query = by_address(&*store, "agent").await;
    let first = page(&*store, &query).await;
    assert_eq!(sids(&first), (71..=120).rev().map(sid).collect::<Vec<_>>());
    assert!(first.start.is_none());
    query.from = first.end;
    query.filter.state = Some(State::Pending);
    let second = page(&*store, &query).await;
    assert_eq!(sids(&second), (21..=70).rev().map(sid).collect::<Vec<_>>());
    (query.from, query.towards) = (second.start, Towards::Start);
    let back = page(&*store, &query).await;
    assert_eq!(sids(&back), sids(&first));
    assert!(back.start.is_none() && !back.is_cut);
}

pub async fn a_page_ends_early_after_many_calls_and_continues(place: &Place) {
    let store = place.open();
    for number in 1..=2_101 {
        record(&*store, &sid(number), 0).await;
    }
    let oldest = sid(1);
    let mut query = CallQuery {
        wanted: Some(Arc::new(move |call: &_| {
            let twilio_acquire_bridge::store::StoredCall { summary, .. } = call;
            summary.sid == oldest
        })),
        detail: Detail::Whole,
        ..CallQuery::of(CallFilter::default(), 5)
    };
    let first = page(&*store, &query).await;
    assert!(first.is_cut && first.calls.is_empty());
    query.from = first.end;
    let second = page(&*store, &query).await;
    assert_eq!(sids(&second), [sid(1)]);
    assert_eq!(second.calls[0].callbacks.len(), 1, "as a whole");
    assert!(!second.is_cut && second.end.is_none());
}

/// The order of a plain scan of all calls.
async fn scan(store: &dyn Store, calls: u32, filter: &CallFilter) -> Vec<CallSid> {
    let mut found = Vec::new();
    for number in 1..=calls {
        let call = store.get(&sid(number)).await.expect("read").expect("known");
        let call = call.summary;
        let is_wanted = filter.state.is_none_or(|state| state == call.state)
            && filter
                .since
                .is_none_or(|since| call.first_received >= since)
            && filter.until.is_none_or(|until| call.first_received < until);
        if is_wanted {
            let order = match filter.state {
                None | Some(State::Claimed) => (0, -i64::from(number)),
                Some(State::Pending) => (call.due.expect("a time").0, i64::from(number)),
                Some(_) => (-call.changed.0, -i64::from(number)),
            };
            found.push((order, call.sid));
        }
    }
    found.sort();
    found.into_iter().map(|(_, sid)| sid).collect()
}

pub async fn every_page_of_a_list_is_as_a_plain_scan_while_calls_arrive(place: &Place) {
    let store = place.open();
    let mut random = fastrand::Rng::with_seed(7);
    let mut calls = 0;
    let mut now = 0;
    for _ in 0..15 {
        now += random.i64(0..3);
        // A few calls arrive, and a few reach a state.
        for _ in 0..random.u32(1..6) {
            calls += 1;
            record(&*store, &sid(calls), now).await;
        }
        for claimed in claim(&*store, now, random.usize(0..5)).await {
            let next = match random.u32(0..5) {
                0 => NextState::Delivered,
                1 => NextState::Skipped(Cause::NoTo, "x".to_owned()),
                2 => NextState::Parked(Cause::Unclear, "x".to_owned()),
                3 => NextState::PendingAt(Millis(now + random.i64(1..9))),
                _ => continue,
            };
            settle(&*store, &claimed, next, now).await;
        }
        let filter = CallFilter {
            state: State::ALL.get(random.usize(0..6)).copied(),
            since: random.bool().then(|| Millis(now - random.i64(0..30))),
            until: random.bool().then(|| Millis(now - random.i64(0..10))),
            ..CallFilter::default()
        };
        let before = scan(&*store, calls, &filter).await;
        let mut query = CallQuery::of(filter.clone(), random.usize(1..8));
        let mut read = Vec::new();
        loop {
            let page = page(&*store, &query).await;
            read.extend(sids(&page));
            if random.bool() {
                calls += 1;
                record(&*store, &sid(calls), now).await;
            }
            let Some(end) = page.end else { break };
            query.from = Some(end);
        }
        let known: HashSet<_> = before.iter().collect();
        assert_eq!(
            read.iter().collect::<HashSet<_>>().len(),
            read.len(),
            "none twice"
        );
        let of_before = read.iter().filter(|sid| known.contains(sid));
        assert!(
            of_before.eq(&before),
            "{:?}: {read:?} {before:?}",
            query.filter
        );
        both_ways(&*store, query, &scan(&*store, calls, &filter).await).await;
    }
}

/// Without arrivals, all pages are the list, and the way back has the same pages.
async fn both_ways(store: &dyn Store, mut query: CallQuery, all: &[CallSid]) {
    query.from = None;
    let mut pages = Vec::new();
    let mut start = loop {
        let page = page(store, &query).await;
        pages.push(sids(&page));
        match page.end {
            Some(end) => query.from = Some(end),
            None => break page.start,
        }
    };
    assert_eq!(pages.concat(), all, "{:?}", query.filter);
    query.towards = Towards::Start;
    for expected in pages.iter().rev().skip(1) {
        assert!(start.is_some(), "there is a page before");
        query.from = start;
        let page = page(store, &query).await;
        assert_eq!(sids(&page), *expected);
        start = page.start;
    }
    assert!(start.is_none() || pages.len() == 1);
}
