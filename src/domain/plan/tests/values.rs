//! The values of a call-end: what replaces or removes a field, and the reason that is shown.

use super::*;

#[test]
fn an_empty_from_parks_the_call_unless_a_text_is_set_for_it() {
    let anonymous = |rules: &mut Rules| rules.empty_from = Some("anonymous".to_owned());
    for text in ["parent From=", "parent From=%20"] {
        let step = legs(text).step(NOW);
        assert!(step.starts_with("parked no-from") && step.contains("calls.empty_from"));
        let case = legs(text).with(anonymous);
        assert_eq!(case.end().from, "anonymous");
        assert!(case.why(About::From).contains("calls.empty_from"));
    }
    assert_eq!(legs("parent").with(anonymous).end().from, "+12025550123");
}

#[test]
fn an_email_of_the_url_that_is_none_is_not_sent_and_shown() {
    for (raw, words) in [
        ("jane+calls@example.com", "contains a space; a + in the URL"),
        ("extension-7", "has no @"),
        ("a@example.com,b@example.com", "is more than one address"),
    ] {
        let case = legs(&format!("parent ?email={raw}"));
        assert_eq!(case.end().email, None, "{raw}");
        let shown = case.why(About::Email);
        assert!(shown.contains(words), "{shown}");
        assert_eq!(
            shown.contains("%2B"),
            raw.contains('+'),
            "only a + is called one"
        );
    }
}

#[test]
fn an_email_of_the_url_that_is_none_gives_way_in_every_mode() {
    for case in modes("parent; child ?email=jane%20doe@example.com") {
        let case = case.directory("default=desk@example.com");
        let requests = case.requests().into_iter();
        let mut json = requests.map(|planned| planned.request.message.to_json());
        assert!(json.all(|json| json.contains("desk@example.com")));
    }
    let case = one_call("parent; child ?email=jane%20doe@example.com");
    assert!(case.why(About::Email).contains("jane doe@example.com"));
}

#[test]
fn each_field_that_is_left_out_has_its_reason() {
    for (text, about, words) in [
        (
            "parent CallDuration=42.7",
            About::Duration,
            "CallDuration is \"42.7\", which is not a whole number",
        ),
        (
            "parent CallDuration=-1",
            About::Duration,
            "CallDuration is \"-1\"",
        ),
        (
            "parent CallDuration=",
            About::Duration,
            "has no CallDuration",
        ),
        (
            "parent",
            About::RecordingUrl,
            "no callback names a recording",
        ),
        ("parent", About::Email, "[directory] has no entry"),
        (
            "RE1 absent RecordingUrl= ErrorCode=16101; parent",
            About::RecordingUrl,
            "is absent (ErrorCode 16101)",
        ),
        (
            "RE1 absent RecordingUrl= ErrorCode=0; parent",
            About::RecordingUrl,
            "is absent",
        ),
    ] {
        let case = legs(text);
        let end = case.end();
        match about {
            About::Duration => assert_eq!(end.duration, None),
            _ => assert_eq!((end.recording_url, end.email), (None, None)),
        }
        let shown = case.why(about);
        assert!(shown.contains(words), "{shown}");
        assert!(
            about != About::RecordingUrl || shown.ends_with(words),
            "{shown}"
        );
    }
    let mut reasons = legs("parent").requests().remove(0).reasons.into_iter();
    assert!(
        !reasons.any(|reason| reason.about == About::Duration),
        "it is sent"
    );
}
