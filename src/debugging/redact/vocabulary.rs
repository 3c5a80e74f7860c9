//! The words that redaction keeps: names and fixed values of the protocol, which are no personal data.
//!
//! All other values are replaced, also under these names, because an app may send its own parameters.

use jiff::fmt::rfc2822::DateTimeParser;

use crate::twilio::{CallStatus, Direction, RecordingStatus};

/// The names of fields, separated by spaces, that Twilio sends (docs: voice, recording and SIP callbacks, Voice SDK), and
/// those of Acquire that differ.
pub(super) const NAMES: &str = "\
    AccountSid AddOns AnsweredBy ApiVersion ApplicationSid CallDuration CallId CallSid \
    CallStatus CallToken CallbackSource Called CalledCity CalledCountry CalledState CalledVia \
    CalledZip Caller CallerCity CallerCountry CallerName CallerState CallerZip Direction \
    Duration ErrorCode ErrorMessage ForwardedFrom From FromCity FromCountry FromState FromZip \
    ParentCallSid RecordingChannels RecordingDuration RecordingSid RecordingSource \
    RecordingStartTime RecordingStatus RecordingTrack RecordingUrl SequenceNumber SipCallId \
    SipDomain SipDomainSid SipResponseCode SipSourceIp SipUsername StirPassportToken \
    StirStatus StirVerstat Timestamp To ToCity ToCountry ToState ToZip email";

/// Values for a withheld number: the words, and the digits of the keypad for them.
const WITHHELD: &str = "\
    anonymous Anonymous ANONYMOUS blocked BLOCKED private PRIVATE restricted Restricted \
    RESTRICTED unavailable UNAVAILABLE unknown Unknown UNKNOWN +266696687 +2562533 +464 \
    +7378742833 +86282452253 +8656696";

fn has(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|known| known == word)
}

pub(super) fn is_name(name: &str) -> bool {
    has(NAMES, name)
}

/// Whether the value of a field is a fixed word, a time or a small number.
pub(super) fn is_word(name: &str, value: &str) -> bool {
    let words = match name {
        "CallStatus" => return !matches!(CallStatus::parse(value), CallStatus::Unknown(_)),
        "RecordingStatus" => {
            return !matches!(RecordingStatus::parse(value), RecordingStatus::Unknown(_));
        }
        "Direction" if matches!(Direction::parse(value), Direction::Unknown(_)) => {
            "incoming outgoing"
        }
        "Direction" => return true,
        "Timestamp" | "RecordingStartTime" => return is_time(value),
        "SequenceNumber" | "Duration" | "CallDuration" | "RecordingDuration"
        | "RecordingChannels" | "SipResponseCode" | "ErrorCode" => {
            let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
            return (1..=6).contains(&value.len()) && is_number;
        }
        "ApiVersion" => "2010-04-01 2008-08-01",
        "CallbackSource" => "call-progress-events",
        "RecordingSource" => {
            "DialVerb RecordVerb OutboundAPI Conference Trunking StartCallRecordingAPI \
             StartCallRecordingTwiML StartConferenceRecordingAPI"
        }
        "RecordingTrack" => "both inbound outbound",
        "AnsweredBy" => {
            "human machine_start machine_end_beep machine_end_silence machine_end_other fax unknown"
        }
        "StirStatus" => "A B C null",
        "From" | "Caller" | "To" | "Called" => WITHHELD,
        _ => return false,
    };
    has(words, value)
}

/// RFC 2822 without comments, which could contain any text.
fn is_time(value: &str) -> bool {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b" ,:+-".contains(&byte);
    value.bytes().all(is_bare) && PARSER.parse_timestamp(value).is_ok()
}
