//! The source of each field of a request.

use serde::Serialize;
use serde_json::Value;

use crate::domain::plan::Reason;

/// One field of a request to Acquire.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FieldView {
    pub name: String,
    pub value: String,
    pub from: String,
}

/// The fields of a request for a leg; `reasons` are those of the plan.
pub(super) fn fields(request: &Value, leg: &str, reasons: &[Reason]) -> Vec<FieldView> {
    let members = request.as_object().into_iter().flatten();
    let fields = members.map(|(name, value)| FieldView {
        name: name.clone(),
        value: value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        from: reasons
            .iter()
            .find(|reason| reason.about.field() == Some(name.as_str()))
            .map_or_else(
                || default_source(name, leg),
                |reason| reason.why.to_string(),
            ),
    });
    fields.collect()
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
