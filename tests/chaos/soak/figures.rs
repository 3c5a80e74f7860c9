//! The figures of a soak, read each second, printed each minute, and compared at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Soak;
use crate::kills::Bridge;
use crate::support::ledger::Ledger;
use crate::support::sender::ask;
use crate::{left_out, pause};

/// One figure, and by how much it may be higher in the last third than in the second: a share of it, and so
/// much besides, because faults of a different kind and number fall in each third.
struct Figure {
    name: &'static str,
    share: f64,
    besides: f64,
}

const fn figure(name: &'static str, share: f64, besides: f64) -> Figure {
    Figure {
        name,
        share,
        besides,
    }
}

const FIGURES: [Figure; 7] = [
    figure("RSS (MiB)", 0.15, 8.0),
    figure("descriptors", 0.15, 40.0),
    figure("database, without hashes (MiB)", 0.15, 8.0),
    figure("write-ahead log (MiB)", 0.5, 32.0),
    figure("undelivered calls", 0.5, 1_500.0),
    figure("lag, p99 (ms)", 0.5, 50.0),
    // They stay for `store.parked_retention` by design: about 150 bytes of each call.
    figure("hashes of removed calls (MiB)", 0.0, 60.0),
];

const PENDING: usize = 4;
const LAG: usize = 5;

/// Shorter runs are not compared: the store has its size only once the first calls are removed.
const LONG_ENOUGH: Duration = Duration::from_secs(600);

/// The time between two questions for the size of the hashes, which reads all of them.
const HASHES_EVERY: Duration = Duration::from_secs(15);

/// The figures at one time; `None` for one that could not be read.
struct Sample {
    at: Duration,
    is_calm: bool,
    values: [Option<f64>; FIGURES.len()],
}

/// Reads the figures each second.
pub struct Recorder {
    is_calm: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Recorder {
    pub fn start(soak: &Soak) -> Self {
        let mut source = Source {
            process: Arc::clone(&soak.process),
            bridge: Arc::clone(&soak.bridge),
            ledger: Arc::clone(&soak.ledger),
            database: soak.database.clone(),
            hashes: (Duration::ZERO, 0.0),
        };
        let is_calm = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let row = (soak.plan.length / 10).min(Duration::from_secs(60));
        let started = soak.started;
        let thread = thread::spawn({
            let (is_calm, stop) = (Arc::clone(&is_calm), Arc::clone(&stop));
            move || {
                let mut samples = Vec::new();
                let mut printed = 0;
                while !stop.load(Ordering::Relaxed) {
                    let was_calm = is_calm.load(Ordering::Relaxed);
                    pause(Duration::from_secs(1));
                    let is_calm = was_calm && is_calm.load(Ordering::Relaxed);
                    samples.push(source.reads(started.elapsed(), is_calm));
                    if started.elapsed() > row * (printed + 1) {
                        printed += 1;
                        print_row(&samples, row);
                    }
                }
                samples
            }
        });
        Self {
            is_calm,
            stop,
            thread,
        }
    }

    /// The figures that are read meanwhile are those without a fault.
    pub fn calm(&self, during: impl FnOnce()) {
        self.is_calm.store(true, Ordering::Relaxed);
        during();
        self.is_calm.store(false, Ordering::Relaxed);
    }

    /// Prints the comparison of the last third of a run with the second; what rose too far.
    pub fn ends(self, length: Duration) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.join().expect("it reads to the end");
        rises(&samples, length)
    }
}

struct Source {
    process: Arc<Mutex<Option<u32>>>,
    bridge: Arc<Bridge>,
    ledger: Arc<Ledger>,
    database: PathBuf,
    /// When they were measured, and their size in MiB.
    hashes: (Duration, f64),
}

impl Source {
    fn reads(&mut self, at: Duration, is_calm: bool) -> Sample {
        if at > self.hashes.0 + HASHES_EVERY
            && let Some(size) = mebibytes_of_hashes(&self.database)
        {
            self.hashes = (at, size);
        }
        let process = *self.process.lock().expect("no panic");
        let metrics = self
            .bridge
            .addresses()
            .and_then(|bridge| ask(bridge.admin, "/metrics").ok())
            .map(|(_, text)| text)
            .unwrap_or_default();
        let calls = |state| metric(&metrics, &format!("bridge_calls{{state=\"{state}\"}}"));
        let lags = self.ledger.takes_lags().into_iter();
        let lags = lags.map(|lag| lag.as_secs_f64() * 1_000.0).collect();
        let log = self.database.with_extension("db-wal");
        Sample {
            at,
            is_calm,
            values: [
                process.and_then(resident_mebibytes),
                process.and_then(descriptors),
                mebibytes(&self.database).map(|size| size - self.hashes.1),
                mebibytes(&log),
                calls("pending").zip(calls("claimed")).map(|(a, b)| a + b),
                percentile(lags, 99),
                Some(self.hashes.1),
            ],
        }
    }
}

/// The value of a series.
pub fn metric(metrics: &str, series: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines
        .find_map(|line| line.strip_prefix(series))?
        .trim()
        .parse()
        .ok()
}

fn resident_mebibytes(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

fn descriptors(process: u32) -> Option<f64> {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    Some(real(files.count()))
}

fn mebibytes(file: &Path) -> Option<f64> {
    Some(real(std::fs::metadata(file).ok()?.len() / 1024) / 1024.0)
}

/// A count as a number to calculate with.
pub fn real(count: impl TryInto<u32>) -> f64 {
    f64::from(count.try_into().unwrap_or(u32::MAX))
}

/// The value below which so many of 100 are.
fn percentile(mut values: Vec<f64>, part: usize) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let index = values.len() * part / 100;
    values
        .get(index.min(values.len().saturating_sub(1)))
        .copied()
}

/// `None` while the store cannot be read.
fn mebibytes_of_hashes(database: &Path) -> Option<f64> {
    let reader = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let sql = "SELECT sum(pgsize) FROM dbstat WHERE aggregate = TRUE AND name IN \
        (SELECT name FROM sqlite_schema WHERE tbl_name = 'removed_call')";
    let bytes: i64 = reader.query_row(sql, [], |row| row.get(0)).ok()?;
    Some(real(bytes / 1024) / 1024.0)
}

/// Prints the latest and the highest of each figure in the last row's time.
fn print_row(samples: &[Sample], row: Duration) {
    let last = samples.last().map(|sample| sample.at).unwrap_or_default();
    let recent = samples.iter().filter(|sample| sample.at + row > last);
    let recent: Vec<_> = recent.collect();
    let text = FIGURES.iter().enumerate().map(|(index, figure)| {
        let values = recent.iter().filter_map(|sample| sample.values[index]);
        let values: Vec<f64> = values.collect();
        let latest = values.last().copied().unwrap_or_default();
        let highest = values.into_iter().fold(0.0, f64::max);
        format!("{} {latest:.0} (max {highest:.0})", figure.name)
    });
    println!(
        "{:>5}s  {}",
        last.as_secs(),
        text.collect::<Vec<_>>().join(", ")
    );
}

/// Compares the last third with the second: the highest value of each figure, and the median without a fault.
fn rises(samples: &[Sample], length: Duration) -> Vec<String> {
    if length < LONG_ENOUGH {
        left_out("whether the figures of the soak stay level: at least --seconds 600");
    }
    let mut found = Vec::new();
    for (index, figure) in FIGURES.iter().enumerate() {
        // Without a fault nothing waits; under one the lag is that of the fault.
        let kinds = match index {
            PENDING => &["highest"][..],
            LAG => &["median without a fault"],
            _ => &["highest", "median without a fault"],
        };
        for kind in kinds {
            let is_calm = *kind != "highest";
            let [before, after] = [1, 2].map(|third| {
                let part = samples.iter().filter(|sample| {
                    let is_in = sample.at >= length * third / 3
                        && (third == 2 || sample.at < length * (third + 1) / 3);
                    is_in && (!is_calm || sample.is_calm)
                });
                let values = part.filter_map(|sample| sample.values[index]).collect();
                percentile(values, if is_calm { 50 } else { 100 }).unwrap_or(f64::NAN)
            });
            let limit = before * (1.0 + figure.share) + figure.besides;
            let text = format!(
                "{}, {kind}: {before:.1} in the second third, {after:.1} in the last (at most {limit:.1})",
                figure.name
            );
            println!("{text}");
            // Also where one of them is missing.
            let is_level = after <= limit;
            if !is_level && length >= LONG_ENOUGH {
                found.push(text);
            }
        }
    }
    found
}

#[test]
fn a_figure_that_rises_or_is_missing_is_found() {
    let length = LONG_ENOUGH;
    let samples = |of: &dyn Fn(f64) -> [Option<f64>; FIGURES.len()]| -> Vec<Sample> {
        let sample = |second: u32| Sample {
            at: Duration::from_secs(u64::from(second)),
            is_calm: second.is_multiple_of(3),
            values: of(f64::from(second)),
        };
        (0..600).map(sample).collect()
    };
    let level = samples(&|second| [Some(100.0 + second % 7.0); FIGURES.len()]);
    assert_eq!(rises(&level, length), Vec::<String>::new());
    for (index, figure) in FIGURES.iter().enumerate() {
        let rising = samples(&|second| {
            let mut values = [Some(100.0); FIGURES.len()];
            values[index] = Some(second * second);
            values
        });
        let found = rises(&rising, length);
        assert!(!found.is_empty(), "{}", figure.name);
        assert!(
            found.iter().all(|text| text.starts_with(figure.name)),
            "{found:?}"
        );
    }
    let missing = samples(&|_| [None; FIGURES.len()]);
    assert_eq!(rises(&missing, length).len(), 12);
}
