//! Turns an HTTP response of Acquire into an [`Outcome`]: a pure function of status, `Retry-After` and
//! body.
//!
//! It sends nothing, and does not decide when a request is retried.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::acquire::{DeliveryFault, Outcome};
use crate::clock::Millis;

words! {
    /// Which 2xx responses mean that Acquire has accepted the call (`acquire.success`).
    pub enum SuccessRule {
        /// A body that says so.
        Body = "body",
        /// Any body.
        Any2xx = "any-2xx",
    }
}

/// The most characters of a body that are kept.
const MAX_EXCERPT: usize = 500;

/// Acquire's error type for a record that it has already (developer.acquire.io, branch 2.0.0,
/// "Interrelated"; 400).
const DUPLICATE: &str = "ERROR_DUPLICATE_RECORD_FOUND";

/// The start of each of Acquire's error types (same page). Other texts in the same fields, such as
/// "Bad Request" or "error", are no codes of Acquire.
const ERROR_CODE_PREFIX: &str = "ERROR_";

/// The fields that can hold an error code, in lower case and without `_`. `message` is not one: a
/// message can repeat values of the request.
const CODE_FIELDS: &[&str] = &[
    "error",
    "errors",
    "code",
    "type",
    "name",
    "errorcode",
    "errortype",
    "errorname",
];

/// The fields that can hold an object or a list with such fields; never an echo of the request.
const ERROR_OBJECTS: &[&str] = &["error", "errors", "data"];

/// The most characters of [`message`].
const MAX_MESSAGE: usize = 120;

/// The outcome of a request, from its response, which arrived at `now`.
///
/// | response | outcome |
/// | --- | --- |
/// | 2xx with `data.success` or top-level `success` true, and neither with another value | `Accepted` |
/// | any 2xx, with [`SuccessRule::Any2xx`] | `Accepted` |
/// | 2xx with another value of success | `Retry`, `SuccessFalse` |
/// | 2xx otherwise (HTML, truncated, empty, without success) | `Retry`, `Unreadable` |
/// | 400 with the error code `ERROR_DUPLICATE_RECORD_FOUND` | `AcceptedAsRepeat` |
/// | 408, 425, 429, 5xx and above | `Retry`, `Busy`, after `Retry-After` (seconds or date) |
/// | 3xx, 401, 403, 404 | `Retry`, `Configuration` |
/// | other 4xx | `Refused` |
///
/// A 1xx never arrives here, because it is not a final response; it would be a `Reset`.
pub fn outcome_of(
    success: SuccessRule,
    status: u16,
    retry_after: Option<&str>,
    body: &[u8],
    now: Millis,
) -> Outcome {
    let retry = |fault| Outcome::Retry { fault, after: None };
    match status {
        ..200 => retry(DeliveryFault::Reset),
        200..=299 => match (success, reported_success(body)) {
            (SuccessRule::Any2xx, _) | (_, Some(true)) => Outcome::Accepted,
            (SuccessRule::Body, Some(false)) => retry(DeliveryFault::SuccessFalse),
            (SuccessRule::Body, None) => retry(DeliveryFault::Unreadable),
        },
        400 if is_duplicate(body) => Outcome::AcceptedAsRepeat,
        300..=399 | 401 | 403 | 404 => retry(DeliveryFault::Configuration),
        408 | 425 | 429 | 500.. => Outcome::Retry {
            fault: DeliveryFault::Busy,
            after: retry_after.and_then(|value| requested_wait(value, now)),
        },
        400..=499 => Outcome::Refused,
    }
}

/// The value of success in the body; `None` if the body is not Acquire's JSON.
fn reported_success(body: &[u8]) -> Option<bool> {
    let body: Value = serde_json::from_slice(body).ok()?;
    // Acquire has two envelopes: `data.success`, and an older one with `success` at the top. If both
    // are present and differ, the inner one may say that nothing was saved.
    let values = [body.pointer("/data/success"), body.get("success")];
    let mut values = values
        .into_iter()
        .flatten()
        .filter(|value| !value.is_null())
        .peekable();
    values.peek()?;
    Some(values.all(|value| *value == true))
}

/// Whether the response's own error code is [`DUPLICATE`]. The word elsewhere proves nothing: a
/// message or an echo of the request can contain it, because a caller chooses its SIP address.
fn is_duplicate(body: &[u8]) -> bool {
    let Ok(body @ Value::Object(_)) = serde_json::from_slice(body) else {
        return false;
    };
    let mut codes = Vec::new();
    collect_codes(&body, &mut codes);
    let mut errors = codes
        .into_iter()
        .filter(|code| code.starts_with(ERROR_CODE_PREFIX))
        .peekable();
    errors.peek().is_some() && errors.all(|code| code == DUPLICATE)
}

/// Collects the texts in the fields that can hold an error code. Acquire does not document the shape
/// of an error, so the usual ones are read: `error`, `error.type`, `data.error.code` and so on.
fn collect_codes<'a>(value: &'a Value, codes: &mut Vec<&'a str>) {
    match value {
        Value::String(code) => codes.push(code.trim()),
        Value::Array(errors) => errors.iter().for_each(|error| collect_codes(error, codes)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace(['_', '-'], "").to_ascii_lowercase();
                let names = if value.is_string() {
                    CODE_FIELDS
                } else {
                    ERROR_OBJECTS
                };
                if names.contains(&name.as_str()) {
                    collect_codes(value, codes);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The readable message in the excerpt of a response, on one line. Words that can be personal data
/// of the request are masked, because the reason of a parked call is logged.
pub fn message(excerpt: &str) -> Option<String> {
    let body: Value = serde_json::from_str(excerpt).ok()?;
    let places = ["/data/message", "/message", "/error/message", "/error"];
    let text = places
        .iter()
        .find_map(|place| body.pointer(place)?.as_str())?;
    let is_personal = |word: &str| word.contains(['@', ':']) || word.contains(char::is_numeric);
    let words = text.split_whitespace().map(|word| {
        if is_personal(word.trim_end_matches(':')) {
            "***"
        } else {
            word
        }
    });
    let message = words.collect::<Vec<_>>().join(" ");
    let message: String = message.chars().take(MAX_MESSAGE).collect();
    (!message.is_empty()).then_some(message)
}

/// The wait that `Retry-After` requests (RFC 9110, section 10.2.3); `None` if it is invalid or in the
/// past.
pub fn requested_wait(value: &str, now: Millis) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse::<u32>().unwrap_or(u32::MAX);
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let wait = Millis::default().plus(since_epoch).since(now);
    (!wait.is_zero()).then_some(wait)
}

/// The start of a body on one line, without control characters, which could change a terminal.
pub fn excerpt(body: &[u8]) -> String {
    // A character has at most 4 bytes in UTF-8, so this cuts no character that is kept.
    let beginning = &body[..body.len().min(4 * (MAX_EXCERPT + 1))];
    String::from_utf8_lossy(beginning)
        .trim()
        .chars()
        .take(MAX_EXCERPT)
        .map(printable)
        .collect()
}

fn printable(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        // Line and paragraph separators, and marks that change the writing direction.
        '\u{2028}'
        | '\u{2029}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }
}

#[cfg(test)]
mod tests;
