//! Time as an argument: the only place that reads the system clock.

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

    /// How long after `earlier` this is; zero if it is not after.
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

/// Tells the time and waits for it; turned by hand in tests.
#[derive(Clone, Debug, Default)]
pub struct Clock(Hands);

#[derive(Clone, Debug, Default)]
enum Hands {
    #[default]
    System,
    Manual(Arc<watch::Sender<Millis>>),
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self(Hands::System)
    }

    /// A clock that stands still until [`Clock::advance`] turns it.
    #[must_use]
    pub fn manual(start: Millis) -> Self {
        Self(Hands::Manual(Arc::new(watch::Sender::new(start))))
    }

    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    pub fn now(&self) -> Millis {
        match &self.0 {
            Hands::System => Millis(jiff::Timestamp::now().as_millisecond()),
            Hands::Manual(hands) => *hands.borrow(),
        }
    }

    /// Turns a manual clock on; a system clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Hands::Manual(hands) = &self.0 {
            hands.send_modify(|now| *now = now.plus(by));
        }
    }

    /// Returns once `now()` has reached `time`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that waits for the system clock"
    )]
    pub async fn reach(&self, time: Millis) {
        match &self.0 {
            Hands::System => tokio::time::sleep(time.since(self.now())).await,
            Hands::Manual(hands) => {
                let mut turned = hands.subscribe();
                // The sender lives in `self`, so waiting cannot end in an error.
                let _ = turned.wait_for(|now| *now >= time).await;
            }
        }
    }
}

/// Waits in real time, whatever a manual clock shows: for polling and for pauses between tries.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where real time is waited for"
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
    async fn a_manual_clock_wakes_those_who_wait_when_it_is_turned() {
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
