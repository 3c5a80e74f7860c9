//! The e-mail in the URL of a callback, and fields that could be its end.

use super::*;

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
fn an_email_with_an_end_that_could_be_a_field_is_ignored() {
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
                    fields.extend([(name, value)]);
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
