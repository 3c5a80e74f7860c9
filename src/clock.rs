//! Gives the time, and waits for it: the only place that reads the system clock.
//!
//! All other code gets the time as an argument, so that tests can advance it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Millis(pub i64);

impl Millis {
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(wait))
    }

    #[must_use]
    pub fn minus(self, wait: Duration) -> Self {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(wait))
    }

    /// The time from `earlier` to this; zero if this is not later.
    #[must_use]
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

/// A clock: the system's, or one that tests advance.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<watch::Sender<Millis>>),
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stops at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: Millis) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(start))))
    }

    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::System => Millis(jiff::Timestamp::now().as_millisecond()),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Advances a manual clock; does nothing to a system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            time.send_modify(|now| *now = now.plus(by));
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
                let _ = changes.wait_for(|now| *now >= until).await;
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
