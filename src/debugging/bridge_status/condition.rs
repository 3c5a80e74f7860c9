//! The conditions that concern an operator, in the order of their urgency, each in one sentence.

use std::time::Duration;

use crate::clock::Millis;
use crate::debugging::state_words::{is_rejected, rough};
use crate::domain::condition::{ConditionKind, ProblemKind};
use crate::domain::outage::Outage;
use crate::domain::plural::counted;
use crate::store::{Cursor, Operation};

/// A condition that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A callback would be answered 503.
    NotStored {
        why: String,
    },
    /// The database is down, and this node stores callbacks in its spool.
    DatabaseDown {
        callbacks: u64,
    },
    /// A breaker is open. `held`: the calls that wait, if the account is the only one.
    OutageOfAcquire {
        outage: Outage,
        held: Option<u64>,
    },
    /// Requests were refused in the last 15 minutes, and the bridge knows why.
    Refused {
        /// All that are kept of these causes.
        requests: u64,
        /// All that are kept.
        kept: u64,
        last: Millis,
        explanation: String,
    },
    /// No callback in the last hour, but calls in the same hour a week ago.
    NoCallbacks {
        since: Option<Millis>,
        week_ago: i64,
    },
    NeedDecision {
        calls: u64,
    },
    /// Something that `doctor` reports, too.
    Problem(ProblemKind, String),
    /// A bulk operation runs.
    Running(Box<Operation>),
    /// Of the calls of today.
    Late {
        late: i64,
        received: i64,
        /// `report.late`.
        after: Duration,
    },
}

impl Condition {
    pub fn kind(&self) -> ConditionKind {
        match self {
            Self::NotStored { .. } => ConditionKind::NotStored,
            Self::DatabaseDown { .. } => ConditionKind::DatabaseDown,
            Self::OutageOfAcquire { outage, .. } if is_rejected(outage) => ConditionKind::Rejected,
            Self::OutageOfAcquire { .. } => ConditionKind::Unreachable,
            Self::Refused { .. } => ConditionKind::Refused,
            Self::NeedDecision { .. } => ConditionKind::NeedDecision,
            Self::NoCallbacks { .. } => ConditionKind::NoCallbacks,
            Self::Problem(..) => ConditionKind::Problem,
            Self::Running(_) => ConditionKind::Operation,
            Self::Late { .. } => ConditionKind::Late,
        }
    }

    /// The account, or the part that has a problem; empty for others.
    pub fn subject(&self) -> &str {
        match self {
            Self::OutageOfAcquire { outage, .. } => &outage.account,
            Self::Problem(kind, _) => kind.as_str(),
            _ => "",
        }
    }

    /// The calls or requests that it concerns, if their number is known.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::DatabaseDown { callbacks: count }
            | Self::Refused {
                requests: count, ..
            }
            | Self::NeedDecision { calls: count } => Some(*count),
            Self::OutageOfAcquire { held, .. } => *held,
            _ => None,
        }
    }

    /// Whether calls may be lost or late while it holds: the heartbeat stops.
    pub fn is_critical(&self) -> bool {
        match self {
            Self::Problem(kind, _) => *kind == ProblemKind::Consistency,
            _ => self.kind() != ConditionKind::NeedDecision,
        }
    }

    /// The page that shows more.
    pub fn link(&self) -> Option<&'static str> {
        Some(self.kind().page()).filter(|page| *page != "/")
    }

    pub fn sentence(&self) -> String {
        match self {
            Self::NotStored { why } => {
                format!("Callbacks cannot be stored: {why}. Twilio does not repeat them.")
            }
            Self::DatabaseDown { callbacks } => format!(
                "The database is down. This node stored {}; deliveries are paused.",
                counted(*callbacks, "callback")
            ),
            Self::OutageOfAcquire { outage, held } => of_outage(outage, *held),
            Self::Refused {
                requests,
                kept,
                last,
                explanation,
            } => {
                let were_refused = |count: u64| {
                    let were = if count == 1 { "was" } else { "were" };
                    format!("{} {were} refused", counted(count, "request"))
                };
                // `list --refused` and the figure of refused requests have them all.
                let others = match kept.saturating_sub(*requests) {
                    0 => String::new(),
                    others => format!(" {} for other causes.", were_refused(others)),
                };
                let requests = were_refused(*requests);
                // The page has the rest.
                let explanation = explanation.split("; ").next().unwrap_or_default();
                let explanation = explanation.trim_end_matches('.');
                format!(
                    "{requests} because of a setting, the last at {last}: {explanation}.{others}"
                )
            }
            Self::NoCallbacks { since, week_ago } => {
                let since = since.map_or_else(
                    || "in the last hour".to_owned(),
                    |since| format!("since {since}"),
                );
                format!(
                    "No callback {since}, but {week_ago} calls in this hour a week ago. Check the status \
                     callback URL at Twilio."
                )
            }
            Self::NeedDecision { calls: 1 } => "1 call needs a decision.".to_owned(),
            Self::NeedDecision { calls } => format!("{} calls need a decision.", thousands(*calls)),
            Self::Problem(_, sentence) => sentence.clone(),
            Self::Running(operation) => of_operation(operation),
            Self::Late {
                late,
                received,
                after,
            } => format!(
                "{} of {} today reached Acquire more than {} late.",
                thousands(late.unsigned_abs()),
                calls(*received),
                rough(*after)
            ),
        }
    }
}

fn of_operation(operation: &Operation) -> String {
    let more = match (&operation.held_for, operation.counted) {
        (Some(account), _) => format!("it waits for Acquire's account {account}"),
        (None, Cursor::End) => {
            let seconds = operation.left() / u64::from(operation.rate.get());
            format!("about {} min left", seconds / 60 + 1)
        }
        (None, _) => "counting".to_owned(),
    };
    format!(
        "Operation {} ({}): {} of {} done, {more}.",
        operation.id,
        operation.kind.as_str(),
        thousands(operation.done + operation.failed),
        calls(operation.total.cast_signed())
    )
}

/// `1,204 calls`.
pub(super) fn calls(number: i64) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} call{plural}", thousands(number.unsigned_abs()))
}

fn of_outage(outage: &Outage, held: Option<u64>) -> String {
    let Outage { account, since, .. } = outage;
    let status = outage.status.map(|status| status.to_string());
    let fault = status.unwrap_or_else(|| outage.fault.to_string());
    let held = held.map_or_else(
        || "Its calls are held".to_owned(),
        |held| match held {
            1 => "1 call is held".to_owned(),
            held => format!("{} calls are held", thousands(held)),
        },
    );
    if is_rejected(outage) {
        let advice = match outage.status {
            Some(401 | 403) => "Check acquire.api_key.",
            Some(404) => "Check acquire.call_end_path and acquire_account_id.",
            _ => "Check acquire.base_url.",
        };
        return format!(
            "Acquire has rejected account {account} since {since} ({fault}). {held}, nothing is lost. {advice}"
        );
    }
    format!(
        "Acquire has been unreachable for account {account} since {since} ({fault}). {held}, nothing is lost; \
         next try at {}.",
        outage.next_probe
    )
}

/// `1,204`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
