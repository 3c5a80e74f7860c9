//! Reads a [`Callback`] from the form of a verified request: a status or recording callback, each at
//! its own path. It refuses other requests of Twilio that look like one.
//!
//! It does not verify the signature; [`super::signature`] does.

mod lookalike;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use percent_encoding::{percent_decode, percent_decode_str};

use super::form::{Form, fields};
use super::{
    AccountSid, CallSid, CallStatus, Callback, CallbackContent, Direction, Evidence, FieldSource,
    RecordingCallback, RecordingSid, RecordingStatus, SidError, StatusCallback, UrlEmail,
};
use crate::clock::Millis;

pub use lookalike::{Lookalike, of_json};

/// The callbacks that a served path accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackKind {
    Status,
    Recording,
}

impl CallbackKind {
    pub const ALL: [Self; 2] = [Self::Status, Self::Recording];

    /// Where it is served, behind the prefix of a public URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Status => "/twilio/voice/status",
            Self::Recording => "/twilio/voice/recording",
        }
    }

    /// The kind of a stored callback, from its URL or path. The route decodes a path before it matches,
    /// so this does too.
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
    #[error("the form has a field without a name, which could be the end of the URL")]
    UnnamedField,
    #[error(
        "the form has a field whose name starts with \"{0}\", which could be the end of the URL; \
         start the names of parameters with a letter or _"
    )]
    PunctuatedField(char),
    #[error("the callback URL may have the query key email, and not \"{0}\"")]
    UnexpectedQuery(String),
    #[error("this is {0}")]
    Lookalike(Lookalike),
    #[error("the row of Twilio's list {0}")]
    Row(String),
}

impl CallbackParseError {
    /// A short label for counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing-field",
            Self::Repeated(_) => "repeated-field",
            Self::BadSid(_) => "bad-format",
            Self::NotUtf8 => "not-utf8",
            Self::UnnamedField | Self::PunctuatedField(_) => "field-name",
            Self::UnexpectedQuery(_) => "unexpected-query",
            Self::Lookalike(_) => "lookalike",
            Self::Row(_) => "row",
        }
    }
}

/// Reads a callback from the raw form of a verified request to `url`.
pub fn read(form: &[u8], url: &str) -> Result<Callback, CallbackParseError> {
    expect_utf8(form)?;
    parse(CallbackKind::of_url(url), &fields(form), email(query(url))?)
}

pub(super) fn query(url: &str) -> &str {
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
pub fn email(query: &str) -> Result<Option<UrlEmail>, CallbackParseError> {
    if query.is_empty() {
        return Ok(None);
    }
    let pairs = fields(query.as_bytes());
    if let Some((name, _)) = pairs.iter().find(|(name, _)| *name != "email") {
        return Err(CallbackParseError::UnexpectedQuery(name.to_owned()));
    }
    let text = filled(&Fields(&pairs), "email")?;
    Ok(text.map(|text| UrlEmail {
        text,
        has_plus: query.contains('+'),
    }))
}

/// Reads a callback from the decoded fields of a verified form.
///
/// `email` is the `?email=` of the callback URL; it is ignored for a recording.
pub fn parse(
    kind: CallbackKind,
    fields: &Form,
    email: Option<UrlEmail>,
) -> Result<Callback, CallbackParseError> {
    let fields = Fields(fields);
    expect_field_names(&fields)?;
    if let Some(lookalike) = lookalike::of_form(kind, &fields) {
        return Err(CallbackParseError::Lookalike(lookalike));
    }
    match kind {
        CallbackKind::Status => parse_status(&fields, email),
        CallbackKind::Recording => parse_recording(&fields),
    }
}

/// Refuses names that could be the end of a URL. The signed text is the URL and then the fields by
/// name, without delimiters, so a forger could move the end of the URL into a field that sorts first.
/// Punctuation separates the parts of a query (`?email=jane%40example.com`); only `_` sorts behind
/// Twilio's own fields, and names of parameters do start with it.
fn expect_field_names(fields: &Fields<'_>) -> Result<(), CallbackParseError> {
    for (name, _) in fields.0.iter() {
        match name.chars().next() {
            None => return Err(CallbackParseError::UnnamedField),
            Some(first) if first.is_ascii_punctuation() && first != '_' => {
                return Err(CallbackParseError::PunctuatedField(first));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The field that could hold the end of `email`, moved there as [`expect_field_names`] explains.
///
/// It must sort before `AccountSid`, which is the first field of Twilio's. A name can start so with a
/// digit, or with a capital letter if the e-mail is written in capital letters too.
fn end_of_email<'a>(fields: &Fields<'a>, email: &str) -> Option<&'a str> {
    let is_lowercase = email.ends_with(|last: char| last.is_ascii_lowercase());
    let could_be = |name: &&str| {
        let is_digit = name.starts_with(|first: char| first.is_ascii_digit());
        is_digit || (*name < "AccountSid" && !is_lowercase)
    };
    let names = fields.0.iter().map(|(name, _)| name);
    names.filter(could_be).min()
}

fn parse_recording(fields: &Fields<'_>) -> Result<Callback, CallbackParseError> {
    Ok(Callback {
        leg: sid(fields, "CallSid", CallSid::parse)?,
        account: sid(fields, "AccountSid", AccountSid::parse)?,
        // A recording callback names the parent leg in CallSid itself.
        parent: None,
        kind: CallbackContent::Recording(RecordingCallback {
            sid: sid(fields, "RecordingSid", RecordingSid::parse)?,
            status: fields
                .required("RecordingStatus")
                .map(RecordingStatus::parse)?,
            url: filled(fields, "RecordingUrl")?,
            duration: optional_seconds(fields, "RecordingDuration")?,
            started: fields.single("RecordingStartTime")?.and_then(timestamp),
            error_code: filled(fields, "ErrorCode")?.filter(|code| code != "0"),
        }),
    })
}

fn parse_status(
    fields: &Fields<'_>,
    email: Option<UrlEmail>,
) -> Result<Callback, CallbackParseError> {
    let leg = sid(fields, "CallSid", CallSid::parse)?;
    let account = sid(fields, "AccountSid", AccountSid::parse)?;
    let status = fields.required("CallStatus").map(CallStatus::parse)?;
    let direction = fields.single("Direction")?.map(Direction::parse);
    let from = fields.single("From")?.unwrap_or_default().to_owned();
    let origin = origin(fields, direction.as_ref(), &from);
    let parent = match fields.single("ParentCallSid")? {
        None | Some("") => None,
        // Twilio sends no parent for such a leg: the field would be the page's.
        Some(_) if origin == FieldSource::App => None,
        Some(text) => {
            Some(CallSid::parse(text).map_err(|_| CallbackParseError::BadSid("ParentCallSid"))?)
        }
    };
    let evidence = evidence(fields);
    // A status before the end without CallbackSource comes only with a request for TwiML.
    if !is_terminal(&status) && evidence == Evidence::Weaker {
        return Err(CallbackParseError::Lookalike(Lookalike::Twiml));
    }
    let unsure_email = email
        .as_ref()
        .and_then(|email| end_of_email(fields, &email.text));
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
            email: email.filter(|_| unsure_email.is_none()),
            email_ignored_for: unsure_email.map(str::to_owned),
        }),
    })
}

/// The time in a form that Twilio signed, if it has one.
pub fn reported_at(form: &[u8]) -> Option<Millis> {
    timestamp(fields(form).value("Timestamp")?).map(|at| Millis(at.as_millisecond()))
}

/// Twilio writes `CallbackSource=call-progress-events` into every status callback of a call, and into
/// no other request (Twilio docs, Voice webhooks; all captures). A web page may add a parameter of the
/// same name, so one such value is enough.
fn evidence(fields: &Fields<'_>) -> Evidence {
    let mut sources = fields.values("CallbackSource");
    if sources.any(|source| source == "call-progress-events") {
        Evidence::StatusCallback
    } else {
        Evidence::Weaker
    }
}

/// An app's own leg is inbound and from `client:`. `Caller` repeats `From`, and is read too, in case
/// the app passed a parameter named `From`. The `ApplicationSid` of a TwiML App says nothing: a number
/// of the phone network can have one too.
fn origin(fields: &Fields<'_>, direction: Option<&Direction>, from: &str) -> FieldSource {
    let mut callers = fields.values("Caller").chain([from]);
    if callers.any(|caller| caller.starts_with("client:")) && direction == Some(&Direction::Inbound)
    {
        FieldSource::App
    } else {
        FieldSource::Twilio
    }
}

/// Fields by name, each at most once.
struct Fields<'a>(&'a Form);

impl<'a> Fields<'a> {
    fn has(&self, name: &str) -> bool {
        self.0.value(name).is_some()
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.values(name)
    }

    fn single(&self, name: &'static str) -> Result<Option<&'a str>, CallbackParseError> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
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
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests;
