//! Reads a [`Callback`] from the form of a verified request: a status or recording callback, each at
//! its own path. It refuses other requests of Twilio that look like one.
//!
//! It does not verify the signature; [`super::signature`] does.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use percent_encoding::{percent_decode, percent_decode_str};

use super::signature::fields;
use super::{
    AccountSid, CallSid, CallStatus, Callback, CallbackContent, Direction, Evidence, FieldSource,
    RecordingCallback, RecordingSid, RecordingStatus, SidError, StatusCallback,
};

/// The callbacks that a served path accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackKind {
    Status,
    Recording,
}

impl CallbackKind {
    pub const ALL: [Self; 2] = [Self::Status, Self::Recording];

    /// Where it is served, behind the prefix of a public URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Status => "/twilio/voice/status",
            Self::Recording => "/twilio/voice/recording",
        }
    }

    /// The kind of a stored callback, from its URL or path. The route decodes a path before it matches,
    /// so this does too.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        let path = url.split('?').next().unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8_lossy();
        if path.ends_with(Self::Recording.path()) {
            Self::Recording
        } else {
            Self::Status
        }
    }
}

/// Why a verified form is not a callback that the bridge can record.
///
/// The messages are for the engineer who entered the URL at Twilio.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackParseError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    #[error("{0} must be CA, AC or RE followed by 32 hexadecimal digits, as Twilio's SIDs are")]
    BadSid(&'static str),
    #[error("the form is not UTF-8")]
    NotUtf8,
    #[error("the callback URL may have the query key email, and not \"{0}\"")]
    UnexpectedQuery(String),
    #[error("this is {0}")]
    Lookalike(Lookalike),
}

/// Requests of Twilio that look like a status callback and belong elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lookalike {
    #[error(
        "a recording status callback; the URL for RecordingStatusCallback ends in \
         /twilio/voice/recording"
    )]
    Recording,
    #[error("a call's status callback; the URL for StatusCallback ends in /twilio/voice/status")]
    Status,
    #[error("the recording of a conference, which belongs to no call; remove this URL there")]
    ConferenceRecording,
    #[error("a conference status callback; the bridge has no use for it, so remove this URL there")]
    Conference,
    #[error(
        "the action request of <Dial>, which wants TwiML in answer; put this URL into the \
         StatusCallback of the number or of the dialled noun instead"
    )]
    DialAction,
    #[error(
        "a request for TwiML; put this URL into the number's StatusCallback (\"Call status \
         changes\"), not into \"A call comes in\""
    )]
    Twiml,
}

impl CallbackParseError {
    /// A short label for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing-field",
            Self::Repeated(_) => "repeated-field",
            Self::BadSid(_) => "bad-format",
            Self::NotUtf8 => "not-utf8",
            Self::UnexpectedQuery(_) => "unexpected-query",
            Self::Lookalike(_) => "lookalike",
        }
    }
}

/// Reads a callback from the raw form of a verified request to `url`.
pub fn read(form: &[u8], url: &str) -> Result<Callback, CallbackParseError> {
    expect_utf8(form)?;
    parse(CallbackKind::of_url(url), &fields(form), email(query(url))?)
}

fn query(url: &str) -> &str {
    url.split_once('?').map_or("", |(_, query)| query)
}

/// Decoding a form replaces what is not UTF-8, so two different forms would read the same.
pub fn expect_utf8(form: &[u8]) -> Result<(), CallbackParseError> {
    if is_ascii_decoded(form) || percent_decode(form).decode_utf8().is_ok() {
        Ok(())
    } else {
        Err(CallbackParseError::NotUtf8)
    }
}

/// Whether the decoded form is ASCII, which most forms are: a fast path that decodes nothing.
fn is_ascii_decoded(form: &[u8]) -> bool {
    let escapes = form.iter().zip(&form[1.min(form.len())..]);
    form.is_ascii()
        && escapes
            .filter(|(byte, _)| **byte == b'%')
            .all(|(_, digit)| matches!(digit, b'0'..=b'7'))
}

/// The `?email=` of the callback URL.
///
/// Any other key is refused. The signed text has no delimiters, so a forger could move a field of the
/// form into the query and keep the signature.
pub fn email(query: &str) -> Result<Option<String>, CallbackParseError> {
    let pairs = fields(query.as_bytes());
    if let Some((name, _)) = pairs.iter().find(|(name, _)| name != "email") {
        return Err(CallbackParseError::UnexpectedQuery(name.clone()));
    }
    filled(&Fields(&pairs), "email")
}

/// Reads a callback from the decoded fields of a verified form.
///
/// `email` is the `?email=` of the callback URL; it is ignored for a recording.
pub fn parse(
    form: CallbackKind,
    fields: &[(String, String)],
    email: Option<String>,
) -> Result<Callback, CallbackParseError> {
    let fields = Fields(fields);
    reject_lookalikes(form, &fields)?;
    match form {
        CallbackKind::Status => parse_status(&fields, email),
        CallbackKind::Recording => parse_recording(&fields),
    }
}

fn parse_recording(fields: &Fields<'_>) -> Result<Callback, CallbackParseError> {
    Ok(Callback {
        leg: sid(fields, "CallSid", CallSid::parse)?,
        account: sid(fields, "AccountSid", AccountSid::parse)?,
        parent: None,
        kind: CallbackContent::Recording(RecordingCallback {
            sid: sid(fields, "RecordingSid", RecordingSid::parse)?,
            status: fields
                .required("RecordingStatus")
                .map(RecordingStatus::parse)?,
            url: filled(fields, "RecordingUrl")?,
            duration: optional_seconds(fields, "RecordingDuration")?,
            started: fields.single("RecordingStartTime")?.and_then(timestamp),
        }),
    })
}

fn parse_status(
    fields: &Fields<'_>,
    email: Option<String>,
) -> Result<Callback, CallbackParseError> {
    let leg = sid(fields, "CallSid", CallSid::parse)?;
    let account = sid(fields, "AccountSid", AccountSid::parse)?;
    let status = fields.required("CallStatus").map(CallStatus::parse)?;
    let direction = fields.single("Direction")?.map(Direction::parse);
    let from = fields.single("From")?.unwrap_or_default().to_owned();
    let origin = origin(fields, direction.as_ref(), &from);
    let parent = match fields.single("ParentCallSid")? {
        None | Some("") => None,
        Some(_) if origin == FieldSource::App => None,
        Some(text) => {
            Some(CallSid::parse(text).map_err(|_| CallbackParseError::BadSid("ParentCallSid"))?)
        }
    };
    let evidence = evidence(fields);
    if !is_terminal(&status) && evidence == Evidence::Weaker {
        return Err(CallbackParseError::Lookalike(Lookalike::Twiml));
    }
    Ok(Callback {
        account,
        leg,
        parent,
        kind: CallbackContent::Status(StatusCallback {
            evidence,
            status,
            from,
            to: fields.single("To")?.unwrap_or_default().to_owned(),
            direction,
            call_duration: filled(fields, "CallDuration")?,
            origin,
            recording_sid: fields
                .single("RecordingSid")?
                .and_then(|text| RecordingSid::parse(text).ok()),
            recording_url: filled(fields, "RecordingUrl")?,
            recording_duration: optional_seconds(fields, "RecordingDuration")?,
            sequence_number: fields
                .single("SequenceNumber")?
                .and_then(|text| text.parse().ok()),
            timestamp: fields.single("Timestamp")?.and_then(timestamp),
            email,
        }),
    })
}

/// Twilio writes `CallbackSource=call-progress-events` into every status callback of a call, and into
/// no other request (Twilio docs, Voice webhooks; all captures). A web page may add a parameter of the
/// same name, so one such value is enough.
fn evidence(fields: &Fields<'_>) -> Evidence {
    let is_status_callback = |(name, value): &(String, String)| {
        name == "CallbackSource" && value == "call-progress-events"
    };
    if fields.0.iter().any(is_status_callback) {
        Evidence::StatusCallback
    } else {
        Evidence::Weaker
    }
}

/// An app's own leg is inbound and from `client:`, or has the `ApplicationSid` of a TwiML App.
fn origin(fields: &Fields<'_>, direction: Option<&Direction>, from: &str) -> FieldSource {
    let is_of_app = from.starts_with("client:") || fields.has("ApplicationSid");
    if is_of_app && direction == Some(&Direction::Inbound) {
        FieldSource::App
    } else {
        FieldSource::Twilio
    }
}

/// Fields by name, each at most once.
struct Fields<'a>(&'a [(String, String)]);

impl<'a> Fields<'a> {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    fn single(&self, name: &'static str) -> Result<Option<&'a str>, CallbackParseError> {
        let mut values = self
            .0
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (first, None) => Ok(first.map(String::as_str)),
            _ => Err(CallbackParseError::Repeated(name)),
        }
    }

    fn required(&self, name: &'static str) -> Result<&'a str, CallbackParseError> {
        match self.single(name)? {
            None | Some("") => Err(CallbackParseError::Missing(name)),
            Some(value) => Ok(value),
        }
    }
}

/// Refuses requests that Twilio should send to another URL. By the Twilio docs, recording,
/// `<Conference>` and `<Dial>` callbacks each have a field that no status callback has.
fn reject_lookalikes(form: CallbackKind, fields: &Fields<'_>) -> Result<(), CallbackParseError> {
    let is_recording = fields.has("RecordingStatus");
    let lookalike = if form == CallbackKind::Status && is_recording {
        Lookalike::Recording
    } else if form == CallbackKind::Recording && is_recording && fields.has("ConferenceSid") {
        Lookalike::ConferenceRecording
    } else if fields.has("StatusCallbackEvent") {
        Lookalike::Conference
    } else if fields.has("DialCallStatus") {
        Lookalike::DialAction
    } else if form == CallbackKind::Recording && !is_recording && fields.has("CallStatus") {
        Lookalike::Status
    } else {
        return Ok(());
    };
    Err(CallbackParseError::Lookalike(lookalike))
}

fn sid<T>(
    fields: &Fields<'_>,
    name: &'static str,
    parse: fn(&str) -> Result<T, SidError>,
) -> Result<T, CallbackParseError> {
    parse(fields.required(name)?).map_err(|_| CallbackParseError::BadSid(name))
}

/// An unknown status is terminal here, so that the bridge keeps a status that Twilio may add.
fn is_terminal(status: &CallStatus) -> bool {
    !matches!(
        status,
        CallStatus::Queued | CallStatus::Initiated | CallStatus::Ringing | CallStatus::InProgress
    )
}

fn filled(fields: &Fields<'_>, name: &'static str) -> Result<Option<String>, CallbackParseError> {
    Ok(fields
        .single(name)?
        .filter(|value| !value.is_empty())
        .map(str::to_owned))
}

/// An optional number in whole seconds; an invalid one is ignored.
fn optional_seconds(
    fields: &Fields<'_>,
    name: &'static str,
) -> Result<Option<u32>, CallbackParseError> {
    Ok(fields.single(name)?.and_then(|text| text.parse().ok()))
}

/// RFC 2822 in UTC, with or without a padded day (Twilio docs show both). An invalid one is ignored:
/// it only orders events.
fn timestamp(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests;
