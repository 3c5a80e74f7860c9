//! The source of each field of a request, and why an optional field was left out.
//!
//! The reasons are those of the plan; nothing is decided here.

use serde::Serialize;
use serde_json::Value;

use crate::domain::plan::Reason;

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
pub(super) fn fields(request: &Value, leg: &str, reasons: &[Reason]) -> Vec<FieldView> {
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
pub(super) fn sentence(request: &Value, reason: &Reason) -> String {
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
