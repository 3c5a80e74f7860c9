//! Any sequence of operations against a model that keeps everything in plain lists.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::store::{
    Claimed, Counts, Expiry, NextState, REQUEUED_OVERDUE, Recorded, State, Store, StoreError,
};

use super::place::{
    Database, LEASE, Place, callback, longest_due_first, next_due, settlement, sid,
};

/// Seeds that failed once. They are run first, on each database, and are committed.
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/proptest-regressions/store_suite/model.txt"
);

#[derive(Clone, Debug)]
enum Verb {
    /// Of one of four calls, one of three legs, one of two statuses.
    Record(u32, u32, bool),
    Claim(usize),
    /// Of one of the tickets that were ever given.
    Settle(prop::sample::Index, Resting),
    Requeue(u32),
    Purge(usize),
    Wait(i64),
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Resting {
    Pending(i64),
    Delivered,
    Skipped,
    Parked,
}

fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    let resting = prop_oneof![
        (0..90_000_i64).prop_map(Resting::Pending),
        Just(Resting::Delivered),
        Just(Resting::Skipped),
        Just(Resting::Parked),
    ];
    let verb = prop_oneof![
        6 => (1..5_u32, 0..3_u32, any::<bool>()).prop_map(|(c, l, s)| Verb::Record(c, l, s)),
        4 => (1..4_usize).prop_map(Verb::Claim),
        4 => (any::<prop::sample::Index>(), resting).prop_map(|(i, r)| Verb::Settle(i, r)),
        2 => (1..5_u32).prop_map(Verb::Requeue),
        1 => (1..3_usize).prop_map(Verb::Purge),
        3 => (0..40_000_i64).prop_map(Verb::Wait),
        1 => Just(Verb::Restart),
    ];
    prop::collection::vec(verb, 1..60)
}

/// What is known of a call.
#[derive(Debug)]
struct Call {
    number: u32,
    callbacks: BTreeSet<(u32, bool)>,
    state: State,
    /// Due, or finished since.
    at: i64,
    round: u32,
    /// The rounds of its attempts.
    attempts: Vec<u32>,
    claim: Option<Claim>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    number: usize,
    until: i64,
    callbacks: usize,
    round: u32,
}

impl Call {
    fn make_due(&mut self, now: i64) {
        if self.claim.is_none() {
            self.at = if self.state == State::Pending {
                self.at.min(now)
            } else {
                now
            };
            self.state = State::Pending;
        }
    }
}

#[derive(Default)]
struct Model {
    /// In the order in which they were first seen.
    calls: Vec<Call>,
    seen: u64,
    /// The calls that were removed, and are remembered.
    purged: BTreeSet<u32>,
    now: i64,
    given: Vec<Claimed>,
}

impl Model {
    fn find(&mut self, number: u32) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.number == number)
    }

    fn record(&mut self, number: u32, leg: u32, busy: bool) -> Recorded {
        let now = self.now;
        if let Some(call) = self.find(number) {
            if !call.callbacks.insert((leg, busy)) {
                return Recorded::Repeated;
            }
            call.make_due(now);
        } else if self.purged.contains(&number) {
            return Recorded::Repeated;
        } else {
            self.seen += 1;
            self.calls.push(Call {
                number,
                callbacks: BTreeSet::from([(leg, busy)]),
                state: State::Pending,
                at: now,
                round: 0,
                attempts: Vec::new(),
                claim: None,
            });
        }
        Recorded::New
    }

    /// The numbers of the calls handed out, with how many callbacks and attempts each.
    fn claim(&mut self, limit: usize) -> Vec<(u32, usize, usize)> {
        let now = self.now;
        let expired = |call: &Call| call.claim.is_some_and(|claim| claim.until <= now);
        let mut order: Vec<(bool, i64, usize)> = (0..)
            .zip(&self.calls)
            .filter(|(_, call)| call.state == State::Pending)
            .filter(|(_, call)| expired(call) || (call.claim.is_none() && call.at <= now))
            .map(|(place, call)| match call.claim {
                Some(claim) => (false, claim.until, place),
                None => (true, call.at, place),
            })
            .collect();
        order.sort_unstable();
        order.truncate(limit);
        let mut handed_out = Vec::new();
        for (number, (_, _, place)) in (self.given.len()..).zip(order) {
            let call = &mut self.calls[place];
            call.claim = Some(Claim {
                number,
                until: now.saturating_add(i64::try_from(LEASE.as_millis()).expect("a minute")),
                callbacks: call.callbacks.len(),
                round: call.round,
            });
            let attempts = call.attempts.iter().filter(|round| **round == call.round);
            handed_out.push((call.number, call.callbacks.len(), attempts.count()));
        }
        handed_out
    }

    /// Whether the ticket was good.
    fn settle(&mut self, ticket: usize, next: &NextState) -> bool {
        let now = self.now;
        let holds = |call: &&mut Call| call.claim.is_some_and(|claim| claim.number == ticket);
        let Some(call) = self.calls.iter_mut().find(holds) else {
            return false;
        };
        let claim = call.claim.take().expect("just found");
        let (state, at) = match next {
            NextState::PendingAt(at) => (State::Pending, at.0),
            NextState::Delivered => (State::Delivered, now),
            NextState::Skipped(..) => (State::Skipped, now),
            NextState::Parked(..) => (State::Parked, now),
        };
        if state != State::Skipped {
            call.attempts.push(claim.round);
        }
        let more = call.callbacks.len() > claim.callbacks || call.round > claim.round;
        (call.state, call.at) = if more {
            (State::Pending, now)
        } else {
            (state, at)
        };
        true
    }

    fn purge(&mut self, expiry: Expiry, limit: usize) -> usize {
        let mut expired: Vec<(i64, u32)> = self
            .calls
            .iter()
            .filter(|call| match call.state {
                State::Delivered | State::Skipped => call.at < expiry.delivered_and_skipped.0,
                State::Parked => call.at < expiry.parked.0,
                State::Pending | State::Claimed => false,
            })
            .map(|call| (call.at, call.number))
            .collect();
        // Calls of one time are claimed in any order, so the model claims all or none of them.
        expired.sort_unstable();
        expired.truncate(limit);
        expired.len()
    }

    fn counts(&self) -> Counts {
        let count = |state, claimed| {
            let fits = |call: &&Call| call.state == state && call.claim.is_some() == claimed;
            u64::try_from(self.calls.iter().filter(fits).count()).expect("few")
        };
        let pending = |call: &&Call| call.state == State::Pending;
        Counts {
            seen: self.seen,
            purged: u64::try_from(self.purged.len()).expect("few"),
            pending: count(State::Pending, false),
            claimed: count(State::Pending, true),
            delivered: count(State::Delivered, false),
            skipped: count(State::Skipped, false),
            parked: count(State::Parked, false),
            oldest_due: self
                .calls
                .iter()
                .filter(pending)
                .map(|call| Millis(call.at))
                .min(),
        }
    }

    fn next_due(&self) -> Option<Millis> {
        let free = |call: &&Call| call.state == State::Pending && call.claim.is_none();
        self.calls
            .iter()
            .filter(free)
            .map(|call| Millis(call.at))
            .min()
    }
}

async fn run(place: &Place, verbs: Vec<Verb>) {
    let mut model = Model::default();
    let mut store = place.open();
    for verb in verbs {
        let now = Millis(model.now);
        match verb {
            Verb::Record(call, leg, busy) => {
                let status = if busy { "busy" } else { "completed" };
                let (parent, child) = (sid(call), sid(call + 100 * leg));
                let recorded = store.record(callback(&parent, &child, status), now).await;
                let expected = model.record(call, leg, busy);
                assert_eq!(recorded.expect("recorded"), expected);
            }
            Verb::Claim(limit) => {
                let claimed = store
                    .claim(now, LEASE, longest_due_first(limit))
                    .await
                    .expect("claimed")
                    .calls;
                let seen: Vec<_> = claimed
                    .iter()
                    .map(|call| (call.sid.clone(), call.callbacks.len(), counting(call)))
                    .collect();
                let expected: Vec<_> = model
                    .claim(limit)
                    .into_iter()
                    .map(|(number, callbacks, attempts)| (sid(number), callbacks, attempts))
                    .collect();
                assert_eq!(seen, expected);
                model.given.extend(claimed);
            }
            Verb::Settle(index, resting) => {
                if model.given.is_empty() {
                    continue;
                }
                let number = index.index(model.given.len());
                let next = match resting {
                    Resting::Pending(wait) => NextState::PendingAt(Millis(model.now + wait)),
                    Resting::Delivered => NextState::Delivered,
                    Resting::Skipped => NextState::Skipped(Cause::NotReported, "x".to_owned()),
                    Resting::Parked => NextState::Parked(Cause::Refused(422), "x".to_owned()),
                };
                let given = &model.given[number];
                let settlement = settlement(&given.sid, next.clone(), model.now);
                let settled = store.settle(given.ticket.clone(), settlement, now).await;
                match settled {
                    Ok(_) => assert!(model.settle(number, &next)),
                    Err(StoreError::StaleTicket) => assert!(!model.settle(number, &next)),
                    Err(error) => panic!("{error}"),
                }
            }
            Verb::Requeue(call) => {
                let requeued = store.requeue(&sid(call), now).await.expect("requeued");
                let known = model.find(call).map(|call| {
                    call.round += 1;
                    call.make_due(now.minus(REQUEUED_OVERDUE).0);
                });
                assert_eq!(requeued, known.is_some());
            }
            Verb::Purge(limit) => {
                let expiry = Expiry {
                    now,
                    delivered_and_skipped: Millis(model.now - 30_000),
                    parked: Millis(model.now - 60_000),
                };
                let purged = store.purge(expiry, limit).await.expect("purged");
                assert_eq!(purged.removed(), model.purge(expiry, limit));
                drop_purged(&mut model, &*store).await;
            }
            Verb::Wait(wait) => model.now += wait,
            Verb::Restart => {
                drop(store);
                store = place.open();
                // Tickets of the earlier process ended with it.
                model.given.clear();
                model.calls.iter_mut().for_each(|call| call.claim = None);
            }
        }
        assert_eq!(store.counts().await.expect("counted"), model.counts());
        assert_eq!(next_due(&*store).await, model.next_due());
    }
    assert_eq!(stories(&model, &*store).await, Vec::<String>::new());
}

/// How many attempts were made since the last requeue.
fn counting(call: &Claimed) -> usize {
    call.attempts.len() - call.attempts_before_requeue
}

/// Lets the model forget what the store has purged.
async fn drop_purged(model: &mut Model, store: &dyn Store) {
    let mut kept = Vec::new();
    for call in model.calls.drain(..) {
        if store.get(&sid(call.number)).await.expect("read").is_some() {
            kept.push(call);
        } else {
            model.purged.insert(call.number);
        }
    }
    model.calls = kept;
}

/// The calls that differ from the model.
async fn stories(model: &Model, store: &dyn Store) -> Vec<String> {
    let mut different = Vec::new();
    for call in &model.calls {
        let stored = store.get(&sid(call.number)).await.expect("read");
        let stored = stored.expect("the model knows it");
        let state = match call.claim {
            Some(_) => State::Claimed,
            None => call.state,
        };
        let before = call.attempts.iter().filter(|round| **round < call.round);
        let same = stored.summary.state == state
            && stored.callbacks.len() == call.callbacks.len()
            && stored.attempts.len() == call.attempts.len()
            && stored.attempts_before_requeue == before.count();
        if !same {
            different.push(format!("{stored:?} is not as {call:?}"));
        }
    }
    different
}

pub fn any_sequence_of_operations_does_what_the_model_does(database: Database) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let config = ProptestConfig {
        cases: database.sequences,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..ProptestConfig::default()
    };
    proptest!(config, |(verbs in verbs())| {
        let place = Place::new(database);
        runtime.block_on(run(&place, verbs));
        // Each delivered call has an accepted attempt, too, since every settlement brings its own.
        prop_assert_eq!(place.disagreements(), Vec::<String>::new());
    });
}
