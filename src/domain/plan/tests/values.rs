//! The values of a call-end: what replaces or removes a field, and the reason that is shown.

use super::*;

/// The call-end that is due by `rules`, and the reasons of its fields.
fn sent_with_reasons(callbacks: &[Callback], rules: &Rules) -> (CallEnd, Vec<Reason>) {
    let plan = Plan::of(&received(callbacks), History::default(), rules, NOW);
    let reasons = plan.items().find_map(|item| match item {
        PlanItem::Send(planned) => Some(planned.reasons.clone()),
        _ => None,
    });
    (sent(plan.next().clone()), reasons.expect("a request"))
}

fn why(reasons: &[Reason], about: About) -> &str {
    let found = reasons.iter().find(|reason| reason.about == about);
    &found.expect("a reason").why
}

#[test]
fn an_empty_from_parks_the_call_unless_a_text_is_set_for_it() {
    for from in ["", " "] {
        let withheld = callback(&[("From", from)]);
        let parked = next(std::slice::from_ref(&withheld), &[]);
        assert!(
            matches!(&parked, Next::Parked(Cause::NoFrom, why) if why.contains("calls.empty_from")),
            "{parked:?}"
        );
        let rules = Rules {
            empty_from: Some("anonymous".to_owned()),
            ..Rules::default()
        };
        let (end, reasons) = sent_with_reasons(&[withheld], &rules);
        assert_eq!(end.from, "anonymous");
        assert!(why(&reasons, About::From).contains("calls.empty_from"));
        assert_eq!(sent_by(&rules, callback(&[])).from, "+12025550123");
    }
}

#[test]
fn an_email_of_the_url_that_is_none_is_not_sent_and_shown() {
    for (raw, words) in [
        ("jane+calls@example.com", "contains a space; a + in the URL"),
        ("extension-7", "has no @"),
        ("a@example.com,b@example.com", "is more than one address"),
    ] {
        let (end, reasons) = sent_with_reasons(&[callback(&[("?email", raw)])], &Rules::default());
        assert_eq!(end.email, None, "{raw}");
        let shown = why(&reasons, About::Email);
        assert!(shown.contains(words), "{shown}");
    }
    // Only a + is called one.
    let space = callback(&[("?email", "extension-7")]);
    let (_, reasons) = sent_with_reasons(&[space], &Rules::default());
    assert!(!why(&reasons, About::Email).contains("%2B"));
}

#[test]
fn an_email_of_the_url_that_is_none_gives_way_in_every_mode() {
    let rules = Rules {
        legs: LegRules {
            report: ReportMode::Call,
            settle: Duration::ZERO,
            ..LegRules::default()
        },
        directory: Directory {
            default: Some("desk@example.com".to_owned()),
            ..Directory::default()
        },
        ..Rules::default()
    };
    let invalid = child(&[("?email", "jane doe@example.com")]);
    let (end, reasons) = sent_with_reasons(&[callback(&[]), invalid], &rules);
    assert_eq!(end.email.as_deref(), Some("desk@example.com"));
    let shown = why(&reasons, About::Email);
    assert!(shown.contains("jane doe@example.com"), "{shown}");
}

#[test]
fn each_field_that_is_left_out_has_its_reason() {
    let absent = |code| {
        let fields = [
            ("CallSid", PARENT),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("RecordingSid", "RE00000000000000000000000000000001"),
            ("RecordingStatus", "absent"),
            ("ErrorCode", code),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        parse(CallbackKind::Recording, &fields, None).expect("a recording callback")
    };
    for (duration, words) in [
        (
            "42.7",
            "CallDuration is \"42.7\", which is not a whole number",
        ),
        ("-1", "CallDuration is \"-1\""),
        ("", "has no CallDuration"),
    ] {
        let (end, reasons) = sent_with_reasons(
            &[callback(&[("CallDuration", duration)])],
            &Rules::default(),
        );
        assert_eq!(end.duration, None);
        let shown = why(&reasons, About::Duration);
        assert!(shown.contains(words), "{shown}");
        assert_eq!(
            why(&reasons, About::RecordingUrl),
            "no callback names a recording"
        );
        assert!(why(&reasons, About::Email).contains("[directory] has no entry"));
    }
    for (code, words) in [("16101", "is absent (ErrorCode 16101)"), ("0", "is absent")] {
        let (end, reasons) = sent_with_reasons(&[absent(code), callback(&[])], &Rules::default());
        assert_eq!(end.recording_url, None);
        let shown = why(&reasons, About::RecordingUrl);
        assert!(shown.ends_with(words), "{shown}");
    }
    let (_, reasons) = sent_with_reasons(&[callback(&[])], &Rules::default());
    let of_duration = |reason: &Reason| reason.about == About::Duration;
    assert!(!reasons.iter().any(of_duration), "it is sent");
}
