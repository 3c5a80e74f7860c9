//! The words that redaction keeps: names and fixed values of the protocol, which are no personal data.
//!
//! All other values are replaced, also under these names, because an app may send its own parameters.

use jiff::fmt::rfc2822::DateTimeParser;

use crate::twilio::{CallStatus, Direction, RecordingStatus};

/// The names of fields that Twilio sends (docs: voice, recording and SIP callbacks, Voice SDK), and
/// those of Acquire that differ.
pub(super) const NAMES: &[&str] = &[
    "AccountSid",
    "AddOns",
    "AnsweredBy",
    "ApiVersion",
    "ApplicationSid",
    "CallDuration",
    "CallId",
    "CallSid",
    "CallStatus",
    "CallToken",
    "CallbackSource",
    "Called",
    "CalledCity",
    "CalledCountry",
    "CalledState",
    "CalledVia",
    "CalledZip",
    "Caller",
    "CallerCity",
    "CallerCountry",
    "CallerName",
    "CallerState",
    "CallerZip",
    "Direction",
    "Duration",
    "ErrorCode",
    "ErrorMessage",
    "ForwardedFrom",
    "From",
    "FromCity",
    "FromCountry",
    "FromState",
    "FromZip",
    "ParentCallSid",
    "RecordingChannels",
    "RecordingDuration",
    "RecordingSid",
    "RecordingSource",
    "RecordingStartTime",
    "RecordingStatus",
    "RecordingTrack",
    "RecordingUrl",
    "SequenceNumber",
    "SipCallId",
    "SipDomain",
    "SipDomainSid",
    "SipResponseCode",
    "SipSourceIp",
    "SipUsername",
    "StirPassportToken",
    "StirStatus",
    "StirVerstat",
    "Timestamp",
    "To",
    "ToCity",
    "ToCountry",
    "ToState",
    "ToZip",
    "email",
];

/// Values for a withheld number: the words, and the digits of the keypad for them.
const WITHHELD: &[&str] = &[
    "anonymous",
    "Anonymous",
    "ANONYMOUS",
    "blocked",
    "BLOCKED",
    "private",
    "PRIVATE",
    "restricted",
    "Restricted",
    "RESTRICTED",
    "unavailable",
    "UNAVAILABLE",
    "unknown",
    "Unknown",
    "UNKNOWN",
    "+266696687",
    "+2562533",
    "+464",
    "+7378742833",
    "+86282452253",
    "+8656696",
];

pub(super) fn is_name(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether the value of a field is a fixed word, a time or a small number.
pub(super) fn is_word(name: &str, value: &str) -> bool {
    match name {
        "CallStatus" => !matches!(CallStatus::parse(value), CallStatus::Unknown(_)),
        "RecordingStatus" => !matches!(RecordingStatus::parse(value), RecordingStatus::Unknown(_)),
        "Direction" => {
            !matches!(Direction::parse(value), Direction::Unknown(_))
                || ["incoming", "outgoing"].contains(&value)
        }
        "ApiVersion" => ["2010-04-01", "2008-08-01"].contains(&value),
        "CallbackSource" => value == "call-progress-events",
        "RecordingSource" => [
            "DialVerb",
            "RecordVerb",
            "OutboundAPI",
            "Conference",
            "Trunking",
            "StartCallRecordingAPI",
            "StartCallRecordingTwiML",
            "StartConferenceRecordingAPI",
        ]
        .contains(&value),
        "RecordingTrack" => ["both", "inbound", "outbound"].contains(&value),
        "AnsweredBy" => [
            "human",
            "machine_start",
            "machine_end_beep",
            "machine_end_silence",
            "machine_end_other",
            "fax",
            "unknown",
        ]
        .contains(&value),
        "StirStatus" => ["A", "B", "C", "null"].contains(&value),
        "Timestamp" | "RecordingStartTime" => is_time(value),
        "SequenceNumber" | "Duration" | "CallDuration" | "RecordingDuration"
        | "RecordingChannels" | "SipResponseCode" | "ErrorCode" => {
            (1..=6).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
        }
        "From" | "Caller" | "To" | "Called" => WITHHELD.contains(&value),
        _ => false,
    }
}

/// RFC 2822 without comments, which could contain any text.
fn is_time(value: &str) -> bool {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b" ,:+-".contains(&byte);
    value.bytes().all(is_bare) && PARSER.parse_timestamp(value).is_ok()
}
