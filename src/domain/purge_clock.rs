//! The time that a purge uses. A clock that is wrong must not remove calls.
//!
//! It is never later than the true time, as long as one of these is right: the wall clock, or the time of
//! the last purge plus the uptime since then or Twilio's latest Timestamp.

use std::time::Duration;

use crate::clock::{ClockReading, Millis};

/// How much faster than time it may run to catch up: an hour a minute. So at most a 720th of the calls of 30
/// days expires in a minute, whatever the clocks show.
const CATCH_UP: u32 = 60;

/// The longest time between two purges that counts for the catching up.
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// The time of the last purge. It is stored, so that a restart does not lose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeClock {
    /// The latest time that is known to have passed.
    pub known: Millis,
    /// The time that the purge uses: `known`, or earlier while it catches up.
    pub used: Millis,
    /// The boot and the uptime ([`ClockReading`]) when it was determined.
    pub boot: String,
    pub uptime: Duration,
}

impl PurgeClock {
    /// For a store that has never been purged, so that nothing in it can have expired.
    pub fn first(reading: &ClockReading) -> Self {
        Self {
            known: reading.now,
            used: reading.now,
            boot: reading.boot.to_string(),
            uptime: reading.uptime,
        }
    }

    /// The latest time that is known to have passed at `reading`. After a boot only the time of the last
    /// purge is known.
    pub fn known_at(&self, reading: &ClockReading) -> Millis {
        self.known.plus(self.passed(reading))
    }

    /// The next one. `reported` is the latest time that Twilio signed.
    pub fn next(&self, reading: &ClockReading, reported: Option<Millis>) -> Self {
        let known = self.known_at(reading).max(reported.unwrap_or(self.known));
        // A clock that is behind removes too late, which is safe.
        let known = known.min(reading.now);
        let step = self.passed(reading).min(LONGEST_STEP) * CATCH_UP;
        Self {
            known,
            used: known.min(self.used.plus(step)),
            ..Self::first(reading)
        }
    }

    fn passed(&self, reading: &ClockReading) -> Duration {
        if *self.boot == *reading.boot {
            reading.uptime.saturating_sub(self.uptime)
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_790_000_000_000;
    const MINUTE: i64 = 60_000;
    const JUMPS: [i64; 4] = [
        MINUTE,
        60 * MINUTE,
        40 * 24 * 60 * MINUTE,
        3_650 * 24 * 60 * MINUTE,
    ];

    fn reading(now: i64, boot: &str, uptime: i64) -> ClockReading {
        ClockReading {
            now: Millis(now),
            boot: boot.into(),
            uptime: Duration::from_millis(uptime.unsigned_abs()),
        }
    }

    #[test]
    fn a_clock_that_jumps_while_running_or_between_starts_moves_the_purge_by_no_more_than_the_time_that_passed()
     {
        for jump in JUMPS {
            for boot in ["same", "other"] {
                let before = PurgeClock::first(&reading(START, "same", 0));
                let ahead = reading(START + MINUTE + jump, boot, MINUTE);
                let after = before.next(&ahead, None);
                assert!(after.used <= Millis(START + MINUTE), "{jump} {boot}");
                // Back where it was.
                let right = reading(START + 2 * MINUTE, boot, 2 * MINUTE);
                assert!(after.next(&right, None).used <= Millis(START + 2 * MINUTE));
                let behind = reading(START - jump, boot, MINUTE);
                assert_eq!(before.next(&behind, None).used, Millis(START - jump));
            }
        }
    }

    #[test]
    fn a_time_that_twilio_signed_confirms_a_clock_which_then_catches_up_an_hour_a_minute() {
        let mut clock = PurgeClock::first(&reading(START, "before", 0));
        let away = 48 * 60;
        let mut minutes = 0;
        while clock.used < Millis(START + away * MINUTE) {
            let now = START + (away + minutes) * MINUTE;
            let next = clock.next(&reading(now, "after", minutes * MINUTE), Some(Millis(now)));
            assert!(next.used.since(clock.used) <= Duration::from_secs(3_600));
            assert_eq!(next.known, Millis(now));
            (clock, minutes) = (next, minutes + 1);
        }
        assert!((48..=51).contains(&minutes), "{minutes} minutes");
        // Without one it runs on from the last purge, also long after a restart of the process alone.
        let clock = PurgeClock::first(&reading(START, "boot", 0));
        let later = reading(START + away * MINUTE, "boot", away * MINUTE);
        assert_eq!(
            clock.next(&later, None).known,
            Millis(START + away * MINUTE)
        );
    }

    proptest! {
        /// Steps of time, with a jump of the wall clock and perhaps a boot before each.
        #[test]
        fn the_purge_is_never_ahead_of_the_true_time(
            steps in proptest::collection::vec(
                (0..7_200_000_i64, -4_000_000_000_i64..400_000_000_000, any::<bool>(), any::<bool>()),
                1..30,
            ),
        ) {
            let (mut truth, mut uptime, mut boots) = (START, 0, 0);
            let mut clock = PurgeClock::first(&reading(truth, "0", uptime));
            for (passed, wrong_by, boots_anew, is_reported) in steps {
                truth += passed;
                uptime = if boots_anew { passed } else { uptime + passed };
                boots += i64::from(boots_anew);
                let shown = reading(truth + wrong_by, &boots.to_string(), uptime);
                let next = clock.next(&shown, is_reported.then_some(Millis(truth)));
                prop_assert!(next.used <= Millis(truth) && next.used <= next.known);
                prop_assert!(next.used.since(clock.used) <= Duration::from_secs(3_600));
                clock = next;
            }
        }
    }
}
