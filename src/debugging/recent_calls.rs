//! The calls of today beside those of the same day a week ago, and of the last 48 hours, from the ledger.
//!
//! Pure; the ledger is read by the store.

use std::ops::Range;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::report::{Period, Sums, day_of};
use crate::clock::Millis;
use crate::store::LedgerRow;
use crate::store::ledger::{QUARTER_MS, Unit};

const HOUR_MS: i64 = 4 * QUARTER_MS;
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Hours that are kept apart.
const HOURS: i64 = 48;

/// What became of the calls of some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentCalls {
    /// When today started.
    pub day: Millis,
    pub today: Sums,
    /// Those of the same weekday a week ago, up to this time of the day.
    pub week_ago: Sums,
    /// The hours of UTC that started in the last 48, the oldest first.
    pub hours: Vec<(Millis, Sums)>,
    /// New calls of the last hour, and of the same hour a week ago. Up to a quarter of an hour more.
    pub last_hour: i64,
    pub hour_week_ago: i64,
}

/// The times that [`RecentCalls`] needs of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentTimes {
    now: Millis,
    day: Millis,
    /// The same time of the day a week ago, and the start of that day.
    now_then: Millis,
    day_then: Millis,
}

impl RecentTimes {
    pub fn of(now: Millis, zone: &TimeZone) -> Self {
        let start = |day: Option<Date>| {
            let period = day.map(|day| Period {
                since: day,
                until: day,
            });
            period.map_or(now, |period| period.time(zone).start)
        };
        let today = day_of(now, zone);
        let then = today.and_then(|day| day.checked_sub(7.days()).ok());
        let (day, day_then) = (start(today), start(then));
        Self {
            now,
            day,
            day_then,
            now_then: day_then.plus(now.since(day)),
        }
    }

    /// The rows to read: those up to now, and those of a week ago.
    pub fn ranges(&self) -> [Range<Millis>; 2] {
        let hour_then = self.now_then.minus(HOUR);
        [
            Millis(self.first_hour() * HOUR_MS)..Millis(self.now.0 + 1),
            self.day_then.min(hour_then)..self.now_then,
        ]
    }

    /// In hours since 1970.
    fn first_hour(&self) -> i64 {
        self.now.0.div_euclid(HOUR_MS) - HOURS + 1
    }
}

impl RecentCalls {
    /// Adds up the rows of the two ranges.
    pub fn of(rows: &[LedgerRow], rows_then: &[LedgerRow], times: &RecentTimes) -> Self {
        let hour = |number| {
            (
                Millis((times.first_hour() + number) * HOUR_MS),
                Sums::default(),
            )
        };
        let mut recent = Self {
            day: times.day,
            hours: (0..HOURS).map(hour).collect(),
            ..Self::default()
        };
        let since = times.now.minus(HOUR).0 - QUARTER_MS;
        for row in rows {
            let place = row.quarter.0.div_euclid(HOUR_MS) - times.first_hour();
            let hour = usize::try_from(place).ok();
            if let Some((_, sums)) = hour.and_then(|hour| recent.hours.get_mut(hour)) {
                sums.add(row.unit, row.calls);
            }
            if row.quarter >= times.day {
                recent.today.add(row.unit, row.calls);
            }
            if row.quarter.0 > since && row.unit == Unit::Received {
                recent.last_hour += row.calls;
            }
        }
        for row in rows_then {
            if row.quarter >= times.day_then {
                recent.week_ago.add(row.unit, row.calls);
            }
            if row.quarter >= times.now_then.minus(HOUR) && row.unit == Unit::Received {
                recent.hour_week_ago += row.calls;
            }
        }
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugging::report::tests::{at, rows};

    #[test]
    fn today_is_compared_with_the_same_time_a_week_ago_also_across_a_clock_change() {
        let zone = TimeZone::get("Europe/Berlin").expect("a time zone");
        // 10:20 in winter; a week ago it was summer.
        let times = RecentTimes::of(at("2026-10-26T09:20:00Z"), &zone);
        assert_eq!(times.day, at("2026-10-25T23:00:00Z"));
        assert_eq!(times.day_then, at("2026-10-18T22:00:00Z"));
        assert_eq!(times.now_then, at("2026-10-19T08:20:00Z"));
        let [recent, then] = times.ranges().map(rows);
        let calls = RecentCalls::of(&recent, &then, &times);
        // Of each hour four quarters, and the two that have started since 10:00.
        assert_eq!((calls.today.received, calls.week_ago.received), (42, 42));
        assert_eq!(calls.today.in_acquire(), 42);
        assert_eq!(calls.hours.len(), 48);
        assert_eq!(calls.hours[0].0, at("2026-10-24T10:00:00Z"));
        let hours: Vec<i64> = calls.hours.iter().map(|(_, sums)| sums.received).collect();
        assert_eq!((hours[0], hours[46], hours[47]), (4, 4, 2));
    }

    #[test]
    fn the_last_hour_is_compared_with_the_same_hour_a_week_ago() {
        let times = RecentTimes::of(at("2026-10-26T00:05:00Z"), &TimeZone::UTC);
        let [recent, then] = times.ranges();
        let calls = RecentCalls::of(&[], &rows(then), &times);
        assert_eq!((calls.last_hour, calls.hour_week_ago), (0, 4));
        assert_eq!(calls.week_ago.received, 1, "of the day: 00:00");
        let quiet = recent.start..at("2026-10-25T22:50:00Z");
        let calls = RecentCalls::of(&rows(quiet), &[], &times);
        assert_eq!(calls.last_hour, 0);
        let busy = recent.start..at("2026-10-25T23:01:00Z");
        let calls = RecentCalls::of(&rows(busy), &[], &times);
        assert_eq!(calls.last_hour, 1);
    }
}
