use proptest::prelude::*;

use super::*;

const FORM: &str = "CallSid=CA00000000000000000000000000000001\
    &AccountSid=AC00000000000000000000000000000001&CallStatus=completed&Direction=inbound\
    &From=%2B12025550123&To=%2B12025550199&CallDuration=35&Duration=1&SequenceNumber=3\
    &Timestamp=Thu%2C%2001%20Jan%202026%2000%3A00%3A09%20%2B0000\
    &CallbackSource=call-progress-events";

fn status(form: &str) -> Status {
    let Kind::Status(status) = read(form.as_bytes(), "").expect("a status callback").kind;
    status
}

fn refusal(form: &str) -> NotACallback {
    read(form.as_bytes(), "").expect_err("no status callback")
}

#[test]
fn a_status_callback_is_read_with_seconds_not_minutes() {
    let status = status(FORM);
    assert_eq!(status.status, CallStatus::Completed);
    assert_eq!(status.from, "+12025550123");
    assert_eq!(status.to, "+12025550199");
    assert_eq!(status.direction, Some(Direction::Inbound));
    assert_eq!(status.call_duration.as_deref(), Some("35"));
    assert_eq!(status.sequence_number, Some(3));
    assert_eq!(
        status.timestamp,
        Some("2026-01-01T00:00:09Z".parse().expect("a time"))
    );
}

#[test]
fn a_timestamp_is_read_with_an_unpadded_day_and_a_wrong_weekday() {
    for text in [
        "Thu%2C+1+Jan+2026+00%3A00%3A09+%2B0000",
        "Fri%2C+01+Jan+2026+00%3A00%3A09+%2B0000",
    ] {
        let form = FORM.replace("Thu%2C%2001%20Jan%202026%2000%3A00%3A09%20%2B0000", text);
        assert!(status(&form).timestamp.is_some(), "{text}");
    }
    let form = FORM.replace("Thu%2C%2001", "yesterday");
    assert_eq!(status(&form).timestamp, None);
}

#[test]
fn a_child_leg_belongs_to_the_call_of_its_parent() {
    let form = format!("{FORM}&ParentCallSid=CA00000000000000000000000000000002");
    let callback = read(form.as_bytes(), "").expect("a status callback");
    assert_eq!(
        callback.call().as_str(),
        "CA00000000000000000000000000000002"
    );
    assert_eq!(
        callback.key().as_str(),
        "CA00000000000000000000000000000001/status/completed"
    );
    let first = read(format!("{FORM}&ParentCallSid=").as_bytes(), "").expect("no parent");
    assert_eq!(first.parent, None);
}

#[test]
fn a_form_that_lacks_or_repeats_what_is_used_is_refused() {
    let without = |name: &str| -> String {
        let kept = FORM.split('&').filter(|field| !field.starts_with(name));
        kept.collect::<Vec<_>>().join("&")
    };
    for (form, expected) in [
        (without("CallSid="), NotACallback::Missing("CallSid")),
        (without("AccountSid="), NotACallback::Missing("AccountSid")),
        (without("CallStatus="), NotACallback::Missing("CallStatus")),
        (
            FORM.replace("=completed", "="),
            NotACallback::Missing("CallStatus"),
        ),
        (
            format!("{FORM}&CallSid=CA00000000000000000000000000000001"),
            NotACallback::Repeated("CallSid"),
        ),
        (format!("{FORM}&To=x"), NotACallback::Repeated("To")),
        (
            FORM.replace("=CA0", "=ca0"),
            NotACallback::BadSid("CallSid"),
        ),
        (
            FORM.replace("=AC0", "=ACg"),
            NotACallback::BadSid("AccountSid"),
        ),
        (
            format!("{FORM}&ParentCallSid=1"),
            NotACallback::BadSid("ParentCallSid"),
        ),
        (format!("{FORM}&CallerName=%FF"), NotACallback::NotUtf8),
    ] {
        assert_eq!(refusal(&form), expected, "{form}");
    }
}

#[test]
fn what_looks_like_a_status_callback_is_named_for_what_it_is() {
    for (more, expected) in [
        ("RecordingStatus=completed", Lookalike::Recording),
        (
            "StatusCallbackEvent=participant-leave",
            Lookalike::Conference,
        ),
        ("DialCallStatus=busy", Lookalike::DialAction),
    ] {
        let refusal = refusal(&format!("{FORM}&{more}"));
        assert_eq!(refusal, NotACallback::Lookalike(expected), "{more}");
        assert_eq!(refusal.reason(), "lookalike");
    }
    let twiml = FORM
        .replace("=completed", "=ringing")
        .replace("&CallbackSource=call-progress-events", "");
    assert_eq!(refusal(&twiml), NotACallback::Lookalike(Lookalike::Twiml));
}

#[test]
fn an_unknown_status_or_direction_is_kept_as_it_was_sent() {
    let form = FORM
        .replace("=completed", "=parked")
        .replace("=inbound", "=sideways");
    let status = status(&form);
    assert_eq!(status.status, CallStatus::Unknown("parked".into()));
    assert_eq!(
        status.direction,
        Some(Direction::Unknown("sideways".into()))
    );
}

#[test]
fn the_query_may_name_an_email_and_nothing_else() {
    let some = |text: &str| Ok(Some(text.to_owned()));
    for (query, expected) in [
        ("", Ok(None)),
        ("email=", Ok(None)),
        (
            "email=jane%2Bcalls%40example.com",
            some("jane+calls@example.com"),
        ),
        (
            "email=a%40b&email=c%40d",
            Err(NotACallback::Repeated("email")),
        ),
        (
            "Email=a%40b",
            Err(NotACallback::UnexpectedQuery("Email".to_owned())),
        ),
        (
            "x=1CallSidCA0",
            Err(NotACallback::UnexpectedQuery("x".to_owned())),
        ),
    ] {
        assert_eq!(email(query), expected, "{query}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_read(form: Vec<u8>, query in "\\PC{0,30}") {
        let _ = read(&form, &query);
    }

    #[test]
    fn no_value_of_a_known_field_is_too_strange(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "CallSid", "AccountSid", "ParentCallSid", "CallStatus", "CallDuration",
                    "Timestamp", "SequenceNumber", "CallbackSource", "Direction",
                ]),
                "\\PC{0,20}|CA[0-9a-f]{32}|AC[0-9a-f]{32}|completed|[0-9]{1,30}",
            ),
            0..9,
        ),
    ) {
        let fields: Vec<(String, String)> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let _ = parse(&fields, None);
    }
}
