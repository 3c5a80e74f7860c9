//! Whether everything is fine: the conditions that concern an operator, in the order of their urgency, each
//! in one sentence. The page Today, `status` and `/api/status` print the same.
//!
//! Pure. Times are RFC 3339.

mod condition;

use std::time::Duration;

use serde::Serialize;

use self::condition::calls;
pub use self::condition::{Condition, thousands};
use crate::clock::Millis;
use crate::debugging::recent_calls::{HOUR, RecentCalls};
use crate::debugging::report::Sums;
use crate::debugging::state_words::rough;
use crate::domain::condition::ProblemKind;
use crate::domain::outage::Outage;
use crate::store::{Counts, Operation, RefusedCause};
use crate::telemetry::metrics::SIGNATURE_REASONS;

/// No callback in an hour concerns an operator if more calls than this came in a week ago.
const QUIET: i64 = 10;

/// Refused requests concern an operator for this long.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// Causes of refusals for which there is no line to change.
const UNDIAGNOSED: [&str; 3] = ["no-signature", "no-match", "undiagnosed"];

/// Facts about a bridge.
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
    /// Unknown while the database is down.
    pub recent: Option<RecentCalls>,
    /// The latest that this process received.
    pub last_callback: Option<Millis>,
    /// Those that run.
    pub operations: Vec<Operation>,
    /// `report.late`.
    pub late: Duration,
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
    pub fn of(facts: &BridgeFacts, now: Millis) -> Self {
        Self::with(&conditions(facts, now), facts, now)
    }

    /// As [`Self::of`], with the conditions of these facts.
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
            kept: facts.refused.iter().map(|(cause, _)| cause.count).sum(),
            explanation: explanation.replace('\n', " "),
        });
    }
    match facts.counts.as_ref().map_or(0, |counts| counts.parked) {
        0 => {}
        calls => found.push(Condition::NeedDecision { calls }),
    }
    let problem = |(kind, sentence): &(_, String)| Condition::Problem(*kind, sentence.clone());
    found.extend(facts.problems.iter().map(problem));
    let operations = facts.operations.iter().cloned().map(Box::new);
    found.extend(operations.map(Condition::Running));
    if let Some(recent) = &facts.recent {
        found.extend(of_recent(recent, facts, now));
    }
    found.sort_by_key(Condition::kind);
    found
}

fn of_recent(recent: &RecentCalls, facts: &BridgeFacts, now: Millis) -> Vec<Condition> {
    let mut found = Vec::new();
    let since = facts.last_callback;
    let is_quiet = since.is_none_or(|at| now.since(at) >= HOUR) && recent.last_hour == 0;
    if is_quiet && recent.hour_week_ago > QUIET {
        found.push(Condition::NoCallbacks {
            since,
            week_ago: recent.hour_week_ago,
        });
    }
    if recent.today.late > 0 {
        found.push(Condition::Late {
            late: recent.today.late,
            received: recent.today.received,
            after: facts.late,
        });
    }
    found
}

/// Whether a cause of refused requests concerns an operator. Twilio signed such requests: those of strangers
/// have no diagnosis, and must not hide that all is well.
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
    let today = facts.recent.as_ref().map(|recent| &recent.today);
    let today = today.filter(|today| today.received > 0);
    let today = today.map_or_else(|| "no call today yet".to_owned(), of_today);
    let oldest = counts.oldest_due.map(|due| now.since(due));
    let oldest = oldest.filter(|age| *age >= Duration::from_secs(1));
    let oldest = oldest.map(|age| format!(", the longest due for {}", rough(age)));
    let waiting = match counts.pending + counts.claimed {
        0 => String::new(),
        1 => format!(" 1 call waits{}.", oldest.unwrap_or_default()),
        calls => format!(
            " {} calls wait{}.",
            thousands(calls),
            oldest.unwrap_or_default()
        ),
    };
    format!("All is well: {today}.{waiting}")
}

/// `1,204 calls today, all in Acquire`, or how many are, and how many are not sent.
fn of_today(today: &Sums) -> String {
    let received = calls(today.received);
    let in_acquire = match today.in_acquire() {
        all if all == today.received => return format!("{received} today, all in Acquire"),
        some => thousands(some.unsigned_abs()),
    };
    let not_sent = match today.not_sent() {
        0 => String::new(),
        some => format!(", {} not sent", thousands(some.unsigned_abs())),
    };
    format!("{received} today, {in_acquire} in Acquire{not_sent}")
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

    fn operation() -> Operation {
        serde_json::from_value(serde_json::json!({
            "id": 3, "kind": "requeue", "state": "running", "filter": "state=parked", "words": "state:parked",
            "before": NOW, "rate": 5, "actor": "alice", "total": 4_812, "counted": "end", "done": 1_200,
            "failed": 4, "position": "start", "made": NOW, "changed": NOW, "next_at": NOW,
        }))
        .expect("an operation")
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
            recent: Some(RecentCalls {
                today: Sums {
                    received: 1_204,
                    late: 12,
                    ..Sums::default()
                },
                hour_week_ago: 34,
                ..RecentCalls::default()
            }),
            operations: vec![operation()],
            late: Duration::from_secs(300),
            ..BridgeFacts::default()
        }
    }

    #[test]
    fn the_most_urgent_condition_is_the_headline_and_the_others_follow_in_order() {
        let status = BridgeStatus::of(&everything(), NOW);
        let orders: Vec<u8> = status.conditions.iter().map(|view| view.order).collect();
        assert_eq!(orders, [1, 3, 4, 5, 6, 7, 8, 9, 10]);
        let at = "2026-09-21T14:13:20.000Z";
        let sentence = |order| {
            let found = status.conditions.iter().find(|view| view.order == order);
            &*found.expect("the condition").sentence
        };
        assert_eq!(status.sentence, sentence(1));
        for (order, expected) in [
            (
                1,
                "Callbacks cannot be stored: the disk is full. Twilio does not repeat them.",
            ),
            (
                3,
                &*format!(
                    "Acquire has been unreachable for account acme since {at} (connect). 212 calls are held, \
                     nothing is lost; next try at {at}."
                ),
            ),
            (
                6,
                "No callback in the last hour, but 34 calls in this hour a week ago. Check the status \
                 callback URL at Twilio.",
            ),
            (7, "4,812 calls need a decision."),
            (
                9,
                "Operation 3 (requeue): 1,204 of 4,812 calls done, about 13 min left.",
            ),
            (
                10,
                "12 of 1,204 calls today reached Acquire more than 5 min late.",
            ),
        ] {
            assert_eq!(sentence(order), expected);
        }
        assert!(sentence(4).ends_with("Check acquire.api_key."));
        let refused = format!("34 requests were refused because of a setting, the last at {at}: ");
        assert!(sentence(5).starts_with(&refused), "{}", sentence(5));
        let other = RefusedCause {
            cause: "malformed".to_owned(),
            count: 8,
            ..everything().refused[0].0.clone()
        };
        let mut facts = everything();
        facts.refused.push((other, String::new()));
        let conditions = BridgeStatus::of(&facts, NOW).conditions;
        let with_others = " 8 requests were refused for other causes.";
        assert!(
            conditions
                .iter()
                .any(|of| of.sentence.starts_with("34 ") && of.sentence.ends_with(with_others))
        );
    }

    #[test]
    fn all_is_well_only_if_no_condition_holds() {
        let well = BridgeFacts {
            counts: Some(Counts {
                seen: 1_204,
                delivered: 1_204,
                ..Counts::default()
            }),
            recent: Some(RecentCalls {
                today: Sums {
                    received: 1_204,
                    in_time: 1_204,
                    ..Sums::default()
                },
                ..RecentCalls::default()
            }),
            ..BridgeFacts::default()
        };
        let status = BridgeStatus::of(&well, NOW);
        assert_eq!(
            status.sentence,
            "All is well: 1,204 calls today, all in Acquire."
        );
        assert!(status.is_well && status.conditions.is_empty());
        let one_each: [fn(&mut BridgeFacts, BridgeFacts); 6] = [
            |facts, all| facts.not_stored = all.not_stored,
            |facts, _| (facts.counts, facts.spooled) = (None, Some(2)),
            |facts, all| facts.outages = all.outages,
            |facts, all| facts.refused = all.refused,
            |facts, all| facts.counts = all.counts,
            |facts, all| facts.problems = all.problems,
        ];
        let no_operator_is_needed: [fn(&mut BridgeFacts, BridgeFacts); 2] = [
            |facts, all| facts.operations = all.operations,
            |facts, all| {
                let hour_week_ago = 10;
                facts.recent = all.recent.map(|recent| RecentCalls {
                    hour_week_ago,
                    ..recent
                });
            },
        ];
        let urgent = one_each.map(|set| (set, false));
        let others = no_operator_is_needed.map(|set| (set, true));
        for (set, is_well) in urgent.into_iter().chain(others) {
            let mut facts = well.clone();
            set(&mut facts, everything());
            let status = BridgeStatus::of(&facts, NOW);
            assert_eq!(status.is_well, is_well, "{status:?}");
            assert!(!status.sentence.contains("All is well"), "{status:?}");
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
    fn an_hour_without_callbacks_is_a_condition_only_if_the_same_hour_a_week_ago_had_calls() {
        let facts = |last_hour, hour_week_ago, last_callback| BridgeFacts {
            recent: Some(RecentCalls {
                last_hour,
                hour_week_ago,
                ..RecentCalls::default()
            }),
            last_callback,
            ..BridgeFacts::default()
        };
        for (facts, is_well) in [
            (facts(0, 11, None), false),
            (facts(0, 11, Some(NOW.minus(HOUR))), false),
            (facts(0, 10, None), true),
            (facts(1, 11, None), true),
            (facts(0, 11, Some(NOW.minus(HOUR / 2))), true),
        ] {
            assert_eq!(BridgeStatus::of(&facts, NOW).is_well, is_well, "{facts:?}");
        }
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
