//! Durations as operators write and read them: `200ms`, `10s`, `5m`, `2h`, `30d`.
//!
//! A duration has one unit. `1h30m` is refused, so that a duration is easy to compare.

use std::fmt::Write as _;
use std::time::Duration;

/// Milliseconds in each unit, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A whole number followed by its unit.
pub fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(*millis)
        .map(Duration::from_millis)
}

/// In units from the longest down, to the millisecond: `3d 12h`.
pub fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, millis) in UNITS {
        if rest >= millis {
            let gap = if text.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{gap}{}{name}", rest / millis);
            rest %= millis;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// In the longest unit that holds it exactly, as [`parse`] reads it: `90s`.
pub fn write(duration: Duration) -> String {
    let all = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let exact = UNITS
        .iter()
        .find(|(_, millis)| all >= *millis && all % millis == 0);
    exact.map_or_else(
        || "0s".to_owned(),
        |(name, millis)| format!("{}{name}", all / millis),
    )
}

pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

pub const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3_600)
}

pub const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        let cases = [
            ("200ms", Some(200)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("30d", Some(2_592_000_000)),
            ("0s", Some(0)),
            ("10", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("10 s", None),
            ("10S", None),
            ("1h30m", None),
            ("", None),
            ("999999999999999999999d", None),
            ("18446744073709551615d", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_the_longest_units() {
        let shown = |millis| show(Duration::from_millis(millis));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(1_500), "1s 500ms");
        assert_eq!(shown(60_000), "1m");
        assert_eq!(shown(86_400_000 * 3 + 3_600_000), "3d 1h");
    }
}
