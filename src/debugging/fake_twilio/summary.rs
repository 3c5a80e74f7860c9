//! The responses to a replay, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::dry_run::must_be_refused;
use crate::debugging::fixture::Fixture;
use crate::domain::plain_text::plain;

/// The response to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayAnswer {
    /// A 2xx.
    Accepted(u16),
    /// Any other status, with the detail of its problem.
    NotAccepted { status: u16, detail: Option<String> },
    /// The 400 to a fixture that a bridge must refuse, with the detail of its problem.
    RefusedAsExpected { detail: Option<String> },
    /// No response, for this reason.
    NoAnswer(String),
}

impl ReplayAnswer {
    /// The same, if this fixture must not be refused.
    pub(super) fn expected_of(self, fixture: &Fixture) -> Self {
        match self {
            Self::NotAccepted {
                status: 400,
                detail,
            } if must_be_refused(fixture) => Self::RefusedAsExpected { detail },
            other => other,
        }
    }
}

/// All responses to a replay, counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReplaySummary {
    pub sent: u64,
    /// Responses by status; `none` counts the requests without a response.
    pub answers: BTreeMap<String, u64>,
    /// How many of them are the 400 to a fixture that a bridge must refuse.
    pub refused_as_expected: u64,
    pub seconds: f64,
    pub per_second: f64,
    pub latency_ms: Latencies,
    /// The requests without a 2xx, by item and reason.
    pub not_accepted: Vec<NotAccepted>,
    #[serde(skip)]
    latencies: Vec<Duration>,
}

/// From the first byte sent to the last byte read, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latencies {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// An item without a 2xx response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotAccepted {
    pub item: String,
    /// `None` if there was no response.
    pub status: Option<u16>,
    pub reason: Option<String>,
    /// Number of such responses.
    pub times: u64,
    /// Whether the fixture must be refused.
    pub as_expected: bool,
}

impl ReplaySummary {
    pub(super) fn add(&mut self, item: &str, answer: &ReplayAnswer, took: Duration) {
        self.sent += 1;
        self.latencies.push(took);
        let (status, reason) = match answer {
            ReplayAnswer::Accepted(status) => (Some(*status), None),
            ReplayAnswer::NotAccepted { status, detail } => (Some(*status), detail.clone()),
            ReplayAnswer::RefusedAsExpected { detail } => (Some(400), detail.clone()),
            ReplayAnswer::NoAnswer(why) => (None, Some(why.clone())),
        };
        let word = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        *self.answers.entry(word).or_default() += 1;
        if matches!(answer, ReplayAnswer::Accepted(_)) {
            return;
        }
        let as_expected = matches!(answer, ReplayAnswer::RefusedAsExpected { .. });
        self.refused_as_expected += u64::from(as_expected);
        let same = |other: &&mut NotAccepted| {
            other.item == item && other.status == status && other.reason == reason
        };
        match self.not_accepted.iter_mut().find(same) {
            Some(known) => known.times += 1,
            None => self.not_accepted.push(NotAccepted {
                item: item.to_owned(),
                status,
                reason,
                times: 1,
                as_expected,
            }),
        }
    }

    pub(super) fn end(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of requests is far below 2^52"
        )]
        let sent = self.sent as f64;
        self.per_second = if took.is_zero() {
            0.0
        } else {
            sent / self.seconds
        };
        self.latencies.sort_unstable();
        // Nearest rank: a latency that was measured, not an interpolated one.
        let nearest_rank = |percent: usize| {
            let rank = (self.latencies.len() * percent).div_ceil(100).max(1);
            let latency = self.latencies.get(rank - 1);
            latency.map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
        };
        self.latency_ms = Latencies {
            p50: nearest_rank(50),
            p99: nearest_rank(99),
            max: nearest_rank(100),
        };
        self.not_accepted.sort_by(|a, b| a.item.cmp(&b.item));
    }

    /// Whether any response was a 2xx.
    pub fn any_accepted(&self) -> bool {
        self.answers.keys().any(|answer| answer.starts_with('2'))
    }

    /// Whether every response was a 2xx, or the refusal of a fixture that must be refused.
    pub fn all_as_expected(&self) -> bool {
        self.not_accepted.iter().all(|refused| refused.as_expected)
    }
}

impl fmt::Display for ReplaySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { p50, p99, max } = self.latency_ms;
        let answers: Vec<String> = self
            .answers
            .iter()
            .map(|(status, count)| format!("{status}: {count}"))
            .collect();
        writeln!(
            f,
            "sent     {} in {:.2} s ({:.0}/s)",
            self.sent, self.seconds, self.per_second
        )?;
        writeln!(f, "answers  {}", answers.join(", "))?;
        write!(
            f,
            "latency  p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
        )?;
        if self.refused_as_expected > 0 {
            write!(f, "\n{} refused as expected", self.refused_as_expected)?;
        }
        let unexpected = self.not_accepted.iter().filter(|item| !item.as_expected);
        for not_accepted in unexpected {
            write!(f, "\n{}", plain(&not_accepted.to_string()))?;
        }
        Ok(())
    }
}

impl NotAccepted {
    /// One phrase for the output of a command.
    pub fn why(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("without a reason");
        match self.status {
            Some(status) => format!("refused with {status}: {reason}"),
            None => format!("no answer: {reason}"),
        }
    }
}

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.item)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no answer")?,
        }
        if let Some(reason) = &self.reason {
            write!(f, ", {reason}")?;
        }
        if self.times > 1 {
            write!(f, " ({} times)", self.times)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_answers_and_lists_what_was_not_accepted() {
        let mut summary = ReplaySummary::default();
        for millis in 1..=98 {
            summary.add(
                "a.http",
                &ReplayAnswer::Accepted(204),
                Duration::from_millis(millis),
            );
        }
        let refused = ReplayAnswer::NotAccepted {
            status: 400,
            detail: Some("CallSid is missing".to_owned()),
        };
        summary.add("b.http", &refused, Duration::from_millis(99));
        summary.add("b.http", &refused, Duration::from_millis(100));
        let as_expected = ReplayAnswer::RefusedAsExpected { detail: None };
        summary.add("c.http", &as_expected, Duration::from_millis(50));
        let lost = ReplayAnswer::NoAnswer("connection refused".to_owned());
        summary.add("a.http", &lost, Duration::from_millis(101));
        summary.end(Duration::from_secs(2));
        assert!(!summary.all_as_expected());
        insta::assert_snapshot!(summary, @r"
        sent     102 in 2.00 s (51/s)
        answers  204: 98, 400: 3, none: 1
        latency  p50 50.0 ms, p99 100.0 ms, max 101.0 ms
        1 refused as expected
        a.http: no answer, connection refused
        b.http: 400, CallSid is missing (2 times)
        ");
    }
}
