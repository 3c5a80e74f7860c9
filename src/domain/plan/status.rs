//! Maps the fields of one Twilio status to Acquire's.
//!
//! Each function reads one status alone; the rest of the call does not matter here.

use jiff::Timestamp;

use super::reason::{About, Reason};
use super::rules::{ClientParents, Rules};
use crate::acquire;
use crate::domain::directory::{email_fault, is_email};
use crate::twilio::{self, CallSid, Direction, StatusCallback};

/// Acquire's status of a leg that has ended; `None` while it has not.
///
/// Acquire's five statuses are Twilio's five terminal ones (call-end.md, "`CallStatus`").
pub(super) fn ended_as(status: &StatusCallback) -> Option<acquire::CallStatus> {
    use twilio::CallStatus as Twilio;
    match status.status {
        Twilio::Busy => Some(acquire::CallStatus::Busy),
        Twilio::NoAnswer => Some(acquire::CallStatus::NoAnswer),
        Twilio::Canceled => Some(acquire::CallStatus::Canceled),
        Twilio::Failed => Some(acquire::CallStatus::Failed),
        Twilio::Completed => Some(acquire::CallStatus::Completed),
        Twilio::Queued
        | Twilio::Initiated
        | Twilio::Ringing
        | Twilio::InProgress
        | Twilio::Unknown(_) => None,
    }
}

/// Whether a status ends its leg.
pub fn is_end(status: &StatusCallback) -> bool {
    ended_as(status).is_some()
}

/// Orders the statuses of a leg: by `SequenceNumber`, then `Timestamp`. The rest of a status breaks a
/// tie, so that the order of arrival never matters.
pub(super) fn sequence(status: &StatusCallback) -> (u32, Timestamp, &StatusCallback) {
    (
        status.sequence_number.unwrap_or(u32::MAX),
        status.timestamp.unwrap_or(Timestamp::MAX),
        status,
    )
}

/// Whether a call-end can be made of this status.
pub(super) fn sendable(leg: &CallSid, end: &StatusCallback, rules: &Rules) -> Result<(), String> {
    direction(end, rules)?;
    from(leg, end, rules)?;
    to(leg, end, rules).map(|_| ())
}

/// The `From` that Acquire gets, or why a leg has none.
pub(super) fn from(
    leg: &CallSid,
    status: &StatusCallback,
    rules: &Rules,
) -> Result<String, String> {
    match (status.from.trim(), &rules.empty_from) {
        ("", None) => Err(format!(
            "leg {leg} has an empty From, which Acquire requires (set calls.empty_from to a text to send \
             instead)"
        )),
        ("", Some(text)) => Ok(text.clone()),
        _ => Ok(status.from.clone()),
    }
}

/// The reason where [`from`] returns another text than Twilio's.
pub(super) fn replaced_from(status: &StatusCallback) -> Option<Reason> {
    let why = "calls.empty_from, because the leg has none";
    let is_empty = status.from.trim().is_empty();
    is_empty.then(|| About::From.because(why))
}

/// The e-mail of the callback URL, if it is an e-mail address.
pub(super) fn url_email(status: &StatusCallback) -> Option<String> {
    let email = status.email.as_ref()?;
    is_email(&email.text).then(|| email.text.clone())
}

/// Why the e-mail of the callback URL is not sent.
pub(super) fn invalid_url_email(leg: &CallSid, status: &StatusCallback) -> Option<String> {
    if let Some(name) = &status.email_ignored_for {
        // The name is shown with escapes, because a web page can choose it.
        return Some(format!(
            "?email= is not used: its end could be the name of the field {name:?}"
        ));
    }
    let email = status.email.as_ref()?;
    let fault = email_fault(&email.text)?;
    let remedy = if email.has_plus && email.text.contains(' ') {
        "; a + in the URL means a space: enter it at Twilio as %2B"
    } else {
        ""
    };
    Some(format!(
        "?email= of leg {leg}, \"{}\", is not an e-mail address: it {fault}{remedy}",
        email.text
    ))
}

/// The `Duration` that Acquire gets, or why there is none.
pub(super) fn duration(status: &StatusCallback) -> Result<String, String> {
    match &status.call_duration {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(text.clone()),
        Some(text) => Err(format!(
            "CallDuration is \"{text}\", which is not a whole number of seconds"
        )),
        None => Err("the end of the leg has no CallDuration".to_owned()),
    }
}

/// The `To` that Acquire gets, or why a leg has none.
pub(super) fn to(leg: &CallSid, status: &StatusCallback, rules: &Rules) -> Result<String, String> {
    match (status.to.trim(), &rules.empty_to) {
        ("", None) => Err(format!(
            "leg {leg} has an empty To, which Acquire requires (set calls.empty_to to a text to send instead)"
        )),
        ("", Some(text)) => Ok(text.clone()),
        _ => Ok(status.to.clone()),
    }
}

/// The reason where [`to`] returns another text than Twilio's.
pub(super) fn replaced_to(status: &StatusCallback) -> Option<Reason> {
    let why = "calls.empty_to, because the leg has none";
    status.to.trim().is_empty().then(|| About::To.because(why))
}

/// Acquire's direction of a leg, with the reason; or why it has none.
pub(super) fn direction(
    status: &StatusCallback,
    rules: &Rules,
) -> Result<(acquire::Direction, &'static str), String> {
    let from_softphone = status.from.starts_with("client:");
    match &status.direction {
        Some(Direction::Inbound) if from_softphone && rules.client == ClientParents::Outgoing => {
            Ok((
                acquire::Direction::Outgoing,
                "outgoing: the caller is a softphone (calls.client)",
            ))
        }
        Some(Direction::Inbound | Direction::TrunkingOriginating) => Ok((
            acquire::Direction::Incoming,
            "incoming: as Twilio reports for this leg",
        )),
        Some(Direction::OutboundApi | Direction::OutboundDial | Direction::TrunkingTerminating) => {
            Ok((
                acquire::Direction::Outgoing,
                "outgoing: as Twilio reports for this leg",
            ))
        }
        Some(Direction::Unknown(text)) => Err(format!(
            "has Direction \"{text}\", for which Acquire has no equivalent"
        )),
        None => Err("has no Direction, which Acquire requires".to_owned()),
    }
}
