//! Where each field of a request came from.

use serde::Serialize;
use serde_json::Value;

use crate::domain::plan::Reason;

/// One field of what Acquire gets.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FieldView {
    pub name: String,
    pub value: String,
    pub from: String,
}

/// Of `request` for the leg that `leg` names; `because` are the plan's reasons.
pub(super) fn fields(request: &Value, leg: &str, because: &[Reason]) -> Vec<FieldView> {
    let members = request.as_object().into_iter().flatten();
    let fields = members.map(|(name, value)| FieldView {
        name: name.clone(),
        value: value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        from: because
            .iter()
            .find(|reason| reason.about.field() == Some(name.as_str()))
            .map_or_else(|| usual(name, leg), |reason| reason.why.to_string()),
    });
    fields.collect()
}

/// Where a field is from that the plan has no reason for.
fn usual(name: &str, leg: &str) -> String {
    match name {
        "CallId" => format!("CallSid of leg {leg}"),
        "Duration" => format!("CallDuration of leg {leg}"),
        "email" => "the callback URL or the directory".to_owned(),
        "RecordingUrl" => "the recording's callback".to_owned(),
        same => format!("{same} of leg {leg}"),
    }
}
