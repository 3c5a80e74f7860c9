//! Whether everything is fine: the conditions that concern an operator, in the order of their urgency, each
//! in one sentence. The page Today, `status` and `/api/status` print the same.
//!
//! Pure. Times are RFC 3339.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Millis;
use crate::debugging::state_words::{is_rejected, rough};
use crate::domain::condition::{ConditionKind, ProblemKind};
use crate::domain::outage::Outage;
use crate::domain::plural::counted;
use crate::store::{Counts, RefusedCause};
use crate::telemetry::metrics::SIGNATURE_REASONS;

/// Refused requests concern an operator for this long.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// Causes of refusals for which there is no line to change.
const UNDIAGNOSED: [&str; 3] = ["no-signature", "no-match", "undiagnosed"];

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
        last: Millis,
        explanation: String,
    },
    NeedDecision {
        calls: u64,
    },
    /// Something that `doctor` reports, too.
    Problem(ProblemKind, String),
}

impl Condition {
    #[must_use]
    pub fn kind(&self) -> ConditionKind {
        match self {
            Self::NotStored { .. } => ConditionKind::NotStored,
            Self::DatabaseDown { .. } => ConditionKind::DatabaseDown,
            Self::OutageOfAcquire { outage, .. } if is_rejected(outage) => ConditionKind::Rejected,
            Self::OutageOfAcquire { .. } => ConditionKind::Unreachable,
            Self::Refused { .. } => ConditionKind::Refused,
            Self::NeedDecision { .. } => ConditionKind::NeedDecision,
            Self::Problem(..) => ConditionKind::Problem,
        }
    }

    /// The account, or the part that has a problem; empty for others.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::OutageOfAcquire { outage, .. } => &outage.account,
            Self::Problem(kind, _) => kind.as_str(),
            _ => "",
        }
    }

    /// The calls or requests that it concerns, if their number is known.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::DatabaseDown { callbacks: count }
            | Self::Refused {
                requests: count, ..
            }
            | Self::NeedDecision { calls: count } => Some(*count),
            Self::OutageOfAcquire { held, .. } => *held,
            Self::NotStored { .. } | Self::Problem(..) => None,
        }
    }

    /// Whether calls are lost or late while it holds: the heartbeat stops.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        match self {
            Self::Problem(kind, _) => *kind == ProblemKind::Consistency,
            _ => self.kind() != ConditionKind::NeedDecision,
        }
    }

    /// The page that shows more.
    #[must_use]
    pub fn link(&self) -> Option<&'static str> {
        Some(self.kind().page()).filter(|page| *page != "/")
    }

    #[must_use]
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
                last,
                explanation,
            } => {
                let were = if *requests == 1 { "was" } else { "were" };
                let requests = counted(*requests, "request");
                // The page has the rest.
                let explanation = explanation.split("; ").next().unwrap_or_default();
                let explanation = explanation.trim_end_matches('.');
                format!("{requests} {were} refused, the last at {last}: {explanation}.")
            }
            Self::NeedDecision { calls: 1 } => "1 call needs a decision.".to_owned(),
            Self::NeedDecision { calls } => format!("{} calls need a decision.", thousands(*calls)),
            Self::Problem(_, sentence) => sentence.clone(),
        }
    }
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

/// What is known of a bridge.
#[derive(Clone, Debug, Default)]
pub struct BridgeFacts {
    /// Why a callback cannot be stored.
    pub not_stored: Option<String>,
    /// Callbacks in the spool, while the database is down.
    pub spooled: Option<u64>,
    /// Unknown while the database is down.
    pub counts: Option<Counts>,
    pub outages: Vec<Outage>,
    /// The number of configured accounts.
    pub accounts: usize,
    /// The refusals by cause, each with the explanation of its latest request.
    pub refused: Vec<(RefusedCause, String)>,
    /// Sentences about what `doctor` reports, too.
    pub problems: Vec<(ProblemKind, String)>,
    /// Of the callback that Twilio is to call, for an empty store.
    pub callback_url: Option<String>,
}

/// The answer to "is everything fine?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BridgeStatus {
    /// That of the most urgent condition.
    pub sentence: String,
    /// Whether none of the conditions needs an operator.
    pub is_well: bool,
    /// All that hold, the most urgent first.
    pub conditions: Vec<ConditionView>,
}

/// A condition that holds, for printing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionView {
    pub order: u8,
    pub condition: &'static str,
    pub sentence: String,
    #[serde(skip)]
    pub link: Option<&'static str>,
}

impl BridgeStatus {
    #[must_use]
    pub fn of(facts: &BridgeFacts, now: Millis) -> Self {
        Self::with(&conditions(facts, now), facts, now)
    }

    /// As [`Self::of`], with the conditions of these facts.
    #[must_use]
    pub fn with(conditions: &[Condition], facts: &BridgeFacts, now: Millis) -> Self {
        let conditions: Vec<ConditionView> = conditions
            .iter()
            .map(|condition| ConditionView {
                order: condition.kind().order(),
                condition: condition.kind().as_str(),
                sentence: condition.sentence(),
                link: condition.link(),
            })
            .collect();
        let first = conditions.first().map(|first| first.sentence.clone());
        Self {
            sentence: first.unwrap_or_else(|| all_is_well(facts, now)),
            is_well: conditions.iter().all(|condition| condition.order > 8),
            conditions,
        }
    }
}

/// The conditions that hold, the most urgent first.
#[must_use]
pub fn conditions(facts: &BridgeFacts, now: Millis) -> Vec<Condition> {
    let mut found = Vec::new();
    if let Some(why) = &facts.not_stored {
        found.push(Condition::NotStored { why: why.clone() });
    }
    if let (None, Some(callbacks)) = (&facts.counts, facts.spooled) {
        found.push(Condition::DatabaseDown { callbacks });
    }
    let waiting = facts
        .counts
        .as_ref()
        .map(|counts| counts.pending + counts.claimed);
    found.extend(
        facts
            .outages
            .iter()
            .map(|outage| Condition::OutageOfAcquire {
                outage: outage.clone(),
                held: waiting.filter(|_| facts.accounts == 1),
            }),
    );
    let recent = || {
        facts
            .refused
            .iter()
            .filter(|(cause, _)| is_concern(cause, now))
    };
    if let Some((latest, explanation)) = recent().max_by_key(|(cause, _)| cause.last) {
        found.push(Condition::Refused {
            last: latest.last,
            requests: recent().map(|(cause, _)| cause.count).sum(),
            explanation: explanation.replace('\n', " "),
        });
    }
    match facts.counts.as_ref().map_or(0, |counts| counts.parked) {
        0 => {}
        calls => found.push(Condition::NeedDecision { calls }),
    }
    let problem = |(kind, sentence): &(_, String)| Condition::Problem(*kind, sentence.clone());
    found.extend(facts.problems.iter().map(problem));
    found.sort_by_key(Condition::kind);
    found
}

/// Whether a cause of refused requests concerns an operator. Twilio signed such requests: those of strangers
/// have no diagnosis, and must not hide that all is well.
#[must_use]
pub fn is_concern(of: &RefusedCause, now: Millis) -> bool {
    let cause = of.cause.as_str();
    let is_diagnosed = SIGNATURE_REASONS.contains(&cause) && !UNDIAGNOSED.contains(&cause);
    now.since(of.last) < RECENT && (is_diagnosed || cause == "lookalike")
}

fn all_is_well(facts: &BridgeFacts, now: Millis) -> String {
    let Some(counts) = &facts.counts else {
        return "Nothing is known of the calls.".to_owned();
    };
    if counts.seen == 0 {
        let url = facts.callback_url.as_ref();
        let url = url.map(|url| format!(" Enter {url} as the status callback at Twilio."));
        return format!(
            "No calls yet. The first callback that Twilio sends appears here.{}",
            url.unwrap_or_default()
        );
    }
    let delivered = match counts.delivered {
        1 => "1 call is".to_owned(),
        calls => format!("{} calls are", thousands(calls)),
    };
    let waiting = match counts.pending + counts.claimed {
        0 => "none waits".to_owned(),
        1 => "1 waits".to_owned(),
        calls => format!("{} wait", thousands(calls)),
    };
    let oldest = counts.oldest_due.map(|due| now.since(due));
    let oldest = oldest.filter(|age| *age >= Duration::from_secs(1));
    let oldest = oldest.map(|age| format!(", the longest due for {}", rough(age)));
    format!(
        "All is well: {delivered} in Acquire, {waiting}{}.",
        oldest.unwrap_or_default()
    )
}

/// `1,204`.
#[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acquire::DeliveryFault;

    const NOW: Millis = Millis(1_790_000_000_000);

    fn outage(status: Option<u16>) -> Outage {
        Outage {
            account: "acme".to_owned(),
            since: NOW,
            fault: DeliveryFault::Connect,
            status,
            answer: String::new(),
            next_probe: NOW,
        }
    }

    fn everything() -> BridgeFacts {
        let refused = RefusedCause {
            cause: "host".to_owned(),
            count: 34,
            first: NOW,
            last: NOW,
            example: 1,
        };
        BridgeFacts {
            not_stored: Some("the disk is full".to_owned()),
            counts: Some(Counts {
                seen: 9_000,
                pending: 212,
                parked: 4_812,
                ..Counts::default()
            }),
            outages: vec![outage(Some(401)), outage(None)],
            accounts: 1,
            refused: vec![(refused, "Set server.public_url".to_owned())],
            problems: vec![(
                ProblemKind::DiskSpace,
                "The disk is nearly full.".to_owned(),
            )],
            ..BridgeFacts::default()
        }
    }

    #[test]
    fn the_most_urgent_condition_is_the_headline_and_the_others_follow_in_order() {
        let status = BridgeStatus::of(&everything(), NOW);
        let orders: Vec<u8> = status.conditions.iter().map(|view| view.order).collect();
        assert_eq!(orders, [1, 3, 4, 5, 7, 8]);
        assert_eq!(
            status.sentence,
            "Callbacks cannot be stored: the disk is full. Twilio does not repeat them."
        );
        let sentence = |order| {
            let found = status.conditions.iter().find(|view| view.order == order);
            found.expect("the condition").sentence.clone()
        };
        assert_eq!(
            sentence(3),
            "Acquire has been unreachable for account acme since 2026-09-21T14:13:20.000Z (connect). 212 \
             calls are held, nothing is lost; next try at 2026-09-21T14:13:20.000Z."
        );
        assert!(
            sentence(4).ends_with("Check acquire.api_key."),
            "{}",
            sentence(4)
        );
        assert!(
            sentence(5)
                .starts_with("34 requests were refused, the last at 2026-09-21T14:13:20.000Z: "),
            "{}",
            sentence(5)
        );
        assert_eq!(sentence(7), "4,812 calls need a decision.");
    }

    #[test]
    fn all_is_well_only_if_no_condition_holds() {
        let well = BridgeFacts {
            counts: Some(Counts {
                seen: 1_204,
                delivered: 1_204,
                ..Counts::default()
            }),
            ..BridgeFacts::default()
        };
        let status = BridgeStatus::of(&well, NOW);
        assert_eq!(
            status.sentence,
            "All is well: 1,204 calls are in Acquire, none waits."
        );
        assert!(status.is_well && status.conditions.is_empty());
        let all = everything();
        let one_each = [
            BridgeFacts {
                not_stored: all.not_stored,
                ..well.clone()
            },
            BridgeFacts {
                counts: None,
                spooled: Some(2),
                ..well.clone()
            },
            BridgeFacts {
                outages: all.outages,
                ..well.clone()
            },
            BridgeFacts {
                refused: all.refused,
                ..well.clone()
            },
            BridgeFacts {
                counts: all.counts,
                ..well.clone()
            },
            BridgeFacts {
                problems: all.problems,
                ..well.clone()
            },
        ];
        for facts in one_each {
            let status = BridgeStatus::of(&facts, NOW);
            assert!(
                !status.is_well && !status.sentence.contains("All is well"),
                "{status:?}"
            );
        }
        let empty = BridgeFacts {
            counts: Some(Counts::default()),
            ..BridgeFacts::default()
        };
        assert!(
            BridgeStatus::of(&empty, NOW)
                .sentence
                .starts_with("No calls yet.")
        );
    }

    #[test]
    fn a_refusal_is_a_condition_for_15_minutes_and_only_if_its_cause_is_known() {
        let well = |facts: &BridgeFacts, now| BridgeStatus::of(facts, now).is_well;
        let mut facts = BridgeFacts {
            refused: everything().refused,
            counts: Some(Counts::default()),
            ..BridgeFacts::default()
        };
        assert!(!well(&facts, NOW));
        assert!(well(&facts, NOW.plus(RECENT)));
        facts.refused[0].0.cause = "no-signature".to_owned();
        assert!(well(&facts, NOW));
    }
}
