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
        let (sentences, remedies) = (diagnosis.sentences(), diagnosis.remedies());
        let message = format!("{sentences} {remedies:?} {diagnosis:?}");
        for secret in [TOKEN, OTHER, SPARE, SHARED, &induced.right_signature()] {
            assert!(!message.contains(secret), "{name}: {message}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_unescaped_character_at_twilio_is_named_with_its_escape() {
    for (entered, arrived, remedy) in [
        ("a@c.example", "a%40c.example", "%40 for @"),
        ("o'hara%40b.example", "o%27hara%40b.example", "%27 for '"),
        ("a+b%40c.example", "a%2Bb%40c.example", "%2B for +"),
        ("a+b%40c.example", "a%20b%40c.example", "%2B for +"),
        ("a b%40c.example", "a%20b%40c.example", "%20 for a space"),
        ("a b%40c.example", "a+b%40c.example", "%20 for a space"),
        ("\"a\"%40c.test", "%22a%22%40c.test", "%22 for \""),
        ("<a%40c.test>", "%3Ca%40c.test%3E", "%3C for <, %3E for >"),
        ("\u{e9}%40c.test", "%C3%A9%40c.test", "%C3%A9 for \u{e9}"),
        ("a%40c.example,b", "a%40c.example%2Cb", "%2C for ,"),
        ("o'hara@c.test", "o%27hara%40c.test", "%27 for ', %40 for @"),
        ("a+b@c.test", "a%20b%40c.test", "%2B for +, %40 for @"),
    ] {
        let query = [entered, arrived].map(|email| format!("?email={email}"));
        let induced = Induced::none().query(&query[0], &query[1]);
        let elsewhere = induced.clone().public("https://calls.example.com");
        for induced in [induced, elsewhere.header("host", "bridge.example.com")] {
            assert!(!induced.is_valid(), "{entered}");
            let remedies = induced.diagnosis().remedies();
            let last = remedies.last().expect("a remedy");
            let expected = format!("In the URL at Twilio, write {remedy}.");
            assert_eq!(*last, expected, "{entered}");
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
    let none = Induced::none;
    let entered = |url| (none().entered(&at(url)), url);
    let bridge = "https://bridge.example.com";
    let inner = none().public("http://10.0.0.7:8080");
    for (induced, line) in [
        entered("http://bridge.example.com"),
        entered("https://bridge.example.com:8443"),
        entered("https://bridge.example.com/api"),
        (none().public("https://bridge.example.com/calls"), bridge),
        (inner.header("host", "bridge.example.com"), bridge),
    ] {
        let setting = induced.diagnosis().setting();
        assert_eq!(setting, Some(format!("server.public_url = \"{line}\"")));
        // The new setting makes the signature valid.
        let public_url = PublicUrl::parse(line).expect("a URL");
        let url = public_url.signed_url(&induced.target);
        let (keys, fields) = ([SigningKey::auth_token(TOKEN)], fields(&induced.body));
        let form = Body::Form(&fields);
        assert!(verify(&keys, &url, form, &induced.signature()));
    }
    let slash = none().target("/twilio/voice/status/");
    assert_eq!(slash.diagnosis().setting(), None);
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
    for (origin, prefix, target) in [
        ("https://h.example", "/a", "/twilio/voice/status?x=1"),
        ("https://h.example:8443", "", "/other?x=/twilio/voice"),
        ("https://h.example", "", ""),
    ] {
        let url = format!("{origin}{prefix}{target}");
        let (base, rest) = UrlBase::split(&url);
        assert_eq!(
            (&*base.origin, &*base.prefix, rest),
            (origin, prefix, target)
        );
    }
}
