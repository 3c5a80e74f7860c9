//! The report of a period: what became of its calls, by day and by account, from the ledger.
//!
//! Pure; the ledger is read by the store.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::{AddAssign, Range};

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::clock::Millis;
use crate::config::{ReportSettings, duration};
use crate::domain::class::Class;
use crate::domain::plural::counted;
use crate::store::LedgerRow;
use crate::store::ledger::Unit;

/// Whole days of a time zone: the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub since: Date,
    pub until: Date,
}

impl Period {
    /// The month `YYYY-MM`; `None` if the text is none.
    pub fn month(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        if (year.len(), month.len()) != (4, 2) {
            return None;
        }
        let since = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        Some(Self::month_of(since))
    }

    /// The month of now.
    pub fn current(now: Millis, zone: &TimeZone) -> Self {
        Self::month_of(day_of(now, zone).unwrap_or(date(1970, 1, 1)))
    }

    /// These days; `None` if the first comes after the last, or more than ten years lie between them.
    pub fn days(since: Date, until: Date) -> Option<Self> {
        let days = since.until(until).ok()?.get_days();
        (0..3_653).contains(&days).then_some(Self { since, until })
    }

    fn month_of(day: Date) -> Self {
        Self {
            since: day.first_of_month(),
            until: day.last_of_month(),
        }
    }

    /// The months before and after the first day, as `YYYY-MM`.
    pub fn neighbours(self) -> [Option<String>; 2] {
        let neighbour = |day: Result<Date, _>| day.ok().map(month_text);
        [
            neighbour(self.since.checked_sub(1.month())),
            neighbour(self.since.checked_add(1.month())),
        ]
    }

    /// From the start of the first day to the end of the last.
    pub fn time(self, zone: &TimeZone) -> Range<Millis> {
        let start = |day: Option<Date>| {
            let zoned = day?.to_zoned_datetime(zone.clone()).ok()?;
            Some(Millis(zoned.timestamp().as_millisecond()))
        };
        let end = self.until.tomorrow().ok();
        start(Some(self.since)).unwrap_or_default()..start(end).unwrap_or(Millis(i64::MAX))
    }
}

/// `YYYY-MM`.
pub fn month_text(day: Date) -> String {
    format!("{:04}-{:02}", day.year(), day.month())
}

/// The day of a time in a time zone.
pub fn day_of(at: Millis, zone: &TimeZone) -> Option<Date> {
    let stamp = jiff::Timestamp::from_millisecond(at.0).ok()?;
    Some(zone.to_datetime(stamp).date())
}

/// How many calls are in each class. `received` is the sum of the others, without `reconciled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    pub received: i64,
    pub in_time: i64,
    pub late: i64,
    pub waiting: i64,
    /// By cause.
    pub skipped: BTreeMap<String, i64>,
    pub parked: i64,
    pub dismissed: i64,
    pub expired: i64,
    pub erased: i64,
    /// Of those received: imported by the comparison with Twilio's records.
    pub reconciled: i64,
}

impl Sums {
    pub fn add(&mut self, unit: Unit, calls: i64) {
        let count = match unit {
            Unit::Received => &mut self.received,
            Unit::Reconciled => &mut self.reconciled,
            Unit::Class(Class::InTime, _) => &mut self.in_time,
            Unit::Class(Class::Late, _) => &mut self.late,
            Unit::Class(Class::Waiting | Class::WaitingLate, _) => &mut self.waiting,
            Unit::Class(Class::Skipped, cause) => {
                let cause = cause.map_or_else(String::new, |cause| cause.to_string());
                self.skipped.entry(cause).or_default()
            }
            Unit::Class(Class::Parked, _) => &mut self.parked,
            Unit::Class(Class::Dismissed, _) => &mut self.dismissed,
            Unit::Class(Class::Expired, _) => &mut self.expired,
            Unit::Class(Class::Erased, _) => &mut self.erased,
        };
        *count += calls;
    }

    /// Calls that Acquire accepted.
    pub fn in_acquire(&self) -> i64 {
        self.in_time + self.late
    }

    /// Calls that are never sent.
    pub fn not_sent(&self) -> i64 {
        self.skipped.values().sum::<i64>() + self.dismissed
    }

    /// The classes with their words, in the order of the columns.
    pub fn classes(&self) -> [(&'static str, i64); 8] {
        [
            ("in time", self.in_time),
            ("late", self.late),
            ("waiting", self.waiting),
            ("skipped", self.skipped.values().sum()),
            ("parked", self.parked),
            ("dismissed", self.dismissed),
            ("expired", self.expired),
            ("erased", self.erased),
        ]
    }

    /// Its calls as one sum: `5 received = 4 in time + 1 late`.
    pub fn identity(&self) -> String {
        let some = self.classes().into_iter().filter(|(_, calls)| *calls != 0);
        let parts: Vec<String> = some
            .map(|(word, calls)| format!("{calls} {word}"))
            .collect();
        match &parts[..] {
            [] => format!("{} received", self.received),
            parts => format!("{} received = {}", self.received, parts.join(" + ")),
        }
    }
}

impl AddAssign<&Self> for Sums {
    fn add_assign(&mut self, more: &Self) {
        self.received += more.received;
        self.in_time += more.in_time;
        self.late += more.late;
        self.waiting += more.waiting;
        for (cause, calls) in &more.skipped {
            *self.skipped.entry(cause.clone()).or_default() += calls;
        }
        self.parked += more.parked;
        self.dismissed += more.dismissed;
        self.expired += more.expired;
        self.erased += more.erased;
        self.reconciled += more.reconciled;
    }
}

/// The calls whose first callback arrived on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportDay {
    pub day: String,
    #[serde(flatten)]
    pub sums: Sums,
}

/// The day with the largest share of late calls among those that Acquire accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlowestDay {
    pub day: String,
    pub late: i64,
    /// Calls of the day that Acquire accepted.
    pub in_acquire: i64,
}

impl SlowestDay {
    /// `None` if no call was late. Of equal shares, the day with more late calls, then the first.
    fn of(days: &[ReportDay]) -> Option<Self> {
        let share = |of: &ReportDay| {
            i128::from(of.sums.late) * 1_000_000 / i128::from(of.sums.in_acquire())
        };
        let late = days.iter().filter(|of| of.sums.late > 0).rev();
        let slowest = late.max_by_key(|of| (share(of), of.sums.late))?;
        Some(Self {
            day: slowest.day.clone(),
            late: slowest.sums.late,
            in_acquire: slowest.sums.in_acquire(),
        })
    }
}

impl fmt::Display for SlowestDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, late) = (&self.day, self.late);
        let calls = counted(self.in_acquire, "call");
        write!(f, "{day}, with {late} late of {calls} in Acquire")
    }
}

/// What became of the calls of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub since: String,
    /// The last day.
    pub until: String,
    pub time_zone: String,
    /// `report.late`.
    pub late: String,
    /// Those with calls.
    pub days: Vec<ReportDay>,
    /// `None` if no call was late.
    pub slowest_day: Option<SlowestDay>,
    pub accounts: BTreeMap<String, Sums>,
    pub total: Sums,
}

impl Report {
    /// Adds up the rows of the ledger. Days and quarters of an hour start together in every time zone.
    pub fn of(rows: &[LedgerRow], period: Period, settings: &ReportSettings) -> Self {
        let mut days: BTreeMap<Date, Sums> = BTreeMap::new();
        let mut accounts: BTreeMap<String, Sums> = BTreeMap::new();
        let mut total = Sums::default();
        for row in rows {
            let Some(day) = day_of(row.quarter, &settings.time_zone) else {
                continue;
            };
            let account = accounts.entry(row.account.to_string()).or_default();
            for sums in [days.entry(day).or_default(), account, &mut total] {
                sums.add(row.unit, row.calls);
            }
        }
        let day = |(day, sums): (Date, Sums)| ReportDay {
            day: day.to_string(),
            sums,
        };
        let days: Vec<ReportDay> = days.into_iter().map(day).collect();
        Self {
            since: period.since.to_string(),
            until: period.until.to_string(),
            time_zone: settings.time_zone.iana_name().unwrap_or("UTC").to_owned(),
            late: duration::show(settings.late),
            slowest_day: SlowestDay::of(&days),
            days,
            accounts,
            total,
        }
    }

    /// A line for each day, after one with the names of the columns. `slowest` is 1 on the slowest day.
    pub fn to_csv(&self) -> String {
        let mut csv = "day,received,in_time,late,waiting,skipped,parked,dismissed,expired,erased,\
                       reconciled,slowest\n"
            .to_owned();
        for ReportDay { day, sums } in &self.days {
            let classes = sums.classes().map(|(_, calls)| calls.to_string());
            let is_slowest = self.slowest_day.as_ref().is_some_and(|of| of.day == *day);
            // Writing to a String cannot fail.
            let _ = writeln!(
                csv,
                "{day},{},{},{},{}",
                sums.received,
                classes.join(","),
                sums.reconciled,
                u8::from(is_slowest)
            );
        }
        csv
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::ledger::QUARTER_MS;
    use crate::twilio::AccountSid;

    pub fn at(text: &str) -> Millis {
        let stamp: jiff::Timestamp = text.parse().expect("a time");
        Millis(stamp.as_millisecond())
    }

    /// One call in each quarter of an hour that starts in a range.
    pub fn rows(range: Range<Millis>) -> Vec<LedgerRow> {
        let first = (range.start.0 + QUARTER_MS - 1).div_euclid(QUARTER_MS);
        let quarters = (first..).map(|number| Millis(number * QUARTER_MS));
        let quarters = quarters.take_while(|quarter| *quarter < range.end);
        let account = AccountSid::parse("AC00000000000000000000000000000001").expect("a SID");
        let units = [Unit::Received, Unit::Class(Class::InTime, None)];
        let row = |quarter| {
            units.map(|unit| LedgerRow {
                quarter,
                account: account.clone(),
                unit,
                calls: 1,
            })
        };
        quarters.flat_map(row).collect()
    }

    /// One call in each quarter of an hour of the period.
    fn report(zone: &str, since: &str, until: &str) -> Report {
        let settings = ReportSettings {
            late: std::time::Duration::from_secs(300),
            time_zone: TimeZone::get(zone).expect("a time zone"),
        };
        let day = |text: &str| text.parse().expect("a day");
        let period = Period::days(day(since), day(until)).expect("in order");
        Report::of(&rows(period.time(&settings.time_zone)), period, &settings)
    }

    #[test]
    fn a_night_of_a_clock_change_makes_the_day_longer_or_shorter_and_loses_no_call() {
        for (zone, day, quarters) in [
            ("Europe/Berlin", "2026-03-29", 92),
            ("Europe/Berlin", "2026-10-25", 100),
            ("Europe/Berlin", "2026-10-26", 96),
            // By half an hour.
            ("Australia/Lord_Howe", "2026-04-05", 98),
            ("Asia/Kathmandu", "2026-04-05", 96),
            ("UTC", "2026-10-25", 96),
        ] {
            let report = report(zone, day, day);
            let days: Vec<&str> = report.days.iter().map(|of| of.day.as_str()).collect();
            assert_eq!(days, [day], "{zone}");
            assert_eq!(report.total.received, quarters, "{zone} {day}");
            assert_eq!(report.days[0].sums, report.total);
        }
        let month = report("Europe/Berlin", "2026-10-01", "2026-10-31");
        assert_eq!(month.total.received, 31 * 96 + 4);
        assert_eq!(month.days.len(), 31);
    }

    #[test]
    fn a_month_starts_and_ends_in_its_time_zone() {
        let zone = TimeZone::get("Europe/Berlin").expect("a time zone");
        let period = Period::month("2026-02").expect("a month");
        let time = period.time(&zone);
        assert_eq!(time.start, at("2026-01-31T23:00:00Z"));
        assert_eq!(time.end, at("2026-02-28T23:00:00Z"));
        assert_eq!(Period::current(at("2026-01-31T23:00:00Z"), &zone), period);
        let neighbours = period.neighbours().map(Option::unwrap_or_default);
        assert_eq!(neighbours, ["2026-01", "2026-03"]);
        for text in [
            "", "2026", "2026-2", "2026-13", "2026-00", "x-01", "+026-01x",
        ] {
            assert_eq!(Period::month(text), None, "{text}");
        }
    }

    #[test]
    fn the_slowest_day_has_the_largest_share_of_late_calls() {
        let slowest = |days: &[(&str, i64, i64)]| {
            let day = |(day, in_time, late): &(&str, i64, i64)| ReportDay {
                day: (*day).to_owned(),
                sums: Sums {
                    in_time: *in_time,
                    late: *late,
                    ..Sums::default()
                },
            };
            let days: Vec<ReportDay> = days.iter().map(day).collect();
            SlowestDay::of(&days).map(|of| of.to_string())
        };
        assert_eq!(slowest(&[]), None);
        assert_eq!(slowest(&[("1", 9, 0), ("2", 0, 0)]), None);
        for (days, words) in [
            (
                &[("1", 98, 2), ("2", 1, 1), ("3", 9, 0)][..],
                "2, with 1 late of 2 calls in Acquire",
            ),
            (
                &[("1", 9, 1), ("2", 18, 2)],
                "2, with 2 late of 20 calls in Acquire",
            ),
            (
                &[("1", 0, 1), ("2", 0, 1)],
                "1, with 1 late of 1 call in Acquire",
            ),
        ] {
            assert_eq!(slowest(days).as_deref(), Some(words));
        }
    }

    #[test]
    fn the_sum_of_a_report_has_every_class_that_has_calls() {
        let mut sums = Sums::default();
        for class in Class::ALL {
            sums.add(Unit::Received, 1);
            sums.add(Unit::Class(class, None), 1);
        }
        assert_eq!(
            sums.identity(),
            "9 received = 1 in time + 1 late + 2 waiting + 1 skipped + 1 parked + 1 dismissed + \
             1 expired + 1 erased"
        );
    }
}
