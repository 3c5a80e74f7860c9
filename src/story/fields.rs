//! Where each field of a request came from.

use serde::Serialize;
use serde_json::Value;

/// One field of what Acquire gets.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    pub value: String,
    pub from: String,
}

/// Of `request` for the leg that `leg` names; `because` are the plan's reasons.
pub(super) fn fields(request: &Value, leg: &str, because: &[String]) -> Vec<Field> {
    let members = request.as_object().into_iter().flatten();
    let fields = members.map(|(name, value)| Field {
        name: name.clone(),
        value: value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        from: reason(name, because).unwrap_or_else(|| usual(name, leg)),
    });
    fields.collect()
}

/// The plan's own reason for a field, where it has one.
fn reason(name: &str, because: &[String]) -> Option<String> {
    let is_about = |why: &&String| match name {
        "Direction" => why.starts_with("incoming: ") || why.starts_with("outgoing: "),
        "email" => why.starts_with("e-mail "),
        "CallStatus" => ["busy", "no-answer", "canceled", "failed", "completed"]
            .iter()
            .any(|status| why.starts_with(&format!("{status}: "))),
        "RecordingUrl" => why.contains("recording"),
        _ => false,
    };
    because.iter().find(is_about).cloned()
}

fn usual(name: &str, leg: &str) -> String {
    match name {
        "CallId" => format!("CallSid of leg {leg}"),
        "Duration" => format!("CallDuration of leg {leg}"),
        "email" => "the callback URL or the directory".to_owned(),
        "RecordingUrl" => "the recording's callback".to_owned(),
        same => format!("{same} of leg {leg}"),
    }
}
