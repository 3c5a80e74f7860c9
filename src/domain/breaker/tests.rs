//! The rules by tables, and what holds whatever Acquire answers.

use proptest::prelude::*;

use super::*;

const LIMITS: BreakerLimits = BreakerLimits {
    probe_max: Duration::from_secs(60),
    concurrency: 8,
};

fn at(seconds: i64) -> Millis {
    Millis(seconds * 1_000)
}

/// A breaker that has just been opened by five failures, at 0 s.
fn opened() -> Breaker {
    let mut breaker = Breaker::new(LIMITS);
    for failure in 1..=5 {
        let change = breaker.report(Signal::Bad, at(0), at(0));
        assert_eq!(change == Change::Opened, failure == 5);
    }
    breaker
}

#[test]
fn five_failures_in_a_row_open_it_and_a_good_answer_between_does_not_let_them() {
    opened();
    let mut breaker = Breaker::new(LIMITS);
    for _ in 0..10 {
        for _ in 0..4 {
            assert_eq!(breaker.report(Signal::Bad, at(0), at(0)), Change::None);
        }
        assert_eq!(breaker.report(Signal::Good, at(0), at(0)), Change::None);
    }
    assert!(breaker.is_fully_closed());
}

#[test]
fn a_fault_of_the_configuration_opens_it_at_once() {
    let mut breaker = Breaker::new(LIMITS);
    let change = breaker.report(Signal::Misconfigured, at(0), at(0));
    assert_eq!(
        (change, breaker.probe_at(at(0))),
        (Change::Opened, Some(at(1)))
    );
}

#[test]
fn probes_come_one_at_a_time_and_less_and_less_often() {
    let mut breaker = opened();
    let mut waits = Vec::new();
    let mut now = at(0);
    for _ in 0..8 {
        let probe_at = breaker.probe_at(now).expect("open");
        assert_eq!(breaker.permits(0, Millis(probe_at.0 - 1)), 0);
        assert_eq!(breaker.permits(0, probe_at), 1);
        assert_eq!(breaker.permits(1, probe_at), 0);
        waits.push(probe_at.since(now).as_secs());
        now = probe_at;
        assert_eq!(breaker.report(Signal::Bad, now, now), Change::None);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn failures_that_are_a_calls_own_open_nothing_and_put_no_probe_off() {
    let mut breaker = Breaker::new(LIMITS);
    for _ in 0..1_000 {
        assert_eq!(breaker.report(Signal::OwnData, at(0), at(0)), Change::None);
    }
    assert!(breaker.is_fully_closed());
    let mut breaker = opened();
    for second in 1..100 {
        assert_eq!(breaker.probe_at(at(second - 1)), Some(at(second)));
        breaker.report(Signal::OwnData, at(second), at(second));
    }
}

#[test]
fn after_a_reload_answers_to_earlier_requests_open_nothing() {
    let mut breaker = Breaker::reloaded(LIMITS, at(10));
    for signal in [Signal::Misconfigured, Signal::Bad] {
        for _ in 0..10 {
            assert_eq!(breaker.report(signal, at(9), at(11)), Change::None);
        }
    }
    let change = breaker.report(Signal::Misconfigured, at(10), at(11));
    assert_eq!(change, Change::Opened);
}

#[test]
fn probes_alternate_between_calls_that_have_not_failed_and_the_longest_due() {
    let (mut breaker, mut now) = (opened(), at(0));
    for number in 0..8 {
        let expected = match number % 2 {
            0 => ProbeCall::Unfailed,
            _ => ProbeCall::LongestDue,
        };
        assert_eq!(breaker.probe(), Some(expected));
        now = breaker.probe_at(now).expect("open");
        breaker.report(Signal::Bad, now, now);
    }
    now = breaker.probe_at(now).expect("open");
    breaker.report(Signal::Good, now, now);
    assert_eq!(breaker.probe(), None);
}

#[test]
fn failures_of_requests_sent_before_it_opened_put_no_probe_off() {
    let mut breaker = opened();
    breaker.report(Signal::Bad, at(-9), at(0));
    breaker.report(Signal::Bad, at(-9), at(1));
    assert_eq!(breaker.probe_at(at(1)), Some(at(1)));
}

#[test]
fn a_clock_that_is_set_back_puts_off_no_probe_and_hides_no_outage() {
    let mut breaker = opened();
    for back in [-60, -3_600, -40 * 86_400] {
        assert_eq!(breaker.probe_at(at(back)), Some(at(back)));
        assert_eq!(breaker.permits(0, at(back)), 1);
        breaker.report(Signal::Bad, at(back), at(back));
        assert_eq!(breaker.permits(0, at(back)), 0, "the next probe waits");
    }
    let now = at(-40 * 86_400 + 60);
    breaker.report(Signal::Good, now, now);
    let back = at(-50 * 86_400);
    let change = breaker.report(Signal::Misconfigured, back, back);
    assert_eq!(change, Change::Opened);
}

#[test]
fn after_a_good_probe_the_rate_rises_by_doubling() {
    let mut breaker = opened();
    assert_eq!(breaker.report(Signal::Good, at(1), at(1)), Change::Closed);
    let mut rooms = vec![breaker.permits(0, at(1))];
    while !breaker.is_fully_closed() {
        breaker.report(Signal::Good, at(2), at(2));
        rooms.push(breaker.permits(0, at(2)));
    }
    assert_eq!(rooms, [1, 2, 2, 4, 4, 4, 4, 8]);
}

#[test]
fn a_failure_on_the_way_up_halves_the_rate() {
    let mut breaker = opened();
    for _ in 0..4 {
        breaker.report(Signal::Good, at(1), at(1));
    }
    assert_eq!(breaker.permits(0, at(2)), 4);
    for room in [2, 1, 1, 1] {
        breaker.report(Signal::Bad, at(2), at(2));
        assert_eq!(breaker.permits(0, at(2)), room);
    }
    assert_eq!(breaker.report(Signal::Bad, at(2), at(2)), Change::Opened);
}

#[test]
fn each_outcome_is_read_as_a_sign() {
    let answer = |outcome| AcquireResponse {
        outcome,
        status: None,
        excerpt: String::new(),
    };
    let again = |fault| Outcome::Retry { fault, after: None };
    for (outcome, sign) in [
        (Outcome::Accepted, Signal::Good),
        (Outcome::AcceptedAsRepeat, Signal::Good),
        (Outcome::Refused, Signal::Good),
        (again(DeliveryFault::SuccessFalse), Signal::Good),
        (again(DeliveryFault::Unreadable), Signal::Good),
        (again(DeliveryFault::Busy), Signal::Bad),
        (again(DeliveryFault::Dns), Signal::Bad),
        (again(DeliveryFault::Connect), Signal::Bad),
        (again(DeliveryFault::Tls), Signal::Bad),
        (again(DeliveryFault::TimeOut), Signal::Bad),
        (again(DeliveryFault::Reset), Signal::Bad),
        (again(DeliveryFault::Configuration), Signal::Misconfigured),
    ] {
        let signal = Signal::of(&answer(outcome.clone()), FailureCause::Unknown);
        assert_eq!(signal, sign, "{outcome:?}");
        let own = Signal::of(&answer(outcome.clone()), FailureCause::OwnData);
        let is_failure = outcome.fault().is_some();
        assert_eq!(own == Signal::OwnData, is_failure, "{outcome:?}");
    }
}

fn signs() -> impl Strategy<Value = Vec<(Signal, i64)>> {
    let sign = prop_oneof![
        Just(Signal::Good),
        Just(Signal::Bad),
        Just(Signal::Misconfigured),
        Just(Signal::OwnData)
    ];
    proptest::collection::vec((sign, 0..100_000_i64), 0..200)
}

proptest! {
    #[test]
    fn it_never_stays_shut_and_never_lets_too_many_through(signs in signs()) {
        let mut breaker = Breaker::new(LIMITS);
        let mut now = Millis(0);
        for (sign, later) in signs {
            now = now.plus(Duration::from_millis(later.unsigned_abs()));
            let was_open = breaker.is_open();
            let change = breaker.report(sign, now, now);
            prop_assert_eq!(change == Change::Opened, !was_open && breaker.is_open());
            prop_assert_eq!(change == Change::Closed, was_open && !breaker.is_open());
            prop_assert!(breaker.permits(0, now) <= LIMITS.concurrency);
            let room = breaker.permits(0, now.plus(LIMITS.probe_max));
            prop_assert!(room >= 1, "at the latest after probe_max it asks again");
            prop_assert!(!breaker.is_open() || room == 1);
        }
    }
}
