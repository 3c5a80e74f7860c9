//! Reads what Twilio itself keeps of calls and recordings: rows of its lists, and forms in its alerts.
//!
//! Every field of a row may be null, absent, empty, or of another JSON type than Twilio's
//! specification says (seen in real rows), so the reader accepts all of these.

use jiff::Timestamp;
use serde_json::Value;

use super::callback::{self, CallbackParseError};
use super::{
    AccountSid, CallSid, CallStatus, Callback, CallbackContent, Direction, Evidence, FieldSource,
    RecordingCallback, RecordingSid, RecordingStatus, StatusCallback,
};

/// The header of a stored request that Twilio did not send to the bridge. No callback can have it: the
/// bridge keeps a fixed set of headers.
const SOURCE_HEADER: &str = "x-bridge-evidence: ";

/// The header with the callback URL to which Twilio would have posted, as far as it is known.
const CALLBACK_URL_HEADER: &str = "x-bridge-callback-url: ";

/// Where a stored request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestSource {
    /// Twilio posted and signed it.
    Signed,
    /// A row of Twilio's list of calls or recordings.
    Listed,
    /// The form of a callback that failed, from Twilio's alert about it.
    Alerted,
}

impl RequestSource {
    /// The source of a stored request, by its headers.
    pub fn of(headers: &str) -> Self {
        match header(headers, SOURCE_HEADER) {
            Some("listed") => Self::Listed,
            Some("alerted") => Self::Alerted,
            _ => Self::Signed,
        }
    }

    /// The word in metrics and views.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Listed => "listed",
            Self::Alerted => "alerted",
        }
    }

    /// The headers of a stored request from this source.
    pub fn headers(self, callback_url: Option<&str>) -> String {
        let url = callback_url.map(|url| format!("{CALLBACK_URL_HEADER}{url}\n"));
        format!(
            "{SOURCE_HEADER}{}\n{}",
            self.as_str(),
            url.unwrap_or_default()
        )
    }
}

fn header<'h>(headers: &'h str, name: &str) -> Option<&'h str> {
    headers.lines().find_map(|line| line.strip_prefix(name))
}

/// Reads a stored request, from whatever source.
pub fn read_stored(url: &str, headers: &str, body: &[u8]) -> Result<Callback, CallbackParseError> {
    match RequestSource::of(headers) {
        RequestSource::Signed => callback::read(body, url),
        RequestSource::Alerted => {
            let mut callback = callback::read(body, url)?;
            if let CallbackContent::Status(status) = &mut callback.kind {
                status.evidence = Evidence::Alerted;
            }
            Ok(callback)
        }
        RequestSource::Listed => {
            let row: Value = serde_json::from_slice(body)
                .map_err(|why| CallbackParseError::Row(why.to_string()))?;
            if let Some(recording) = ListedRecording::read(&row) {
                return recording.into_callback();
            }
            let call = ListedCall::read(&row).map_err(CallbackParseError::Row)?;
            let email = header(headers, CALLBACK_URL_HEADER)
                .and_then(|url| callback::email(callback::query(url)).ok()?);
            let mut callback = call.into_callback()?;
            if let CallbackContent::Status(status) = &mut callback.kind {
                status.email = email;
            }
            Ok(callback)
        }
    }
}

/// What a callback has and a row of the list of calls has not (Twilio's `OpenAPI` document, resource `Call`).
pub const NOT_IN_LIST: &str = "SequenceNumber, SipResponseCode, cities and countries";

/// A row of the list of calls: one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCall {
    pub sid: CallSid,
    pub account: Option<AccountSid>,
    pub parent: Option<CallSid>,
    pub from: String,
    pub to: String,
    pub direction: Option<Direction>,
    pub status: CallStatus,
    /// Whole seconds as a text. Twilio's times do not yield it: a busy call may have "0" and times that
    /// are 22 seconds apart.
    pub duration: Option<String>,
    /// `end_time`, else `date_updated`.
    pub ended: Option<Timestamp>,
}

impl ListedCall {
    /// Reads a row; the error continues the sentence "the row ...".
    pub fn read(row: &Value) -> Result<Self, String> {
        let sid = text(row, "sid").and_then(|sid| CallSid::parse(&sid).ok());
        let status = text(row, "status").ok_or("has no status")?;
        Ok(Self {
            sid: sid.ok_or("has no CallSid")?,
            account: text(row, "account_sid").and_then(|sid| AccountSid::parse(&sid).ok()),
            parent: text(row, "parent_call_sid").and_then(|sid| CallSid::parse(&sid).ok()),
            from: text(row, "from").unwrap_or_default(),
            to: text(row, "to").unwrap_or_default(),
            direction: text(row, "direction").map(|word| Direction::parse(&word)),
            status: CallStatus::parse(&status),
            duration: text(row, "duration"),
            ended: time(row, "end_time").or_else(|| time(row, "date_updated")),
        })
    }

    /// Whether the call has ended: a status that Twilio may add later counts as running.
    pub fn is_final(&self) -> bool {
        matches!(
            self.status,
            CallStatus::Completed
                | CallStatus::Busy
                | CallStatus::NoAnswer
                | CallStatus::Canceled
                | CallStatus::Failed
        )
    }

    /// The `CallDuration` that a callback would have; `None` if Twilio does not know it yet.
    pub fn call_duration(&self) -> Option<String> {
        match (&self.duration, &self.status) {
            (None, CallStatus::Completed) => None,
            (None, _) => Some("0".to_owned()),
            (Some(seconds), _) => Some(seconds.clone()),
        }
    }

    fn into_callback(self) -> Result<Callback, CallbackParseError> {
        let account = self.account.clone();
        Ok(Callback {
            account: account.ok_or(CallbackParseError::Missing("account_sid"))?,
            kind: CallbackContent::Status(StatusCallback {
                evidence: Evidence::Listed,
                call_duration: self.call_duration(),
                status: self.status,
                from: self.from,
                to: self.to,
                direction: self.direction,
                // Twilio's own fields, of an app's leg too.
                origin: FieldSource::Twilio,
                recording_sid: None,
                recording_url: None,
                recording_duration: None,
                sequence_number: None,
                timestamp: self.ended,
                email: None,
                email_ignored_for: None,
            }),
            leg: self.sid,
            parent: self.parent,
        })
    }
}

/// A row of the list of recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRecording {
    pub sid: RecordingSid,
    pub account: Option<AccountSid>,
    /// The recorded leg; a recording of a conference may have none.
    pub leg: Option<CallSid>,
    pub status: RecordingStatus,
    url: Option<String>,
    duration: Option<String>,
    started: Option<Timestamp>,
    error_code: Option<String>,
}

impl ListedRecording {
    /// `None` if the row is none of a recording.
    pub fn read(row: &Value) -> Option<Self> {
        Some(Self {
            sid: RecordingSid::parse(&text(row, "sid")?).ok()?,
            account: text(row, "account_sid").and_then(|sid| AccountSid::parse(&sid).ok()),
            leg: text(row, "call_sid").and_then(|sid| CallSid::parse(&sid).ok()),
            status: RecordingStatus::parse(&text(row, "status")?),
            // Twilio's example starts with http://.
            url: text(row, "media_url").map(|url| match url.strip_prefix("http://") {
                Some(rest) if rest.starts_with("api.") => format!("https://{rest}"),
                _ => url,
            }),
            duration: text(row, "duration"),
            started: time(row, "start_time"),
            error_code: text(row, "error_code").filter(|code| code != "0"),
        })
    }

    /// When it ended, in milliseconds since 1970.
    pub fn ended(&self) -> Option<i64> {
        let seconds: i64 = self.duration.as_ref()?.parse().ok()?;
        Some(self.started?.as_millisecond() + seconds * 1_000)
    }

    /// Whether a recording callback was due: the recording is ready, or none will come.
    pub fn is_final(&self) -> bool {
        matches!(
            self.status,
            RecordingStatus::Completed | RecordingStatus::Absent
        )
    }

    fn into_callback(self) -> Result<Callback, CallbackParseError> {
        let account = self
            .account
            .ok_or(CallbackParseError::Missing("account_sid"))?;
        let has_audio = self.status == RecordingStatus::Completed;
        let default = || {
            let sid = &self.sid;
            format!("https://api.twilio.com/2010-04-01/Accounts/{account}/Recordings/{sid}")
        };
        Ok(Callback {
            leg: self.leg.ok_or(CallbackParseError::Missing("call_sid"))?,
            parent: None,
            kind: CallbackContent::Recording(RecordingCallback {
                url: has_audio.then(|| self.url.unwrap_or_else(default)),
                sid: self.sid,
                status: self.status,
                duration: self.duration.and_then(|seconds| seconds.parse().ok()),
                started: self.started,
                error_code: self.error_code,
            }),
            account,
        })
    }
}

/// A field that is a text or a number; `None` if it is absent, null or empty.
pub fn text(row: &Value, name: &str) -> Option<String> {
    match row.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// RFC 2822 as in the API of 2010, or ISO 8601 as in the others.
fn time(row: &Value, name: &str) -> Option<Timestamp> {
    let text = text(row, name)?;
    callback::timestamp(&text).or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CALL: &str = "CA00000000000000000000000000000001";
    const ACCOUNT: &str = "AC00000000000000000000000000000001";

    #[test]
    fn a_row_with_null_absent_or_empty_fields_is_read() {
        let row = json!({
            "sid": CALL, "account_sid": ACCOUNT, "parent_call_sid": "", "trunk_sid": "",
            "from": null, "status": "busy", "duration": null, "end_time": "",
            "date_updated": "Fri, 18 Oct 2019 17:01:00 +0000",
        });
        let call = ListedCall::read(&row).expect("a row");
        assert_eq!((call.parent.as_ref(), call.from.as_str()), (None, ""));
        assert_eq!(call.call_duration().as_deref(), Some("0"));
        let ended = call.ended.map(|time| time.to_string());
        assert_eq!(ended.as_deref(), Some("2019-10-18T17:01:00Z"));
    }

    #[test]
    fn a_number_is_read_where_the_specification_says_text() {
        let row = json!({"sid": CALL, "status": "completed", "duration": 7});
        let call = ListedCall::read(&row).expect("a row");
        assert_eq!(call.call_duration().as_deref(), Some("7"));
    }

    #[test]
    fn the_duration_of_a_completed_call_is_never_made_up() {
        let row = json!({"sid": CALL, "status": "completed", "duration": null});
        let call = ListedCall::read(&row).expect("a row");
        assert_eq!(call.call_duration(), None);
    }

    #[test]
    fn a_listed_call_has_the_key_of_the_callback_that_it_replaces() {
        let row = json!({"sid": CALL, "account_sid": ACCOUNT, "status": "completed"}).to_string();
        let headers = RequestSource::Listed.headers(None);
        let listed = read_stored("https://api.example.com/x", &headers, row.as_bytes());
        let form = format!(
            "CallSid={CALL}&AccountSid={ACCOUNT}&CallStatus=completed\
             &CallbackSource=call-progress-events"
        );
        let url = "https://bridge.example.com/twilio/voice/status";
        let signed = read_stored(url, "", form.as_bytes());
        let (listed, signed) = (listed.expect("a row"), signed.expect("a form"));
        assert_eq!(listed.key(), signed.key());
        assert_eq!(listed.evidence(), Evidence::Listed);
    }

    #[test]
    fn a_listed_recording_has_the_key_of_its_callback() {
        let row = json!({
            "sid": "RE00000000000000000000000000000001", "account_sid": ACCOUNT, "call_sid": CALL,
            "status": "completed", "duration": "4", "media_url": "http://api.example.com/r",
        });
        let headers = RequestSource::Listed.headers(None);
        let read = read_stored("https://x/", &headers, row.to_string().as_bytes());
        let read = read.expect("a recording");
        let key = format!("{CALL}/recording/RE00000000000000000000000000000001/completed");
        assert_eq!(read.key().as_str(), key);
        let CallbackContent::Recording(recording) = read.kind else {
            panic!("no recording");
        };
        assert_eq!(recording.url.as_deref(), Some("https://api.example.com/r"));
    }
}
