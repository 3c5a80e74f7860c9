//! What an answer of Acquire means: a pure function of status, `Retry-After` and body.

use std::time::{Duration, SystemTime};

use crate::acquire::{DeliveryFault, Outcome};
use crate::clock::Millis;

/// Which 2xx answers mean that Acquire has the call (`acquire.success`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuccessRule {
    /// Those whose body says so.
    Body,
    Any2xx,
}

/// The characters of a body that are kept.
const MAX_EXCERPT: usize = 500;

/// Acquire's error type for a record that it has already (developer.acquire.io, branch 2.0.0,
/// "Interrelated"; 400).
const DUPLICATE: &str = "ERROR_DUPLICATE_RECORD_FOUND";

/// Judges one answer that arrived at `now`.
///
/// | Acquire's answer | outcome |
/// | --- | --- |
/// | 2xx with `data.success` true, or top-level `success` true | `Accepted` |
/// | any 2xx, with [`Success::Any2xx`] | `Accepted` |
/// | 2xx that says success is something else | `Again`, `SuccessFalse` |
/// | 2xx otherwise (HTML, cut off, empty, silent about success) | `Again`, `Unreadable` |
/// | 400 naming `ERROR_DUPLICATE_RECORD_FOUND` | `AcceptedAsRepeat` |
/// | 408, 425, 429, 5xx and above | `Again`, `Busy`, after `Retry-After` (seconds or date) |
/// | 3xx, 401, 403, 404 | `Again`, `Configuration` |
/// | other 4xx | `Refused` |
///
/// A 1xx is no answer and never arrives here; if one did, it would count as a broken connection.
#[must_use]
pub fn outcome_of(
    success: SuccessRule,
    status: u16,
    retry_after: Option<&str>,
    body: &[u8],
    now: Millis,
) -> Outcome {
    let again = |fault| Outcome::Retry { fault, after: None };
    match status {
        ..200 => again(DeliveryFault::Reset),
        200..=299 => match (success, says_success(body)) {
            (SuccessRule::Any2xx, _) | (_, Some(true)) => Outcome::Accepted,
            (SuccessRule::Body, Some(false)) => again(DeliveryFault::SuccessFalse),
            (SuccessRule::Body, None) => again(DeliveryFault::Unreadable),
        },
        400 if names_duplicate(body) => Outcome::AcceptedAsRepeat,
        300..=399 | 401 | 403 | 404 => again(DeliveryFault::Configuration),
        408 | 425 | 429 | 500.. => Outcome::Retry {
            fault: DeliveryFault::Busy,
            after: retry_after.and_then(|value| wait_asked(value, now)),
        },
        400..=499 => Outcome::Refused,
    }
}

/// What the body says of success; nothing if it is not Acquire's JSON.
fn says_success(body: &[u8]) -> Option<bool> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let told = [body.pointer("/data/success"), body.get("success")];
    let mut told = told.into_iter().flatten().peekable();
    told.peek()?;
    Some(told.any(|value| value == true))
}

fn names_duplicate(body: &[u8]) -> bool {
    body.windows(DUPLICATE.len())
        .any(|window| window == DUPLICATE.as_bytes())
}

/// The wait that a `Retry-After` asks for (RFC 9110, section 10.2.3); nothing if it makes no sense
/// or is over.
fn wait_asked(value: &str, now: Millis) -> Option<Duration> {
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

/// The beginning of a body on one line, without characters that would act on a terminal.
pub fn excerpt(body: &[u8]) -> String {
    // No character takes more than 4 bytes, so this cuts none that is shown.
    let beginning = &body[..body.len().min(4 * (MAX_EXCERPT + 1))];
    String::from_utf8_lossy(beginning)
        .trim()
        .chars()
        .take(MAX_EXCERPT)
        .map(harmless)
        .collect()
}

fn harmless(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => ' ',
        // Line and paragraph separators, and the marks that turn the direction of writing.
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

    fn again(fault: DeliveryFault) -> Outcome {
        Outcome::Retry { fault, after: None }
    }

    fn judged(status: u16, body: &str) -> Outcome {
        outcome_of(SuccessRule::Body, status, None, body.as_bytes(), NOW)
    }

    #[test]
    fn every_answer_has_its_outcome() {
        let duplicate = r#"{"error":{"type":"ERROR_DUPLICATE_RECORD_FOUND"}}"#;
        for (status, body, outcome) in [
            (200, SUCCESS, Outcome::Accepted),
            (201, SUCCESS, Outcome::Accepted),
            (299, r#"{"success":true,"error":null}"#, Outcome::Accepted),
            (
                200,
                r#"{"data":{"success":false}}"#,
                again(DeliveryFault::SuccessFalse),
            ),
            (
                200,
                r#"{"success":false}"#,
                again(DeliveryFault::SuccessFalse),
            ),
            (
                200,
                r#"{"success":"true"}"#,
                again(DeliveryFault::SuccessFalse),
            ),
            (200, r#"{"data":{}}"#, again(DeliveryFault::Unreadable)),
            (200, "[]", again(DeliveryFault::Unreadable)),
            (
                200,
                "<html>Welcome</html>",
                again(DeliveryFault::Unreadable),
            ),
            (200, &SUCCESS[..40], again(DeliveryFault::Unreadable)),
            (204, "", again(DeliveryFault::Unreadable)),
            (400, duplicate, Outcome::AcceptedAsRepeat),
            (409, duplicate, Outcome::Refused),
            (400, "", Outcome::Refused),
            (402, "", Outcome::Refused),
            (405, "", Outcome::Refused),
            (422, SUCCESS, Outcome::Refused),
            (408, "", again(DeliveryFault::Busy)),
            (425, "", again(DeliveryFault::Busy)),
            (429, "", again(DeliveryFault::Busy)),
            (500, "", again(DeliveryFault::Busy)),
            (503, SUCCESS, again(DeliveryFault::Busy)),
            (599, "", again(DeliveryFault::Busy)),
            (999, "", again(DeliveryFault::Busy)),
            (301, "", again(DeliveryFault::Configuration)),
            (304, "", again(DeliveryFault::Configuration)),
            (307, SUCCESS, again(DeliveryFault::Configuration)),
            (401, "", again(DeliveryFault::Configuration)),
            (403, "", again(DeliveryFault::Configuration)),
            (404, "", again(DeliveryFault::Configuration)),
            (103, SUCCESS, again(DeliveryFault::Reset)),
        ] {
            assert_eq!(judged(status, body), outcome, "{status} {body}");
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
            again(DeliveryFault::Configuration)
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
            again(DeliveryFault::Configuration)
        );
    }

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        assert_eq!(
            excerpt("  a\r\nb\u{1b}[2J\u{202e}c\0 ".as_bytes()),
            "a  b\u{fffd}[2J\u{fffd}c\u{fffd}"
        );
        let long = excerpt("\u{1f600}".repeat(1_000).as_bytes());
        assert_eq!(long, "\u{1f600}".repeat(MAX_EXCERPT));
        assert_eq!(excerpt(b"\xff\xfeok"), "\u{fffd}\u{fffd}ok");
    }
}
