//! The bars of Today: what became of the calls of each hour, as SVG.

use std::fmt::Write as _;

use crate::clock::Millis;
use crate::debugging::recent_calls::{HOUR, RecentCalls};
use crate::debugging::report::Sums;

/// The parts of a bar, from the bottom: their class in the style, their words, and their calls.
type Part = (&'static str, &'static str, fn(&Sums) -> i64);

pub const PARTS: [Part; 5] = [
    ("in-time", "in time", |sums| sums.in_time),
    ("late", "late", |sums| sums.late),
    ("waiting", "waiting", |sums| sums.waiting),
    ("not-sent", "not sent", |sums| sums.not_sent() + sums.erased),
    ("undecided", "need a decision", |sums| {
        sums.parked + sums.expired
    }),
];

/// Bars side by side, each as high as it has calls. The height of the highest is 100.
pub struct Chart {
    /// The class in the style, which shows one chart of each page.
    pub class: &'static str,
    pub most: i64,
    pub bars: Vec<Bar>,
}

pub struct Bar {
    pub words: String,
    /// The list of its calls.
    pub link: String,
    /// Class, top and height.
    pub parts: Vec<(&'static str, String, String)>,
}

/// One chart for wide pages, and one for narrow ones: a bar must be wide enough to be clicked.
pub fn charts(recent: &RecentCalls) -> [Chart; 2] {
    [("hourly", 1), ("coarse", 4)].map(|(class, hours)| chart(recent, class, hours))
}

fn chart(recent: &RecentCalls, class: &'static str, hours: usize) -> Chart {
    let bars = recent.hours.chunks(hours).map(|hours| {
        let mut sums = Sums::default();
        for (_, more) in hours {
            sums += more;
        }
        let start = hours.first().map_or(recent.day, |(start, _)| *start);
        let until = hours.last().map_or(start, |(last, _)| last.plus(HOUR));
        (start, until, sums)
    });
    let bars: Vec<(Millis, Millis, Sums)> = bars.collect();
    let most = bars.iter().map(|(.., sums)| sums.received).max();
    let most = most.unwrap_or_default();
    Chart {
        class,
        most,
        bars: bars.iter().map(|bar| drawn(bar, most)).collect(),
    }
}

fn drawn((start, until, sums): &(Millis, Millis, Sums), most: i64) -> Bar {
    let mut top = 100.0;
    let mut words = format!("{start} to {until}: {} received", sums.received);
    let mut parts = Vec::new();
    for (class, word, calls) in PARTS {
        let calls = calls(sums);
        if calls > 0 {
            // Writing to a String cannot fail.
            let _ = write!(words, ", {calls} {word}");
            #[expect(clippy::cast_precision_loss, reason = "a height in pixels")]
            let height = calls as f64 * 100.0 / most.max(1) as f64;
            top -= height;
            parts.push((class, format!("{top:.1}"), format!("{height:.1}")));
        }
    }
    Bar {
        words,
        link: format!("/calls?since={start}&until={until}"),
        parts,
    }
}
