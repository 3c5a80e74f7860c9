//! A request of Twilio as a text file, in the format of REST clients of editors.
//!
//! The file holds no signature: it is made when the fixture is sent.
//!
//! ```text
//! # an inbound call that was answered
//! POST https://bridge.example.com/twilio/voice/status HTTP/1.1
//! Content-Type: application/x-www-form-urlencoded
//!
//! CallSid=CA00000000000000000000000000000001
//! &CallStatus=completed
//! ```
//!
//! The lines of the body, joined without line ends, are the exact body. A body that lines cannot
//! represent exactly is written as `# body-base64:` lines.

pub mod builtin;
mod capture;

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::twilio::callback::CallbackParseError;
use crate::twilio::listed::{self, RequestSource};
use crate::twilio::{Callback, RawUrl};

/// The largest file that is read, in bytes; Twilio's own requests are below 64 KiB.
const MAX_BYTES: u64 = 1 << 20;

const BASE64_LINE: &str = "# body-base64:";
/// Characters in one base64 line: a multiple of four, so that each line can be read alone.
const BASE64_WIDTH: usize = 76;

/// One request as Twilio would send it, without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixture {
    /// The comment at the start of the file; may have several lines.
    pub description: String,
    pub method: String,
    /// The whole URL as entered at Twilio.
    pub url: String,
    /// In the order of the file.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A mistake in a fixture, with its file and line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {kind}", line.map_or_else(String::new, |line| format!(":{line}")))]
pub struct FixtureError {
    pub file: String,
    /// Counted from 1; `None` for the whole file.
    pub line: Option<usize>,
    pub kind: FixtureErrorKind,
}

/// Why a file is not a fixture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixtureErrorKind {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("is larger than 1 MiB")]
    TooLarge,
    #[error("is not UTF-8")]
    NotUtf8,
    #[error("has no request line such as \"POST https://bridge.example.com/path HTTP/1.1\"")]
    NoRequestLine,
    #[error("has only a path: pass --url, the whole URL as entered at Twilio")]
    NoUrl,
    #[error("the URL must start with https:// or http://, followed by a host")]
    NotAUrl,
    #[error("a header must read \"Name: value\"; the body starts after an empty line")]
    NotAHeader,
    #[error("each line of the body but the first must start with &")]
    NotAField,
    #[error("a body is written either as lines or as base64, not as both")]
    TwoBodies,
    #[error("is not base64")]
    NotBase64,
}

impl Fixture {
    /// Reads a file of at most 1 MiB.
    pub fn read(path: &Path) -> Result<Self, FixtureError> {
        let file = path.display().to_string();
        let bytes = read_bytes(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| FixtureError {
            file: file.clone(),
            line: Some(lines_of(&bytes[..error.valid_up_to()])),
            kind: FixtureErrorKind::NotUtf8,
        })?;
        Self::parse(&file, text)
    }

    /// Reads the text of `file`, which is named in errors only.
    pub fn parse(file: &str, text: &str) -> Result<Self, FixtureError> {
        let mut lines = Lines::of(text);
        Self::read_from(&mut lines).map_err(|kind| FixtureError {
            file: file.to_owned(),
            line: Some(lines.number.max(1)),
            kind,
        })
    }

    fn read_from(lines: &mut Lines<'_>) -> Result<Self, FixtureErrorKind> {
        let description = read_description(lines);
        let (method, url) = read_request_line(lines)?;
        let headers = read_headers(lines)?;
        let body = read_body(lines)?;
        Ok(Self {
            description,
            method,
            url,
            headers,
            body,
        })
    }

    /// Scheme, host and port of the URL, without user info, which Twilio does not sign.
    pub fn base(&self) -> String {
        RawUrl::of(&self.url).origin()
    }

    /// Path and query of the URL, as in the request line.
    pub fn target(&self) -> String {
        let target = RawUrl::of(&self.url).target();
        if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        }
    }

    /// The query of the URL; empty if it has none.
    pub fn query(&self) -> &str {
        RawUrl::of(&self.url).query.unwrap_or_default()
    }

    /// Reads it as the bridge reads a stored request, also one that was imported from Twilio's records.
    pub fn callback(&self) -> Result<Callback, CallbackParseError> {
        listed::read_stored(&self.url, &self.header_lines(), &self.body)
    }

    /// The headers, `name: value` a line, as they are stored.
    pub fn header_lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.headers {
            lines.extend([&name.to_ascii_lowercase(), ": ", value, "\n"]);
        }
        lines
    }

    /// Where the request comes from.
    pub fn source(&self) -> RequestSource {
        RequestSource::of(&self.header_lines())
    }

    /// Whether the body is JSON, which the signature covers by its hash alone.
    pub fn is_json(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            let essence = value.split(';').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("content-type")
                && essence.eq_ignore_ascii_case("application/json")
        })
    }
}

fn lines_of(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count()
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, FixtureError> {
    let fail = |kind| FixtureError {
        file: path.display().to_string(),
        line: None,
        kind,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| fail(FixtureErrorKind::Unreadable(error.to_string())))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fail(FixtureErrorKind::TooLarge));
    }
    Ok(bytes)
}

/// An iterator of lines with the number of the last one.
struct Lines<'a> {
    rest: std::iter::Peekable<std::str::Lines<'a>>,
    number: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            rest: text.lines().peekable(),
            number: 0,
        }
    }

    fn take(&mut self) -> Option<&'a str> {
        let line = self.rest.next()?;
        self.number += 1;
        Some(line)
    }

    fn take_if(&mut self, wanted: impl Fn(&str) -> bool) -> Option<&'a str> {
        self.rest.peek().filter(|line| wanted(line))?;
        self.take()
    }
}

fn read_description(lines: &mut Lines<'_>) -> String {
    let mut description = Vec::new();
    while let Some(line) = lines.take_if(|line| line.is_empty() || line.starts_with('#')) {
        if let Some(text) = line.strip_prefix('#') {
            let text = text.strip_prefix(' ').unwrap_or(text);
            // `lines` removes only one of them, so that another would be lost when it is read again.
            description.push(text.trim_end_matches('\r'));
        }
    }
    description.join("\n")
}

fn read_request_line(lines: &mut Lines<'_>) -> Result<(String, String), FixtureErrorKind> {
    let line = lines.take().ok_or(FixtureErrorKind::NoRequestLine)?;
    let mut words = line.split(' ');
    let (Some(method), Some(url)) = (words.next(), words.next()) else {
        return Err(FixtureErrorKind::NoRequestLine);
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let version_is_known = matches!(words.next(), None | Some("HTTP/1.1" | "HTTP/1.0"));
    if !is_method || !version_is_known || words.next().is_some() {
        return Err(FixtureErrorKind::NoRequestLine);
    }
    let parts = RawUrl::of(url);
    let is_http = ["https", "http"].contains(&parts.scheme);
    if !is_http || parts.host.is_empty() || url.contains(char::is_control) {
        return Err(FixtureErrorKind::NotAUrl);
    }
    Ok((method.to_owned(), url.to_owned()))
}

fn read_headers(lines: &mut Lines<'_>) -> Result<Vec<(String, String)>, FixtureErrorKind> {
    let mut headers = Vec::new();
    while let Some(line) = lines.take() {
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(FixtureErrorKind::NotAHeader)?;
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name || value.contains(char::is_control) {
            return Err(FixtureErrorKind::NotAHeader);
        }
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(headers)
}

fn read_body(lines: &mut Lines<'_>) -> Result<Vec<u8>, FixtureErrorKind> {
    let mut body = Vec::new();
    let mut ended = false;
    let mut in_base64 = None;
    while let Some(line) = lines.take() {
        // Empty lines may only end the file.
        if line.is_empty() {
            ended = true;
            continue;
        }
        let encoded = line.strip_prefix(BASE64_LINE);
        if *in_base64.get_or_insert(encoded.is_some()) != encoded.is_some() {
            return Err(FixtureErrorKind::TwoBodies);
        }
        match encoded {
            Some(text) => STANDARD
                .decode_vec(text.trim(), &mut body)
                .map_err(|_| FixtureErrorKind::NotBase64)?,
            None if ended || !(body.is_empty() || line.starts_with('&')) => {
                return Err(FixtureErrorKind::NotAField);
            }
            None => body.extend_from_slice(line.as_bytes()),
        }
    }
    Ok(body)
}

/// The body as text, if its lines represent it exactly.
fn as_lines(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let is_exact = !text.starts_with('#') && !text.contains(char::is_control);
    is_exact.then_some(text)
}

/// The format that [`Fixture::parse`] reads.
impl fmt::Display for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.description.is_empty() {
            for line in self.description.split('\n') {
                let gap = if line.is_empty() { "" } else { " " };
                writeln!(f, "#{gap}{line}")?;
            }
        }
        writeln!(f, "{} {} HTTP/1.1", self.method, self.url)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        if self.body.is_empty() {
            return Ok(());
        }
        writeln!(f)?;
        let Some(text) = as_lines(&self.body) else {
            let encoded = STANDARD.encode(&self.body);
            return encoded
                .as_bytes()
                .chunks(BASE64_WIDTH)
                .try_for_each(|line| {
                    writeln!(f, "{BASE64_LINE} {}", String::from_utf8_lossy(line))
                });
        };
        // A body may start with &, which does not start a line then.
        let first = text.chars().next().map_or(0, char::len_utf8);
        let (first, rest) = text.split_at(first);
        writeln!(f, "{first}{}", rest.replace('&', "\n&"))
    }
}

/// The expected request to Acquire, or why there is none: `fixtures/acquire/<case>.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    Skipped { skipped: String },
    Parked { parked: String },
    Refused { refused: u16 },
    CallEnd(serde_json::Map<String, serde_json::Value>),
}

#[cfg(test)]
mod tests;
