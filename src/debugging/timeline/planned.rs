//! The requests of a call by the current plan, with the progress of each, and the source of each field.
//!
//! Nothing is planned here; the reasons are those of the plan.

use serde::Serialize;
use serde_json::Value;

use crate::domain::attempt::{Attempt, Verdict};
use crate::domain::plan::{self, PlanItem, Reason};
use crate::domain::plural::counted;

/// One item of the current plan, whether it was sent or not.
#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum PlannedView {
    Send {
        leg: String,
        kind: &'static str,
        request: Value,
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
pub(super) fn as_json(text: &str) -> Value {
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
                fields: fields(&request, &leg, &planned.reasons),
                reasons: planned
                    .reasons
                    .iter()
                    .map(|reason| sentence(&request, reason))
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

/// One field of a request to Acquire.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FieldView {
    pub name: String,
    /// `None` if the field was left out.
    pub value: Option<String>,
    /// The source of the value, or why the field was left out.
    pub from: String,
}

/// The fields of a request for a leg; `reasons` are those of the plan.
fn fields(request: &Value, leg: &str, reasons: &[Reason]) -> Vec<FieldView> {
    let members = request.as_object().into_iter().flatten();
    let fields = members.map(|(name, value)| FieldView {
        name: name.clone(),
        value: Some(
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned),
        ),
        from: reasons
            .iter()
            .find(|reason| reason.about.field() == Some(name.as_str()))
            .map_or_else(
                || default_source(name, leg),
                |reason| reason.why.to_string(),
            ),
    });
    let left_out = reasons.iter().filter_map(|reason| {
        let name = left_out(request, reason)?;
        Some(FieldView {
            name: name.to_owned(),
            value: None,
            from: reason.why.to_string(),
        })
    });
    fields.chain(left_out).collect()
}

/// The field that `request` lacks for this reason.
fn left_out(request: &Value, reason: &Reason) -> Option<&'static str> {
    let name = reason.about.field()?;
    request.get(name).is_none().then_some(name)
}

/// A reason as a sentence of its own, which names a field that was left out.
fn sentence(request: &Value, reason: &Reason) -> String {
    match left_out(request, reason) {
        Some(name) => format!("{name} left out: {}", reason.why),
        None => reason.why.to_string(),
    }
}

/// The source of a field for which the plan has no reason.
fn default_source(name: &str, leg: &str) -> String {
    match name {
        "CallId" => format!("CallSid of leg {leg}"),
        "Duration" => format!("CallDuration of leg {leg}"),
        "email" => "the callback URL or the directory".to_owned(),
        "RecordingUrl" => "the recording's callback".to_owned(),
        same => format!("{same} of leg {leg}"),
    }
}
