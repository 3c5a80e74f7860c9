//! Requests that look like a callback, each named by its fields.

use super::*;

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
        ("ConferenceSid=CF1&Reason=x", "conference"),
        ("ConferenceSid=CF1&DialCallStatus=completed", "<Dial>"),
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
