//! The callbacks of a call, and the effect of each on its leg.

use serde::Serialize;

use crate::domain::plan;
use crate::store::StoredCallback;
use crate::twilio::{
    CallSid, CallStatus, Callback, CallbackContent, RecordingStatus, StatusCallback, callback,
};

/// One callback of a call.
#[derive(Debug, Serialize)]
pub struct CallbackView {
    pub received: String,
    pub leg: String,
    pub parent: Option<String>,
    /// `status`, `recording`, or `unreadable` if this version cannot read it.
    pub kind: &'static str,
    /// The status of the leg or of the recording.
    pub call_status: String,
    /// The effect of the callback on its leg.
    pub verdict: &'static str,
    pub recording: Option<String>,
    pub from: String,
    pub to: String,
    pub sequence_number: Option<u32>,
    pub url: String,
    /// The raw form.
    pub form: String,
}

pub(super) fn read(stored: &StoredCallback) -> Result<Callback, callback::CallbackParseError> {
    callback::read(&stored.request.body, &stored.request.url)
}

/// Only the first end of a leg has an effect; later ones are stored.
fn verdict(
    leg: &CallSid,
    status: &StatusCallback,
    ends: &[(CallSid, StatusCallback)],
) -> &'static str {
    let end = ends.iter().find(|(other, _)| other == leg);
    match (end, &status.status) {
        (Some((_, end)), _) if end == status => "ends the leg",
        (_, CallStatus::Unknown(_)) => "stored: unknown status",
        _ if plan::is_end(status) => "stored: the leg had already ended",
        _ => "before the end",
    }
}

pub(super) fn callback_view(
    stored: &StoredCallback,
    ends: &[(CallSid, StatusCallback)],
) -> CallbackView {
    let raw = CallbackView {
        received: stored.received.to_string(),
        leg: String::new(),
        parent: None,
        kind: "unreadable",
        call_status: String::new(),
        verdict: "stored: unreadable",
        recording: None,
        from: String::new(),
        to: String::new(),
        sequence_number: None,
        url: stored.request.url.clone(),
        form: String::from_utf8_lossy(&stored.request.body).into_owned(),
    };
    let callback = match read(stored) {
        Ok(callback) => callback,
        Err(why) => {
            return CallbackView {
                call_status: format!("unreadable: {why}"),
                ..raw
            };
        }
    };
    match callback.kind {
        CallbackContent::Status(status) => CallbackView {
            verdict: verdict(&callback.leg, &status, ends),
            leg: callback.leg.to_string(),
            parent: callback.parent.map(|parent| parent.to_string()),
            kind: "status",
            call_status: status.status.to_string(),
            recording: status.recording_url,
            from: status.from,
            to: status.to,
            sequence_number: status.sequence_number,
            ..raw
        },
        CallbackContent::Recording(recording) => CallbackView {
            leg: callback.leg.to_string(),
            kind: "recording",
            verdict: match recording.status {
                RecordingStatus::Unknown(_) => "stored: unknown status",
                _ => "of the leg",
            },
            call_status: recording.status.to_string(),
            recording: Some(match recording.url {
                Some(url) => format!("{} {url}", recording.sid),
                None => recording.sid.to_string(),
            }),
            ..raw
        },
    }
}
