//! Mistakes made one by one: the diagnosis names each, plain verification refuses each, and no secret
//! is shown.

mod induced;
mod property;
mod table;

use super::*;
use crate::twilio::public_url::PublicUrl;
use crate::twilio::signature::{Body, SigningKey, fields, verify};
use induced::{FORM, Induced, OTHER, SHARED, SPARE, TOKEN};
use table::{at, table};

#[test]
fn each_mistake_is_named_and_refused() {
    let table = table();
    assert!(table.len() >= 60, "{}", table.len());
    let mut wrong = Vec::new();
    for (name, reason, induced) in &table {
        assert!(!induced.is_valid(), "{name}: plain verification accepts it");
        let diagnosis = induced.diagnosis();
        if diagnosis.reason() != *reason {
            wrong.push(format!("{name}: {reason}, not {diagnosis:?}"));
        }
        let message = format!(
            "{} {:?} {diagnosis:?}",
            diagnosis.sentences(),
            diagnosis.remedies()
        );
        assert!(
            !message.contains(&induced.right_signature()),
            "{name}: {message}"
        );
        for secret in [TOKEN, OTHER, SPARE, SHARED] {
            assert!(!message.contains(secret), "{name}: {message}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unescaped_character_at_twilio_is_named_with_its_escape() {
    for (entered, arrived, remedy) in [
        ("jane@example.com", "jane%40example.com", "write %40 for @."),
        (
            "o'hara%40b.example",
            "o%27hara%40b.example",
            "write %27 for '.",
        ),
        ("a+b%40c.example", "a%2Bb%40c.example", "write %2B for +."),
        ("a+b%40c.example", "a%20b%40c.example", "write %2B for +."),
        (
            "a b%40c.example",
            "a%20b%40c.example",
            "write %20 for a space.",
        ),
        (
            "a b%40c.example",
            "a+b%40c.example",
            "write %20 for a space.",
        ),
        (
            "\"a\"%40c.example",
            "%22a%22%40c.example",
            "write %22 for \".",
        ),
        (
            "<a%40c.example>",
            "%3Ca%40c.example%3E",
            "write %3C for <, %3E for >.",
        ),
        (
            "jos\u{e9}%40c.example",
            "jos%C3%A9%40c.example",
            "write %C3%A9 for \u{e9}.",
        ),
        ("a%40c.example,b", "a%40c.example%2Cb", "write %2C for ,."),
        (
            "o'hara@c.example",
            "o%27hara%40c.example",
            "write %27 for ', %40 for @.",
        ),
        (
            "a+b@c.example",
            "a%20b%40c.example",
            "write %2B for +, %40 for @.",
        ),
    ] {
        let query = [entered, arrived].map(|email| format!("?email={email}"));
        let induced = Induced::none().query(&query[0], &query[1]);
        for induced in [
            induced.clone(),
            induced
                .clone()
                .public("https://calls.example.com")
                .header("host", "bridge.example.com"),
        ] {
            assert!(!induced.is_valid(), "{entered}");
            let remedies = induced.diagnosis().remedies();
            let last = remedies.last().expect("a remedy");
            assert_eq!(
                *last,
                format!("In the URL at Twilio, {remedy}"),
                "{entered}"
            );
        }
    }
    // A proxy that reports the query as it received it is at fault, not the URL at Twilio.
    let proxy = Induced::none()
        .query("?email=a@c.example", "?email=a%40c.example")
        .header("x-original-uri", "/twilio/voice/status?email=a@c.example");
    assert!(proxy.diagnosis().remedies()[0].starts_with("Let the proxy"));
}

#[test]
fn the_line_to_change_is_the_url_that_was_signed() {
    for (induced, line) in [
        (
            Induced::none().entered(&at("http://bridge.example.com")),
            "http://bridge.example.com",
        ),
        (
            Induced::none().entered(&at("https://bridge.example.com:8443")),
            "https://bridge.example.com:8443",
        ),
        (
            Induced::none().entered(&at("https://bridge.example.com/api")),
            "https://bridge.example.com/api",
        ),
        (
            Induced::none().public("https://bridge.example.com/calls"),
            "https://bridge.example.com",
        ),
        (
            Induced::none()
                .public("http://10.0.0.7:8080")
                .header("host", "bridge.example.com"),
            "https://bridge.example.com",
        ),
    ] {
        let setting = induced.diagnosis().setting();
        assert_eq!(setting, Some(format!("server.public_url = \"{line}\"")));
        // The new setting makes the signature valid.
        let public_url = PublicUrl::parse(line)
            .expect("a URL")
            .signed_url(&induced.target);
        let fields = fields(&induced.body);
        assert!(verify(
            &[SigningKey::auth_token(TOKEN)],
            &public_url,
            Body::Form(&fields),
            &induced.signature()
        ));
    }
    assert_eq!(
        Induced::none()
            .target("/twilio/voice/status/")
            .diagnosis()
            .setting(),
        None
    );
}

#[test]
fn the_work_is_bounded_where_nothing_matches() {
    let huge = format!("{FORM}&Padding={}", "x".repeat(60 * 1024));
    for induced in [
        Induced::none(),
        Induced::none().body(huge).query("", "?f=1&e=2&d=3&c=4&b=5"),
    ] {
        let bases = [UrlBase::split(&induced.entered).0];
        let input = DiagnosisInput {
            bases: &bases,
            target: &induced.target,
            headers: &[],
            body: &induced.body,
            body_format: BodyFormat::Form,
            queries: &[],
            account_sids: &[],
        };
        let key_sets: Vec<KeySet> = (0..8)
            .map(|n| KeySet {
                setting: format!("accounts[{n}]"),
                role: KeyRole::OtherAccount,
                auth_tokens: vec!["x".into()],
                shared_keys: Vec::new(),
            })
            .collect();
        let urls = urls(&bases[0], &input);
        assert!(urls.len() < 20_000, "{}", urls.len());
        let mut search = search(&input, &key_sets, "c2lnbmF0dXJlc2lnbmF0dXJlc2k=");
        assert_eq!(search.run(), None);
        // At each cost the search counts one more try, and does not make it.
        let over = usize::from(candidates::MAX_DIFFERENCES) + 1;
        assert!(search.tries <= MAX_TRIES + over, "{}", search.tries);
        assert!(
            search.bytes <= MAX_BYTES + over * 64 * 1024,
            "{}",
            search.bytes
        );
    }
}

#[test]
fn a_url_is_split_before_the_served_path() {
    for (url, origin, prefix, target) in [
        (
            "https://h.example/a/twilio/voice/status?x=1",
            "https://h.example",
            "/a",
            "/twilio/voice/status?x=1",
        ),
        (
            "https://h.example:8443/other?x=/twilio/voice",
            "https://h.example:8443",
            "",
            "/other?x=/twilio/voice",
        ),
        ("https://h.example", "https://h.example", "", ""),
    ] {
        let (base, rest) = UrlBase::split(url);
        assert_eq!(
            (base.origin.as_str(), base.prefix.as_str(), rest),
            (origin, prefix, target)
        );
    }
}
