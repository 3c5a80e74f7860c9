//! Status callbacks as Twilio sends them, and forms with missing, repeated or random fields.

mod email;
mod lookalikes;

use proptest::prelude::*;

use super::*;

const FORM: &str = "CallSid=CA00000000000000000000000000000001\
    &AccountSid=AC00000000000000000000000000000001&CallStatus=completed&Direction=inbound\
    &From=%2B12025550123&To=%2B12025550199&CallDuration=35&Duration=1&SequenceNumber=3\
    &Timestamp=Thu%2C%2001%20Jan%202026%2000%3A00%3A09%20%2B0000\
    &CallbackSource=call-progress-events";

fn status(form: &str) -> StatusCallback {
    let CallbackContent::Status(status) =
        read(form.as_bytes(), "").expect("a status callback").kind
    else {
        panic!("a status");
    };
    status
}

fn refusal(form: &str) -> CallbackParseError {
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
fn the_parent_that_an_app_names_is_not_believed() {
    let parent = "&ParentCallSid=CA00000000000000000000000000000002";
    for (form, origin) in [
        (
            FORM.replace("%2B12025550123", "client%3Ajane"),
            FieldSource::App,
        ),
        (format!("{FORM}&ApplicationSid=x"), FieldSource::Twilio),
        (format!("{FORM}&Caller=client%3Ajane"), FieldSource::App),
        (FORM.to_owned(), FieldSource::Twilio),
        (
            FORM.replace("%2B12025550123", "client%3Ajane")
                .replace("inbound", "outbound-dial"),
            FieldSource::Twilio,
        ),
    ] {
        assert_eq!(status(&form).origin, origin, "{form}");
        let callback = read((form.clone() + parent).as_bytes(), "").expect("a status callback");
        let is_believed = callback.parent.is_some();
        assert_eq!(is_believed, origin == FieldSource::Twilio, "{form}");
    }
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
fn a_weaker_end_is_no_repeat_of_the_status_callback() {
    let weaker = FORM.replace("&CallbackSource=call-progress-events", "");
    let key = |form: &str| {
        let callback = read(form.as_bytes(), "").expect("a status callback");
        callback.key().to_string()
    };
    assert_eq!(status(FORM).evidence, Evidence::StatusCallback);
    assert_eq!(status(&weaker).evidence, Evidence::Weaker);
    assert_eq!(key(&weaker), format!("{}/weaker", key(FORM)));
}

#[test]
fn a_form_that_lacks_or_repeats_what_is_used_is_refused() {
    let without = |name: &str| -> String {
        let kept = FORM.split('&').filter(|field| !field.starts_with(name));
        kept.collect::<Vec<_>>().join("&")
    };
    for (form, expected) in [
        (without("CallSid="), CallbackParseError::Missing("CallSid")),
        (
            without("AccountSid="),
            CallbackParseError::Missing("AccountSid"),
        ),
        (
            without("CallStatus="),
            CallbackParseError::Missing("CallStatus"),
        ),
        (
            FORM.replace("=completed", "="),
            CallbackParseError::Missing("CallStatus"),
        ),
        (
            format!("{FORM}&CallSid=CA00000000000000000000000000000001"),
            CallbackParseError::Repeated("CallSid"),
        ),
        (format!("{FORM}&To=x"), CallbackParseError::Repeated("To")),
        (
            FORM.replace("=CA0", "=ca0"),
            CallbackParseError::BadSid("CallSid"),
        ),
        (
            FORM.replace("=AC0", "=ACg"),
            CallbackParseError::BadSid("AccountSid"),
        ),
        (
            format!("{FORM}&ParentCallSid=1"),
            CallbackParseError::BadSid("ParentCallSid"),
        ),
        (
            format!("{FORM}&CallerName=%FF"),
            CallbackParseError::NotUtf8,
        ),
    ] {
        assert_eq!(refusal(&form), expected, "{form}");
    }
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

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_a_panic(form: Vec<u8>, query in "\\PC{0,30}") {
        for path in ["", "/twilio/voice/recording"] {
            let _ = read(&form, &format!("{path}?{query}"));
        }
    }

    #[test]
    fn any_value_of_a_known_field_is_parsed_without_a_panic(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "CallSid", "AccountSid", "ParentCallSid", "CallStatus", "CallDuration",
                    "Timestamp", "SequenceNumber", "CallbackSource", "Direction", "Digits",
                    "RecordingUrl", "Result", "Sid", "TaskSid", "", "9", "?",
                ]),
                "\\PC{0,20}|CA[0-9a-f]{32}|AC[0-9a-f]{32}|completed|[0-9]{1,30}",
            ),
            0..9,
        ),
    ) {
        let fields: Form = fields.into_iter().collect();
        for form in CallbackKind::ALL {
            let _ = parse(form, &fields, None);
        }
    }
}

#[test]
fn the_kind_of_a_stored_callback_follows_from_its_decoded_path() {
    for (url, kind) in [
        (AT_RECORDING, CallbackKind::Recording),
        ("/twilio/voice/recordin%67?email=a", CallbackKind::Recording),
        ("/twilio/voice/status", CallbackKind::Status),
        (
            "/twilio/voice/status?/twilio/voice/recording",
            CallbackKind::Status,
        ),
    ] {
        assert_eq!(CallbackKind::of_url(url), kind, "{url}");
    }
}

const RECORDING: &str = "RecordingSource=DialVerb&RecordingSid=RE00000000000000000000000000000001\
    &RecordingUrl=https%3A%2F%2Fapi.example.com%2FRE1&RecordingStatus=completed&ErrorCode=0\
    &CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000001\
    &RecordingDuration=11&RecordingStartTime=Thu%2C%2001%20Jan%202026%2000%3A00%3A09%20%2B0000";

const AT_RECORDING: &str = "https://bridge.example.com/x/twilio/voice/recording";

#[test]
fn a_recording_callback_names_its_call_and_nothing_else_of_it() {
    let callback = read(RECORDING.as_bytes(), AT_RECORDING).expect("a recording callback");
    assert_eq!(callback.call(), &callback.leg);
    assert_eq!(
        callback.key().as_str(),
        "CA00000000000000000000000000000001/recording/RE00000000000000000000000000000001/completed"
    );
    let CallbackContent::Recording(recording) = callback.kind else {
        panic!("a recording");
    };
    assert_eq!(recording.status, RecordingStatus::Completed);
    assert_eq!(
        recording.url.as_deref(),
        Some("https://api.example.com/RE1")
    );
    assert_eq!(recording.duration, Some(11));
}

#[test]
fn a_recording_status_that_is_not_known_is_kept() {
    let form = RECORDING.replace("=completed", "=paused");
    let callback = read(form.as_bytes(), AT_RECORDING).expect("a recording callback");
    assert!(matches!(
        callback.kind,
        CallbackContent::Recording(RecordingCallback { status: RecordingStatus::Unknown(text), .. }) if &*text == "paused"
    ));
}

#[test]
fn each_path_accepts_its_own_callbacks_and_names_the_others() {
    let at_recording = |form: &str| read(form.as_bytes(), AT_RECORDING).expect_err("no recording");
    assert_eq!(
        refusal(RECORDING),
        CallbackParseError::Lookalike(Lookalike::Recording)
    );
    assert_eq!(
        at_recording(FORM),
        CallbackParseError::Lookalike(Lookalike::Status)
    );
    let conference = RECORDING.replace("&CallSid=CA", "&ConferenceSid=CF");
    assert_eq!(
        at_recording(&conference),
        CallbackParseError::Lookalike(Lookalike::ConferenceRecording)
    );
    let bare = RECORDING.replace("&RecordingStatus=completed", "");
    assert_eq!(
        at_recording(&bare),
        CallbackParseError::Missing("RecordingStatus")
    );
    let other = RECORDING.replace("RecordingSid=RE", "RecordingSid=XX");
    assert_eq!(
        at_recording(&other),
        CallbackParseError::BadSid("RecordingSid")
    );
}
