//! Any sequence of operations against a model that keeps everything in plain lists.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::domain::cause::Cause;
use twilio_acquire_bridge::domain::class::Class;
use twilio_acquire_bridge::store::ledger::{QUARTER_MS, Unit};
use twilio_acquire_bridge::store::{
    Claimed, Counts, Expiry, NextState, REQUEUED_OVERDUE, Recorded, State, Store, StoreError,
};

use super::auditing::alice;
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
    Settle(prop::sample::Index, Resting, Promptness),
    Requeue(u32),
    Purge(usize),
    Wait(i64),
    Restart,
}

/// Whether Acquire accepted a call late.
#[derive(Clone, Copy, Debug)]
enum Promptness {
    InTime,
    Late,
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
    let promptness = prop_oneof![Just(Promptness::InTime), Just(Promptness::Late)];
    let verb = prop_oneof![
        6 => (1..5_u32, 0..3_u32, any::<bool>()).prop_map(|(c, l, s)| Verb::Record(c, l, s)),
        4 => (1..4_usize).prop_map(Verb::Claim),
        4 => (any::<prop::sample::Index>(), resting, promptness)
            .prop_map(|(i, r, p)| Verb::Settle(i, r, p)),
        2 => (1..5_u32).prop_map(Verb::Requeue),
        1 => (1..3_usize).prop_map(Verb::Purge),
        3 => (0..400_000_i64).prop_map(Verb::Wait),
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
    received: i64,
    class: Class,
    cause: Option<Cause>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    number: usize,
    until: i64,
    callbacks: usize,
    round: u32,
}

impl Call {
    fn make_due(&mut self, class: Class, now: i64) {
        if self.claim.is_none() {
            self.at = if self.state == State::Pending {
                self.at.min(now)
            } else {
                now
            };
            self.state = State::Pending;
            self.cause = None;
            self.class = class;
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
    /// What the ledger has of them.
    kept: Vec<(i64, Class, Option<Cause>)>,
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
            call.make_due(waits_again(call.class), now);
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
                received: now,
                class: Class::Waiting,
                cause: None,
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
    fn settle(&mut self, ticket: usize, next: &NextState, class: Class) -> bool {
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
        let cause = match next {
            NextState::Skipped(cause, _) | NextState::Parked(cause, _) => Some(*cause),
            _ => None,
        };
        if state != State::Skipped {
            call.attempts.push(claim.round);
        }
        let more = call.callbacks.len() > claim.callbacks || call.round > claim.round;
        if more {
            (call.state, call.at, call.cause) = (State::Pending, now, None);
            call.class = waits_again(class);
        } else {
            (call.state, call.at, call.cause) = (state, at, cause);
            call.class = class;
        }
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

    /// Each row of the ledger: its quarter, what it counts, and how many calls.
    fn ledger(&self) -> BTreeMap<(i64, Unit), i64> {
        let there = self.calls.iter();
        let there = there.map(|call| (call.received, call.class, call.cause));
        let mut rows = BTreeMap::new();
        for (received, class, cause) in self.kept.iter().copied().chain(there) {
            let unit = Unit::Class(class, cause.filter(|_| class.has_cause()));
            for unit in [Unit::Received, unit] {
                *rows.entry((received / QUARTER_MS, unit)).or_default() += 1;
            }
        }
        rows
    }

    /// How many calls are parked or skipped, by state and cause.
    fn causes(&self) -> Vec<(State, Cause, u64)> {
        let states = [State::Parked, State::Skipped].into_iter();
        let counted = states.filter_map(|state| {
            let of_state = self.calls.iter().filter(|call| call.state == state);
            let cause = of_state.clone().next()?.cause?;
            Some((state, cause, u64::try_from(of_state.count()).expect("few")))
        });
        counted.collect()
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
            Verb::Settle(index, resting, promptness) => {
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
                let mut settlement = settlement(&given.sid, next.clone(), model.now);
                let class = match (resting, promptness) {
                    (Resting::Delivered, Promptness::Late) => Class::Late,
                    // A requeued call that Acquire had accepted.
                    (Resting::Parked, Promptness::Late) => Class::InTime,
                    (Resting::Pending(_), Promptness::Late) => Class::WaitingLate,
                    _ => settlement.class,
                };
                settlement.class = class;
                let settled = store.settle(given.ticket.clone(), settlement, now).await;
                match settled {
                    Ok(_) => assert!(model.settle(number, &next, class)),
                    Err(StoreError::StaleTicket) => {
                        assert!(!model.settle(number, &next, class));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Verb::Requeue(call) => {
                let requeued = store
                    .requeue(&sid(call), alice(), None, now)
                    .await
                    .expect("requeued");
                let known = model.find(call).map(|call| {
                    call.round += 1;
                    let class = match call.class {
                        Class::Parked => Class::WaitingLate,
                        other => waits_again(other),
                    };
                    call.make_due(class, now.minus(REQUEUED_OVERDUE).0);
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
        agree(&*store, &model).await;
    }
    assert_eq!(stories(&model, &*store).await, Vec::<String>::new());
}

/// Panics unless the store counts as the model does.
async fn agree(store: &dyn Store, model: &Model) {
    assert_eq!(store.counts().await.expect("counted"), model.counts());
    assert_eq!(next_due(store).await, model.next_due());
    assert_eq!(ledger(store).await, model.ledger());
    let causes = store.causes().await.expect("read").into_iter();
    let causes: Vec<_> = causes.map(|of| (of.state, of.cause, of.calls)).collect();
    assert_eq!(causes, model.causes());
}

async fn ledger(store: &dyn Store) -> BTreeMap<(i64, Unit), i64> {
    let rows = store.ledger(Millis(0)..Millis(i64::MAX)).await;
    let rows = rows.expect("read").into_iter();
    rows.map(|row| ((row.quarter.0 / QUARTER_MS, row.unit), row.calls))
        .collect()
}

/// The class of a call that a callback makes pending.
fn waits_again(class: Class) -> Class {
    match class {
        Class::Skipped | Class::Parked => Class::Waiting,
        other => other,
    }
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
            let class = match call.class {
                Class::Parked => Class::Expired,
                other => other,
            };
            model.kept.push((call.received, class, call.cause));
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
