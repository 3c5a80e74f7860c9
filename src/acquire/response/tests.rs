//! Acquire's responses, each with its outcome.

use super::*;

const NOW: Millis = Millis(1_700_000_000_000);
const SUCCESS: &str = r#"{"data":{"success":true,"message":"Successfully saved"}}"#;

fn retry(fault: DeliveryFault) -> Outcome {
    Outcome::Retry { fault, after: None }
}

/// The outcome of a response in a word.
fn actual(status: u16, body: &str) -> &'static str {
    outcome_of(SuccessRule::Body, status, None, body.as_bytes(), NOW).as_str()
}

#[test]
fn every_response_has_its_outcome() {
    let duplicate = r#"{"error":{"type":"ERROR_DUPLICATE_RECORD_FOUND"}}"#;
    for (status, body, outcome) in [
        (200, SUCCESS, "accepted"),
        (201, SUCCESS, "accepted"),
        (299, r#"{"success":true,"error":null}"#, "accepted"),
        (200, r#"{"data":{"success":false}}"#, "success-false"),
        (200, r#"{"success":false}"#, "success-false"),
        (200, r#"{"success":"true"}"#, "success-false"),
        (200, r#"{"data":{}}"#, "unreadable"),
        (200, "[]", "unreadable"),
        (200, "<html>Welcome</html>", "unreadable"),
        (200, &SUCCESS[..40], "unreadable"),
        (204, "", "unreadable"),
        (400, duplicate, "accepted-as-repeat"),
        (409, duplicate, "refused"),
        (422, SUCCESS, "refused"),
        (503, SUCCESS, "busy"),
        (307, SUCCESS, "configuration"),
        (103, SUCCESS, "reset"),
    ] {
        assert_eq!(actual(status, body), outcome, "{status} {body}");
    }
    for (statuses, outcome) in [
        (&[400, 402, 405][..], "refused"),
        (&[408, 425, 429, 500, 599, 999], "busy"),
        (&[301, 304, 401, 403, 404], "configuration"),
    ] {
        for status in statuses {
            assert_eq!(actual(*status, ""), outcome, "{status}");
        }
    }
}

#[test]
fn a_contradicted_success_is_no_success() {
    for (body, outcome) in [
        (
            r#"{"success":true,"error":null,"data":{"success":false,"message":"not saved"}}"#,
            "success-false",
        ),
        (
            r#"{"success":false,"data":{"success":true}}"#,
            "success-false",
        ),
        (r#"{"success":true,"data":{"success":true}}"#, "accepted"),
        (r#"{"success":null,"data":{"success":true}}"#, "accepted"),
        (r#"{"success":null,"data":{"success":null}}"#, "unreadable"),
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
        assert_eq!(actual(400, body), "accepted-as-repeat", "{body}");
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
        assert_eq!(actual(400, body), "refused", "{body}");
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
