//! The callbacks of a call, and the effect of each on its leg.
//!
//! The effects are determined in `domain/plan/effect.rs`.

use serde::Serialize;

use crate::domain::plan::{CallbackEffect, ReceivedCallback};
use crate::store::StoredCallback;
use crate::twilio::callback::CallbackParseError;
use crate::twilio::listed::{NOT_IN_LIST, RequestSource};
use crate::twilio::{Callback, CallbackContent, Evidence};

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
    /// `status-callback` or `weaker`; `listed` or `alerted` if it was imported from Twilio's own records;
    /// empty for a recording that Twilio posted.
    pub evidence: &'static str,
    /// The effect of the callback on its leg.
    pub verdict: &'static str,
    pub recording: Option<String>,
    pub from: String,
    pub to: String,
    pub sequence_number: Option<u32>,
    /// What Twilio's list does not have, and how a signed end differs from the imported one.
    pub notes: Vec<String>,
    pub url: String,
    /// The raw form.
    pub form: String,
}

fn verdict(effect: CallbackEffect) -> &'static str {
    match effect {
        CallbackEffect::BeforeEnd => "before the end",
        CallbackEffect::EndsLeg(Evidence::StatusCallback) => "ends the leg",
        CallbackEffect::EndsLeg(Evidence::Weaker) => "ends the leg (weaker evidence)",
        CallbackEffect::EndsLeg(Evidence::Listed) => "ends the leg (from Twilio's list)",
        CallbackEffect::EndsLeg(Evidence::Alerted) => "ends the leg (from Twilio's alert)",
        CallbackEffect::CompletesEnd => "completes the end",
        CallbackEffect::AfterEnd => "stored: the leg had already ended",
        CallbackEffect::AfterAttempt => "stored: the call-end had already been tried",
        CallbackEffect::WeakerWaits => "weaker evidence: waits a minute for the status callback",
        CallbackEffect::WeakerUnused => "weaker evidence: replaced by the status callback",
        CallbackEffect::ImportedUnused => "imported: not used, the signed callback came",
        CallbackEffect::UnknownStatus => "stored: unknown status",
        CallbackEffect::Recording => "of the leg",
    }
}

pub(super) fn callback_view(
    stored: &StoredCallback,
    read: Result<Callback, CallbackParseError>,
    effect: Option<CallbackEffect>,
) -> CallbackView {
    let raw = CallbackView {
        received: stored.received.to_string(),
        leg: String::new(),
        parent: None,
        kind: "unreadable",
        call_status: String::new(),
        evidence: "",
        verdict: effect.map_or("stored: unreadable", verdict),
        recording: None,
        from: String::new(),
        to: String::new(),
        sequence_number: None,
        notes: Vec::new(),
        url: stored.request.url.clone(),
        form: String::from_utf8_lossy(&stored.request.body).into_owned(),
    };
    let callback = match read {
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
            evidence: status.evidence.as_str(),
            leg: callback.leg.to_string(),
            parent: callback.parent.map(|parent| parent.to_string()),
            kind: "status",
            call_status: status.status.to_string(),
            recording: status.recording_url,
            from: status.from,
            to: status.to,
            sequence_number: status.sequence_number,
            notes: match status.evidence {
                Evidence::Listed => vec![format!("not in the list: {NOT_IN_LIST}")],
                _ => Vec::new(),
            },
            ..raw
        },
        CallbackContent::Recording(recording) => CallbackView {
            evidence: match stored.request.source() {
                RequestSource::Signed => "",
                source => source.as_str(),
            },
            leg: callback.leg.to_string(),
            kind: "recording",
            call_status: recording.status.to_string(),
            recording: Some(match recording.url {
                Some(url) => format!("{} {url}", recording.sid),
                None => recording.sid.to_string(),
            }),
            ..raw
        },
    }
}

/// How a signed end that came after the call-end was tried differs from the imported end of its leg.
pub(super) fn difference(signed: &ReceivedCallback, all: &[ReceivedCallback]) -> Option<String> {
    let end = |received: &ReceivedCallback| match &received.callback.kind {
        CallbackContent::Status(status) => Some((
            matches!(status.evidence, Evidence::Listed | Evidence::Alerted),
            status.status.to_string(),
            status.call_duration.clone().unwrap_or_default(),
        )),
        CallbackContent::Recording(_) => None,
    };
    let of_leg = |other: &&ReceivedCallback| other.callback.leg == signed.callback.leg;
    let (_, status, seconds) = end(signed)?;
    let mut ends = all.iter().filter(of_leg).filter_map(end);
    let (_, other_status, other_seconds) = ends.find(|(is_imported, ..)| *is_imported)?;
    let differs = (&status, &seconds) != (&other_status, &other_seconds);
    differs.then(|| {
        format!(
            "differs: {status} after {seconds} s; imported: {other_status} after {other_seconds} s"
        )
    })
}
