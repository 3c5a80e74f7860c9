//! Turns an HTTP response of Acquire into an [`Outcome`]: a pure function of status, `Retry-After` and
//! body.
//!
//! It sends nothing, and does not decide when a request is retried.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::acquire::{DeliveryFault, Outcome};
use crate::clock::Millis;

/// Which 2xx responses mean that Acquire has accepted the call (`acquire.success`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuccessRule {
    /// A body that says so.
    Body,
    /// Any body.
    Any2xx,
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

/// The outcome of a request whose response arrived at `now`.
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
#[must_use]
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
#[must_use]
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
fn requested_wait(value: &str, now: Millis) -> Option<Duration> {
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
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);
    const SUCCESS: &str = r#"{"data":{"success":true,"message":"Successfully saved"}}"#;

    fn retry(fault: DeliveryFault) -> Outcome {
        Outcome::Retry { fault, after: None }
    }

    fn actual(status: u16, body: &str) -> Outcome {
        outcome_of(SuccessRule::Body, status, None, body.as_bytes(), NOW)
    }

    #[test]
    fn every_response_has_its_outcome() {
        let duplicate = r#"{"error":{"type":"ERROR_DUPLICATE_RECORD_FOUND"}}"#;
        for (status, body, outcome) in [
            (200, SUCCESS, Outcome::Accepted),
            (201, SUCCESS, Outcome::Accepted),
            (299, r#"{"success":true,"error":null}"#, Outcome::Accepted),
            (
                200,
                r#"{"data":{"success":false}}"#,
                retry(DeliveryFault::SuccessFalse),
            ),
            (
                200,
                r#"{"success":false}"#,
                retry(DeliveryFault::SuccessFalse),
            ),
            (
                200,
                r#"{"success":"true"}"#,
                retry(DeliveryFault::SuccessFalse),
            ),
            (200, r#"{"data":{}}"#, retry(DeliveryFault::Unreadable)),
            (200, "[]", retry(DeliveryFault::Unreadable)),
            (
                200,
                "<html>Welcome</html>",
                retry(DeliveryFault::Unreadable),
            ),
            (200, &SUCCESS[..40], retry(DeliveryFault::Unreadable)),
            (204, "", retry(DeliveryFault::Unreadable)),
            (400, duplicate, Outcome::AcceptedAsRepeat),
            (409, duplicate, Outcome::Refused),
            (400, "", Outcome::Refused),
            (402, "", Outcome::Refused),
            (405, "", Outcome::Refused),
            (422, SUCCESS, Outcome::Refused),
            (408, "", retry(DeliveryFault::Busy)),
            (425, "", retry(DeliveryFault::Busy)),
            (429, "", retry(DeliveryFault::Busy)),
            (500, "", retry(DeliveryFault::Busy)),
            (503, SUCCESS, retry(DeliveryFault::Busy)),
            (599, "", retry(DeliveryFault::Busy)),
            (999, "", retry(DeliveryFault::Busy)),
            (301, "", retry(DeliveryFault::Configuration)),
            (304, "", retry(DeliveryFault::Configuration)),
            (307, SUCCESS, retry(DeliveryFault::Configuration)),
            (401, "", retry(DeliveryFault::Configuration)),
            (403, "", retry(DeliveryFault::Configuration)),
            (404, "", retry(DeliveryFault::Configuration)),
            (103, SUCCESS, retry(DeliveryFault::Reset)),
        ] {
            assert_eq!(actual(status, body), outcome, "{status} {body}");
        }
    }

    #[test]
    fn a_contradicted_success_is_no_success() {
        for (body, outcome) in [
            (
                r#"{"success":true,"error":null,"data":{"success":false,"message":"not saved"}}"#,
                retry(DeliveryFault::SuccessFalse),
            ),
            (
                r#"{"success":false,"data":{"success":true}}"#,
                retry(DeliveryFault::SuccessFalse),
            ),
            (
                r#"{"success":true,"data":{"success":true}}"#,
                Outcome::Accepted,
            ),
            (
                r#"{"success":null,"data":{"success":true}}"#,
                Outcome::Accepted,
            ),
            (
                r#"{"success":null,"data":{"success":null}}"#,
                retry(DeliveryFault::Unreadable),
            ),
        ] {
            assert_eq!(actual(200, body), outcome, "{body}");
        }
    }

    #[test]
    fn only_the_error_code_of_a_400_makes_it_a_repeat() {
        for body in [
            r#"{"error":{"type":"ERROR_DUPLICATE_RECORD_FOUND"}}"#,
            r#"{"error":"ERROR_DUPLICATE_RECORD_FOUND"}"#,
            r#"{"error":"Bad Request","code":"ERROR_DUPLICATE_RECORD_FOUND"}"#,
            r#"{"success":false,"data":{"error":{"code":"ERROR_DUPLICATE_RECORD_FOUND"}}}"#,
            r#"{"errors":[{"error_type":"ERROR_DUPLICATE_RECORD_FOUND","message":"exists"}]}"#,
            r#"{"errors":["ERROR_DUPLICATE_RECORD_FOUND"]}"#,
            r#"{"errorCode":"ERROR_DUPLICATE_RECORD_FOUND","type":"error","status":400}"#,
        ] {
            assert_eq!(actual(400, body), Outcome::AcceptedAsRepeat, "{body}");
        }
        for body in [
            "ERROR_DUPLICATE_RECORD_FOUND",
            r#""ERROR_DUPLICATE_RECORD_FOUND""#,
            r#"{"error":{"type":"ERROR_INVALID_INPUT"},"input":{"From":"sip:ERROR_DUPLICATE_RECORD_FOUND@x"}}"#,
            r#"{"error":"ERROR_INVALID_INPUT","request":{"type":"ERROR_DUPLICATE_RECORD_FOUND"}}"#,
            r#"{"error":"ERROR_INVALID_INPUT","code":"ERROR_DUPLICATE_RECORD_FOUND"}"#,
            r#"{"message":"sip:ERROR_DUPLICATE_RECORD_FOUND@example.org is no address"}"#,
            r#"{"message":"ERROR_DUPLICATE_RECORD_FOUND"}"#,
            r#"{"error":"no address: sip:ERROR_DUPLICATE_RECORD_FOUND@example.org"}"#,
            r#"{"error":{"type":"ERROR_DUPLICATE_RECORD_FOUND"#,
        ] {
            assert_eq!(actual(400, body), Outcome::Refused, "{body}");
        }
    }

    #[test]
    fn a_message_of_acquire_is_shown_without_personal_data() {
        for (excerpt, shown) in [
            (
                r#"{"data":{"success":false,"message":"not saved"}}"#,
                Some("not saved"),
            ),
            (
                r#"{"success":false,"error":"no agent jane@example.com for +12025550123: retry"}"#,
                Some("no agent *** for *** retry"),
            ),
            (
                r#"{"message":"from sip:jane@pbx.example.com"}"#,
                Some("from ***"),
            ),
            (r#"{"data":{"success":false}}"#, None),
            ("<html>Welcome</html>", None),
        ] {
            assert_eq!(message(excerpt).as_deref(), shown, "{excerpt}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(300));
        assert_eq!(message(&long), Some("x".repeat(MAX_MESSAGE)));
    }

    #[test]
    fn any_2xx_is_success_if_the_operator_says_so() {
        for body in ["", "<html>", r#"{"success":false}"#] {
            let outcome = outcome_of(SuccessRule::Any2xx, 200, None, body.as_bytes(), NOW);
            assert_eq!(outcome, Outcome::Accepted, "{body}");
        }
        assert_eq!(
            outcome_of(SuccessRule::Any2xx, 302, None, b"", NOW),
            retry(DeliveryFault::Configuration)
        );
    }

    #[test]
    fn a_retry_after_is_read_as_seconds_or_date_and_nonsense_is_none() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (value, after) in [
            ("0", seconds(0)),
            ("120", seconds(120)),
            (" 120 ", seconds(120)),
            ("99999999999999999999999999", seconds(u32::MAX.into())),
            ("Tue, 14 Nov 2023 22:14:20 GMT", seconds(60)),
            ("Tuesday, 14-Nov-23 22:14:20 GMT", seconds(60)),
            ("Tue, 14 Nov 2023 22:12:20 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(
                outcome_of(SuccessRule::Body, 429, Some(value), b"", NOW),
                Outcome::Retry {
                    fault: DeliveryFault::Busy,
                    after
                },
                "{value:?}"
            );
        }
    }

    #[test]
    fn only_a_busy_acquire_may_ask_for_a_wait() {
        assert_eq!(
            outcome_of(SuccessRule::Body, 404, Some("9"), b"", NOW),
            retry(DeliveryFault::Configuration)
        );
    }

    #[test]
    fn an_excerpt_is_short_and_printable() {
        assert_eq!(
            excerpt("  a\r\nb\u{1b}[2J\u{202e}c\0 ".as_bytes()),
            "a  b\u{fffd}[2J\u{fffd}c\u{fffd}"
        );
        let long = excerpt("\u{1f600}".repeat(1_000).as_bytes());
        assert_eq!(long, "\u{1f600}".repeat(MAX_EXCERPT));
        assert_eq!(excerpt(b"\xff\xfeok"), "\u{fffd}\u{fffd}ok");
    }
}
