//! Gives the time, and waits for it: the only place that reads the system clock.
//!
//! All other code gets the time as an argument, so that tests can advance it.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Millis(pub i64);

impl Millis {
    pub fn plus(self, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(wait))
    }

    pub fn minus(self, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(wait))
    }

    /// The first moment of its UTC day.
    pub fn start_of_day(self) -> Self {
        const DAY: i64 = 86_400_000;
        Self(self.0.saturating_sub(self.0.rem_euclid(DAY)))
    }

    /// The time from `earlier` to this; zero if this is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with milliseconds, as logs, pages and JSON show it.
impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl From<Millis> for String {
    fn from(time: Millis) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Millis {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(time.as_millisecond()))
    }
}

/// The wall clock, and a clock of the same machine that never jumps, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockReading {
    pub now: Millis,
    /// Identifies the start of the machine since which `uptime` counts.
    pub boot: Arc<str>,
    pub uptime: Duration,
}

impl ClockReading {
    /// The milliseconds by which the wall clock moved more than the time that passed since `earlier`, which
    /// is of the same boot; negative if it was set back.
    pub fn jump_since(&self, earlier: &Self) -> i64 {
        let passed = self.uptime.saturating_sub(earlier.uptime).as_millis();
        let moved = self.now.0.saturating_sub(earlier.now.0);
        moved.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

/// The id that Linux gives each boot (proc(5)); of this process on other systems.
static BOOT: LazyLock<Arc<str>> = LazyLock::new(|| {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(
        |_| format!("process {:016x}", fastrand::u64(..)).into(),
        |id| id.trim().into(),
    )
});

static PROCESS_START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Linux's time since the boot, sleep included (proc(5)); else since the start of the process.
fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|first| first.parse().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or_else(|| PROCESS_START.elapsed())
}

/// A clock: the system's, or one that tests advance.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<watch::Sender<ManualTime>>),
}

/// The time of a manual clock, and how far it was advanced.
#[derive(Clone, Copy, Debug)]
struct ManualTime {
    now: Millis,
    advanced: Duration,
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stops at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Millis) -> Self {
        let advanced = Duration::ZERO;
        Self(Source::Manual(Arc::new(watch::Sender::new(ManualTime {
            now: start,
            advanced,
        }))))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::System => Millis(jiff::Timestamp::now().as_millisecond()),
            Source::Manual(time) => time.borrow().now,
        }
    }

    pub fn reading(&self) -> ClockReading {
        match &self.0 {
            Source::System => ClockReading {
                now: self.now(),
                boot: Arc::clone(&BOOT),
                uptime: uptime(),
            },
            Source::Manual(time) => {
                let time = *time.borrow();
                ClockReading {
                    now: time.now,
                    boot: "manual".into(),
                    uptime: time.advanced,
                }
            }
        }
    }

    /// Advances a manual clock; does nothing to a system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|time| {
                time.now = time.now.plus(by);
                time.advanced += by;
            });
        }
    }

    /// Sets a manual clock to another time, as a time server or an operator does, without time passing.
    pub fn jump_to(&self, now: Millis) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|time| time.now = now);
        }
    }

    /// Returns once `now()` has reached `until`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits for the system clock"
    )]
    pub async fn reach(&self, until: Millis) {
        match &self.0 {
            Source::System => tokio::time::sleep(until.since(self.now())).await,
            Source::Manual(time) => {
                let mut changes = time.subscribe();
                // The sender lives in `self`, so waiting cannot end in an error.
                let _ = changes.wait_for(|time| time.now >= until).await;
            }
        }
    }
}

/// Waits in real time, whatever a manual clock shows: for polling and for the pause before a retry.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that waits in real time"
)]
pub async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_with_milliseconds() {
        assert_eq!(Millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Millis(1_500).plus(Duration::from_secs(1)).to_string(),
            "1970-01-01T00:00:02.500Z"
        );
    }

    #[test]
    fn a_time_is_read_back_from_json() {
        let json = serde_json::json!(Millis(1_500));
        assert_eq!(json, "1970-01-01T00:00:01.500Z");
        let read: Millis = serde_json::from_value(json).expect("a time");
        assert_eq!(read, Millis(1_500));
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_its_waiters_when_it_is_advanced() {
        let clock = Clock::manual(Millis(0));
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.reach(Millis(1_000)).await }
        });
        clock.advance(Duration::from_secs(1));
        waiting.await.expect("the waiter ends");
        assert_eq!(clock.now(), Millis(1_000));
    }
}
