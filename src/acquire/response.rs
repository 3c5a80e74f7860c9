//! Turns an HTTP response of Acquire into an [`Outcome`]: a pure function of status, `Retry-After` and
//! body.
//!
//! It sends nothing, and does not decide when a request is retried.

use std::time::{Duration, SystemTime};

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

/// The outcome of a request; its response arrived at `now`.
///
/// | response | outcome |
/// | --- | --- |
/// | 2xx with `data.success` true, or top-level `success` true | `Accepted` |
/// | any 2xx, with [`SuccessRule::Any2xx`] | `Accepted` |
/// | 2xx with another value of success | `Retry`, `SuccessFalse` |
/// | 2xx otherwise (HTML, truncated, empty, without success) | `Retry`, `Unreadable` |
/// | 400 naming `ERROR_DUPLICATE_RECORD_FOUND` | `AcceptedAsRepeat` |
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
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let values = [body.pointer("/data/success"), body.get("success")];
    let mut values = values.into_iter().flatten().peekable();
    values.peek()?;
    Some(values.any(|value| value == true))
}

fn is_duplicate(body: &[u8]) -> bool {
    body.windows(DUPLICATE.len())
        .any(|window| window == DUPLICATE.as_bytes())
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
