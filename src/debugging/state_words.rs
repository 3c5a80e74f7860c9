//! The state of a call in words: the same text in the list, on the call's page, in the API and in `show`.
//!
//! Pure. Times are RFC 3339; pages show them in the zone of the browser.

use std::time::Duration;

use crate::clock::Millis;
use crate::domain::attempt::Attempt;
use crate::domain::call_filter::Waiting;
use crate::domain::cause::Cause;
use crate::domain::outage::Outage;
use crate::domain::plan::{Awaited, History, Next, Plan, PlanItem, ReceivedCallback, Rules, Wait};
use crate::domain::plural::counted;
use crate::store::{CallSummary, State};

/// The state of a call in words, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWords {
    pub words: String,
    pub waiting: Option<Waiting>,
}

/// Facts about a call.
#[derive(Clone, Copy, Debug)]
pub struct KnownCall<'a> {
    pub call: &'a CallSummary,
    pub plan: &'a Plan,
    /// The attempts since the last requeue.
    pub attempts: &'a [Attempt],
    /// When the first request was due, of which Acquire accepted one; see [`due_at`].
    pub due: Millis,
    /// Of the call's account; only a running bridge knows it.
    pub outage: Option<&'a Outage>,
    pub now: Millis,
}

impl KnownCall<'_> {
    /// The words for the state of the call.
    pub fn words(&self) -> StateWords {
        let reason = self.call.reason.as_deref().unwrap_or("without a reason");
        let words = match self.call.state {
            State::Pending => return self.pending(),
            State::Claimed => "being sent".to_owned(),
            State::Delivered => self.delivered(),
            State::Skipped if self.call.cause == Some(Cause::Dismissed) => reason.to_owned(),
            State::Skipped => format!("not sent: {reason}"),
            State::Parked => format!("needs a decision: {reason}"),
        };
        StateWords {
            words,
            waiting: None,
        }
    }

    fn pending(&self) -> StateWords {
        let Some(due) = self.call.due else {
            let reason = self.call.reason.as_deref().unwrap_or_default();
            return StateWords {
                words: format!("waiting: it is {reason}"),
                waiting: Some(Waiting::Legs),
            };
        };
        // The reason of a wait explains more than the time at which the call is due.
        let wait = first_wait(self.plan, self.now).filter(|_| due > self.now);
        let retry = self
            .attempts
            .last()
            .filter(|last| last.verdict.retry_at().is_some());
        let (words, waiting) = if let Some(wait) = wait {
            let waiting = match wait.what {
                Awaited::Recording => Waiting::Recording,
                Awaited::LegEnd | Awaited::MoreLegs | Awaited::StatusCallback => Waiting::Legs,
            };
            (wait_words(wait), Some(waiting))
        } else if let Some(outage) = self.outage {
            let words = format!(
                "held: Acquire {} since {}, next try at {}",
                outage_words(outage),
                outage.since,
                outage.next_probe
            );
            (words, Some(Waiting::Acquire))
        } else if let Some(last) = retry {
            let tried = counted(self.attempts.len(), "time");
            let next = if due > self.now {
                format!("again at {due}")
            } else {
                "about to be tried again".to_owned()
            };
            let words = format!("tried {tried} (last: {}), {next}", answer_words(last));
            (words, Some(Waiting::Retry))
        } else if due > self.now {
            (format!("will be sent at {due}"), Some(Waiting::Retry))
        } else {
            ("about to be sent".to_owned(), None)
        };
        StateWords { words, waiting }
    }

    fn delivered(&self) -> String {
        let accepted = |attempt: &&Attempt| attempt.verdict.is_accepted();
        let Some(first) = self.attempts.iter().find(accepted) else {
            return "in Acquire".to_owned();
        };
        let after = rough(first.at.plus(first.took).since(self.due));
        format!("in Acquire since {}, after {after}", first.at)
    }
}

/// When the first request of a call was due: when the newest callback before the attempt had arrived, or
/// when the planned wait for others had ended.
pub fn due_at(callbacks: &[ReceivedCallback], attempts: &[Attempt], rules: &Rules) -> Millis {
    let sent = attempts.first().map_or(Millis(i64::MAX), |first| first.at);
    let before: Vec<_> = callbacks
        .iter()
        .filter(|one| one.at <= sent)
        .cloned()
        .collect();
    let arrived = before.iter().map(|one| one.at).max().unwrap_or_default();
    match Plan::of(&before, History::default(), rules, arrived).next() {
        Next::Wait(until) => (*until).min(sent),
        _ => arrived,
    }
}

/// The wait that ends first, of all that are not over.
pub fn first_wait(plan: &Plan, now: Millis) -> Option<&Wait> {
    let waits = plan.items().filter_map(|item| match item {
        PlanItem::Send(planned) => planned.wait.as_ref(),
        PlanItem::Undecided(wait) => Some(wait),
        PlanItem::Nothing(..) | PlanItem::Unmappable(..) => None,
    });
    waits
        .filter(|wait| wait.until > now)
        .min_by_key(|wait| wait.until)
}

fn wait_words(wait: &Wait) -> String {
    let until = wait.until;
    match wait.what {
        Awaited::Recording => format!("waiting for its recording, until {until} at the latest"),
        Awaited::LegEnd => format!("waiting for the end of another leg, until {until}"),
        Awaited::MoreLegs => format!("waiting for further legs, until {until}"),
        Awaited::StatusCallback => format!("waiting for a status callback, until {until}"),
    }
}

/// `unreachable`, or `rejects the account (401)` where a setting is wrong.
pub fn outage_words(outage: &Outage) -> String {
    match outage.status {
        Some(status) if is_rejected(outage) => format!("rejects the account ({status})"),
        _ if is_rejected(outage) => "rejects the account".to_owned(),
        _ => "unreachable".to_owned(),
    }
}

/// Whether Acquire answers, but a setting is wrong.
pub fn is_rejected(outage: &Outage) -> bool {
    matches!(outage.status, Some(300..=399 | 401 | 403 | 404))
}

fn answer_words(attempt: &Attempt) -> String {
    match (attempt.status, attempt.fault) {
        (Some(status), _) => status.to_string(),
        (None, Some(fault)) => fault.as_str().to_owned(),
        (None, None) => "no answer".to_owned(),
    }
}

/// A duration in one unit, rounded down.
pub fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "less than 1 s".to_owned(),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
