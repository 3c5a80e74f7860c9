//! The requests of a call by the current plan, with the progress of each.
//!
//! Nothing is planned here.

use serde::Serialize;

use super::fields::{self, FieldView};
use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::plan::{self, PlanItem};
use crate::domain::plural::counted;

/// One item of the current plan, whether it was sent or not.
#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum PlannedView {
    Send {
        leg: String,
        kind: &'static str,
        request: serde_json::Value,
        /// The reasons for the fields, and for each field that was left out.
        reasons: Vec<String>,
        fields: Vec<FieldView>,
        /// The progress after the attempts since the last requeue.
        progress: String,
        waits: Option<String>,
    },
    Undecided {
        why: String,
    },
    Nothing {
        why: String,
    },
    Unmappable {
        why: String,
    },
}

/// The JSON in `text`, or a JSON string of it if it is not JSON.
pub(super) fn as_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The progress of a request after `attempts`.
fn progress(planned: &plan::PlannedRequest, attempts: &[Attempt]) -> String {
    let made: Vec<&Attempt> = plan::made_for(attempts, &planned.request).collect();
    if let Some(accepted) = made.iter().find(|attempt| attempt.verdict.is_accepted()) {
        return format!("Acquire accepted it at {}", accepted.at);
    }
    match made.last().map(|last| &last.verdict) {
        Some(Verdict::GivenUp(why)) => format!("given up: {why}"),
        Some(Verdict::Again(at) | Verdict::Held(at)) => {
            format!("tried {}, retry at {at}", counted(made.len(), "time"))
        }
        _ if planned.wait.is_some() => "waiting".to_owned(),
        _ => "due".to_owned(),
    }
}

pub(super) fn planned_view(item: &PlanItem, attempts: &[Attempt]) -> PlannedView {
    match item {
        PlanItem::Send(planned) => {
            let request = as_json(&planned.request.message.to_json());
            let leg = planned.request.leg.to_string();
            PlannedView::Send {
                kind: planned.request.message.kind().as_str(),
                fields: fields::fields(&request, &leg, &planned.reasons),
                reasons: planned
                    .reasons
                    .iter()
                    .map(|reason| fields::sentence(&request, reason))
                    .collect(),
                leg,
                request,
                progress: progress(planned, attempts),
                waits: planned
                    .wait
                    .as_ref()
                    .map(|wait| format!("{}, until {}", wait.why, wait.until)),
            }
        }
        PlanItem::Undecided(wait) => PlannedView::Undecided {
            why: format!("{}, until {}", wait.why, wait.until),
        },
        PlanItem::Nothing(_, why) => PlannedView::Nothing { why: why.clone() },
        PlanItem::Unmappable(_, why) => PlannedView::Unmappable { why: why.clone() },
    }
}
