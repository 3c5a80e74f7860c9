//! Status callbacks as Twilio sends them, and forms with missing, repeated or random fields.

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
fn no_field_makes_another_request_of_a_status_callback() {
    for more in [
        "RecordingStatus=allowed",
        "StatusCallbackEvent=page-opened",
        "DialCallStatus=wanted",
        "CallbackSource=page",
        "Digits=3&RecordingUrl=x&QueueResult=x&TaskSid=x&MessageSid=x&PayloadType=x&Result=x",
    ] {
        let form = format!("{FORM}&{more}");
        assert_eq!(status(&form).evidence, Evidence::StatusCallback, "{more}");
    }
}

/// The fixtures `refused-*.http` have the whole requests.
#[test]
fn a_request_without_callback_source_is_named_by_its_own_fields() {
    let bare = "CallSid=CA00000000000000000000000000000001\
        &AccountSid=AC00000000000000000000000000000001&From=%2B12025550123&Direction=inbound";
    for (more, expected) in [
        ("CallStatus=completed&DialCallStatus=busy", "<Dial>"),
        ("CallStatus=completed&RecordingUrl=x", "<Record>"),
        ("CallStatus=completed&Digits=", "<Gather>"),
        ("CallStatus=completed&QueueResult=hangup", "<Enqueue>"),
        ("CallStatus=completed&HandoffData=x", "<Connect>"),
        ("CallStatus=completed&ReferCallStatus=x", "<Refer>"),
        ("CallStatus=completed&Result=caller-hung-up", "<Pay>"),
        ("CallStatus=completed&SmsStatus=sent", "<Sms>"),
        (
            "CallStatus=completed&RecordingStatus=completed",
            "/twilio/voice/recording",
        ),
        ("CallStatus=completed&DialCallDuration=5", "<Dial>"),
        ("CallStatus=completed&DialSipResponseCode=486", "<Dial>"),
        ("CallStatus=completed&SessionId=VX1", "<Connect>"),
        ("CallStatus=completed&VirtualAgentErrorCode=1", "<Connect>"),
        ("CallStatus=completed&Confidence=0.9", "<Gather>"),
        ("CallStatus=completed&TaskAttributes={}", "TaskRouter"),
        ("CallStatus=completed&AnsweredBy=human", "answering machine"),
        ("CallStatus=in-progress&AnsweredBy=human", "TwiML"),
        ("StatusCallbackEvent=participant-leave", "conference"),
        ("MachineDetectionDuration=3400", "answering machine"),
        ("PaymentSid=PK1&CallStatus=completed", "Payments API"),
        ("CallStatus=ringing", "TwiML"),
    ] {
        let refusal = refusal(&format!("{bare}&{more}"));
        assert!(
            matches!(refusal, CallbackParseError::Lookalike(_)),
            "{more}"
        );
        assert_eq!(refusal.reason(), "lookalike");
        assert!(refusal.to_string().contains(expected), "{more}: {refusal}");
    }
}

#[test]
fn a_terminal_status_that_nothing_names_is_weaker_evidence() {
    let weaker = FORM.replace("&CallbackSource=call-progress-events", "");
    for more in [
        "",
        "&CallbackSource=page",
        "&RecordingUrl=https%3A%2F%2Fexample.com",
        "&AnsweredBy=human",
        "&agent=jane&rpm.id=1",
    ] {
        let form = format!("{weaker}{more}");
        assert_eq!(status(&form).evidence, Evidence::Weaker, "{more}");
    }
}

#[test]
fn a_json_body_is_named_by_its_events_or_fields() {
    let named = |json: &str| of_json(json.as_bytes()).map(|lookalike| lookalike.to_string());
    for (json, expected) in [
        (
            r#"[{"specversion":"1.0","type":"com.twilio.voice.x","data":{}}]"#,
            "Event Streams",
        ),
        (
            r#"{"type":"com.twilio.studio.flow.step.ended"}"#,
            "Event Streams",
        ),
        (r#"{"flow_sid":"FW1","execution_sid":"FN1"}"#, "Studio"),
        (
            r#"{"EventType":"task.created","TaskSid":"WT1"}"#,
            "TaskRouter",
        ),
    ] {
        let name = named(json).expect("it has a name");
        assert!(name.contains(expected), "{json}: {name}");
    }
    for json in ["", "[]", "{}", "1", r#"{"hello":"world"}"#, "CallSid=CA1"] {
        assert_eq!(named(json), None, "{json}");
    }
}

#[test]
fn a_field_name_that_could_be_the_end_of_the_url_is_refused() {
    for (name, expected) in [
        ("", CallbackParseError::UnnamedField),
        ("%3Femail", CallbackParseError::PunctuatedField('?')),
        ("%2540example.com", CallbackParseError::PunctuatedField('%')),
        (".com", CallbackParseError::PunctuatedField('.')),
        ("-x", CallbackParseError::PunctuatedField('-')),
    ] {
        let form = format!("{name}=x&{FORM}");
        assert_eq!(refusal(&form), expected, "{name}");
    }
    for name in ["_x", "rpm.id", "x-y", "%C3%BC", "9lives", "a%26b", "+x"] {
        assert!(
            read(format!("{FORM}&{name}=1").as_bytes(), "").is_ok(),
            "{name}"
        );
    }
}

#[test]
fn an_email_whose_end_could_be_a_field_is_ignored() {
    let read = |email: &str, more: &str| {
        let url = format!("https://h.example/twilio/voice/status?email={email}");
        let form = format!("{FORM}{more}");
        let callback = read(form.as_bytes(), &url).expect("a status callback");
        let CallbackContent::Status(status) = callback.kind else {
            panic!("a status");
        };
        let email = status.email.map(|email| email.text);
        (email, status.email_ignored_for)
    };
    let used = |email: &str| (Some(email.to_owned()), None);
    let ignored = |name: &str| (None, Some(name.to_owned()));
    assert_eq!(
        read("jane@example.com", "&agent=1&_x=2&AGENT=3"),
        used("jane@example.com")
    );
    assert_eq!(read("jane@example.com", "&2x="), ignored("2x"));
    assert_eq!(read("JANE@EXAMPLE.C", "&AB="), ignored("AB"));
    assert_eq!(
        read("JANE@EXAMPLE.COM", "&COM=&agent="),
        used("JANE@EXAMPLE.COM")
    );
    assert_eq!(read("", "&2x="), (None, None));
}

/// The rule is exact: whatever part of the URL's end moves into the form, the e-mail that is left is
/// not used.
#[test]
fn no_cut_of_a_url_changes_the_email() {
    for url in [
        "/twilio/voice/status?email=jane2%40example.com",
        "/s?email=BOB.AB1%40X.AA",
    ] {
        for at in 1..url.len() {
            let (left, moved) = url.split_at(at);
            for split in 0..=moved.len() {
                let (name, value) = moved.split_at(split);
                if name.is_empty() || name < "AccountSid" {
                    let mut fields = fields(FORM.as_bytes());
                    fields.push((name.to_owned(), value.to_owned()));
                    let email = email(query(left));
                    let used = email.and_then(|email| parse(CallbackKind::Status, &fields, email));
                    let is_used = used.is_ok_and(|callback| {
                        matches!(&callback.kind, CallbackContent::Status(status)
                            if status.email.is_some())
                    });
                    assert!(!is_used, "{left} {name} {value}");
                }
            }
        }
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

#[test]
fn the_query_may_name_an_email_and_nothing_else() {
    let some = |text: &str, has_plus| {
        let text = text.to_owned();
        Ok(Some(UrlEmail { text, has_plus }))
    };
    for (query, expected) in [
        ("", Ok(None)),
        ("email=", Ok(None)),
        (
            "email=jane%2Bcalls%40example.com",
            some("jane+calls@example.com", false),
        ),
        (
            "email=jane+calls%40example.com",
            some("jane calls@example.com", true),
        ),
        (
            "email=a%40b&email=c%40d",
            Err(CallbackParseError::Repeated("email")),
        ),
        (
            "Email=a%40b",
            Err(CallbackParseError::UnexpectedQuery("Email".to_owned())),
        ),
        (
            "x=1CallSidCA0",
            Err(CallbackParseError::UnexpectedQuery("x".to_owned())),
        ),
    ] {
        assert_eq!(email(query), expected, "{query}");
    }
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
        let fields: Vec<(String, String)> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
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
