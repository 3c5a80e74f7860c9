//! Divides the slots for requests (`delivery.concurrency`), and turns at `delivery.max_rate`, among accounts.
//!
//! All accounts have the same weight. An account borrows what others do not use, except for a reserve: a
//! quiet account then starts at once, however slow the requests of the borrower are.

use std::collections::{BTreeMap, HashMap};

/// At most one of this many slots is kept free for quiet accounts.
const RESERVE: usize = 4;

/// Whether an account has calls that wait for a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// Its last claim left no due call.
    #[default]
    Quiet,
    /// Its last claim was full, so there may be more.
    Waiting,
}

/// One account.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Its calls that hold a slot.
    pub in_flight: usize,
    /// The number of requests that its breaker allows beside those.
    pub permits: usize,
    pub demand: Demand,
}

/// The claims of one turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// For each account: the limit of its own claim, or `None` if it uses the common one.
    pub own: Vec<Option<usize>>,
    /// The slots for all accounts without a limit of their own.
    pub common: usize,
}

/// Divides `free` of `slots` among `loads`.
///
/// While accounts wait, each free slot goes to the one of them that has the fewest calls in flight. Quiet
/// accounts use the rest, and each account that then wants more than it gets waits from the next turn on.
pub fn divide(slots: usize, free: usize, loads: &[Load]) -> Division {
    let is_quiet = |load: &&Load| load.demand == Demand::Quiet;
    let quiet = loads.iter().filter(is_quiet).count();
    let is_calm = quiet == loads.len();
    let kept = (quiet - usize::from(is_calm && quiet > 0))
        .min(slots.div_ceil(RESERVE))
        .min(slots.saturating_sub(1));
    if is_calm && free > kept {
        return Division {
            own: vec![None; loads.len()],
            common: free - kept,
        };
    }
    if is_calm {
        // Only the reserve is left: it is not for the accounts that have more than their share.
        let share = (slots / loads.len().max(1)).max(1);
        let own = |load: &Load| (load.in_flight > share).then_some(0);
        return Division {
            own: loads.iter().map(own).collect(),
            common: free,
        };
    }
    let mut own: Vec<Option<usize>> = loads
        .iter()
        .map(|load| (load.demand == Demand::Waiting).then_some(0))
        .collect();
    let mut common = free;
    while common > 0 {
        let wanting = own.iter_mut().zip(loads).filter_map(|(granted, load)| {
            let granted = granted.as_mut()?;
            (*granted < load.permits).then_some((load.in_flight + *granted, granted))
        });
        match wanting.min_by_key(|(in_flight, _)| *in_flight) {
            Some((in_flight, granted)) if in_flight == 0 || common > kept => *granted += 1,
            _ => break,
        }
        common -= 1;
    }
    Division { own, common }
}

/// The waiters for a turn. If K accounts wait, each of them gets one of every K turns.
#[derive(Debug)]
pub struct Turns<T> {
    /// By round, then by arrival.
    waiting: BTreeMap<(u64, u64), T>,
    /// The round of each account's last waiter.
    last: HashMap<String, u64>,
    round: u64,
    arrivals: u64,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            last: HashMap::new(),
            round: 0,
            arrivals: 0,
        }
    }
}

impl<T> Turns<T> {
    /// Adds a waiter of `account`, behind the account's other waiters.
    pub fn join(&mut self, account: &str, waiter: T) {
        let next = self.last.get(account).map_or(0, |last| last + 1);
        let round = next.max(self.round);
        self.last.insert(account.to_owned(), round);
        self.arrivals += 1;
        self.waiting.insert((round, self.arrivals), waiter);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes the waiter that has the next turn.
    pub fn take(&mut self) -> Option<T> {
        let ((round, _), waiter) = self.waiting.pop_first()?;
        self.round = round;
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(in_flight: usize, demand: Demand) -> Load {
        Load {
            in_flight,
            permits: usize::MAX,
            demand,
        }
    }

    #[test]
    fn slots_are_divided_as_the_table_says() {
        use Demand::{Quiet, Waiting};
        for (slots, free, loads, own, common) in [
            // One account has all slots.
            (4, 4, &[(0, Quiet)][..], &[None][..], 4),
            (4, 1, &[(3, Quiet)], &[None], 1),
            (1, 1, &[(0, Quiet), (0, Quiet)], &[None, None], 1),
            // A burst leaves the reserve, and who borrowed more than its share does not get it.
            (4, 4, &[(0, Quiet), (0, Quiet)], &[None, None], 3),
            (4, 1, &[(3, Quiet), (0, Quiet)], &[Some(0), None], 1),
            (4, 1, &[(3, Waiting), (0, Quiet)], &[Some(0), None], 1),
            (4, 2, &[(2, Waiting), (0, Quiet)], &[Some(1), None], 1),
            (32, 32, &[(0, Waiting), (0, Quiet)], &[Some(31), None], 1),
            // Who waits gets the same, whatever was borrowed before.
            (4, 1, &[(3, Waiting), (0, Waiting)], &[Some(0), Some(1)], 0),
            (4, 2, &[(2, Waiting), (0, Waiting)], &[Some(0), Some(2)], 0),
            (4, 4, &[(0, Waiting), (0, Waiting)], &[Some(2), Some(2)], 0),
            (1, 1, &[(0, Waiting), (0, Quiet)], &[Some(1), None], 0),
            (
                4,
                1,
                &[(3, Waiting), (0, Waiting), (0, Quiet)],
                &[Some(0), Some(1), None],
                0,
            ),
        ] {
            let loads: Vec<Load> = loads.iter().map(|(n, demand)| load(*n, *demand)).collect();
            let expected = Division {
                own: own.to_vec(),
                common,
            };
            assert_eq!(divide(slots, free, &loads), expected, "{slots} {loads:?}");
        }
    }

    #[test]
    fn an_account_takes_one_of_every_two_turns_beside_one_that_has_many_waiters() {
        let mut turns = Turns::default();
        for _ in 0..100 {
            turns.join("many", "many");
        }
        for _ in 0..10 {
            assert_eq!(turns.take(), Some("many"));
        }
        for _ in 0..3 {
            turns.join("few", "few");
        }
        let next: Vec<_> = (0..7).filter_map(|_| turns.take()).collect();
        let few = next.iter().filter(|who| **who == "few").count();
        assert_eq!((few, next[..2].contains(&"few")), (3, true), "{next:?}");
    }

    fn loads() -> impl Strategy<Value = (usize, Vec<Load>)> {
        let demand = prop_oneof![Just(Demand::Quiet), Just(Demand::Waiting)];
        let load =
            (0..12_usize, 0..40_usize, demand).prop_map(|(in_flight, permits, demand)| Load {
                in_flight,
                permits,
                demand,
            });
        (1..64_usize, proptest::collection::vec(load, 1..8))
    }

    proptest! {
        #[test]
        fn no_slot_is_given_twice_and_a_quiet_account_finds_one((slots, loads) in loads()) {
            let used: usize = loads.iter().map(|load| load.in_flight).sum();
            let free = slots.saturating_sub(used);
            let division = divide(slots, free, &loads);
            let own: usize = division.own.iter().flatten().sum();
            prop_assert!(own + division.common <= free);
            let is_quiet = loads.iter().any(|load| load.demand == Demand::Quiet);
            let is_active = |load: &Load| load.demand == Demand::Quiet || load.in_flight > 0;
            if is_quiet && loads.iter().all(is_active) && free > 0 && slots > 1 {
                prop_assert!(division.common > 0, "{division:?}");
            }
        }

        #[test]
        fn no_account_gets_a_slot_while_another_that_waits_has_fewer((slots, loads) in loads()) {
            let used: usize = loads.iter().map(|load| load.in_flight).sum();
            let division = divide(slots, slots.saturating_sub(used), &loads);
            let after = |place: usize| loads[place].in_flight + division.own[place].unwrap_or(0);
            for (place, granted) in division.own.iter().enumerate() {
                for (other, load) in loads.iter().enumerate() {
                    let is_capped = division.own[other].is_none_or(|own| own == load.permits);
                    if granted.is_some_and(|granted| granted > 0) && !is_capped {
                        prop_assert!(after(place) <= after(other) + 1, "{division:?}");
                    }
                }
            }
        }
    }
}
