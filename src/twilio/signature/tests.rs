//! Vectors that Twilio's own libraries carry in their tests, and the rules that no vector shows.

use super::*;

const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
const FORM: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
const JSON: &[u8] = br#"{"property": "value", "boolean": true}"#;

fn signed(token: &str, url: &str, form: &str) -> String {
    let fields = fields(form.as_bytes());
    sign(&SigningKey::auth_token(token), url, Body::Form(&fields))
}

fn verifies(url: &str, body: Body<'_>, signature: &str) -> bool {
    verify(&[SigningKey::auth_token("12345")], url, body, signature)
}

/// [`URL`] with another scheme and a port.
fn url(scheme: &str, port: &str) -> String {
    let url = URL.replace("https", scheme);
    url.replace(".com", &format!(".com{port}"))
}

#[test]
fn the_vectors_of_the_official_libraries_are_reproduced() {
    for (scheme, port, signature) in [
        ("https", "", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https", ":443", "kvajT1Ptam85bY51eRf/AJRuM3w="),
        ("https", ":1234", "CYn1h0gLBdNxDGkKJg6hYohgeD8="),
        ("http", ":80", "0ZXoZLH/DfblKGATFgpif+LLRf4="),
        ("http", ":1234", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
    ] {
        let url = url(scheme, port);
        assert_eq!(signed("12345", &url, FORM), signature, "{url}");
    }
    let with_user = URL.replace("//", "//user:pass@");
    let without_query = URL.split_once('?').map_or(URL, |(path, _)| path);
    for (url, signature) in [
        (&*with_user, "CukzLTc1tT5dXEDIHm/tKBanW10="),
        (without_query, "1xaxFBvyzXYvWplzNOSs28HWO94="),
    ] {
        assert_eq!(signed("12345", url, FORM), signature, "{url}");
    }
    let repeated = "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234";
    let with_prefix = format!("{FORM}&Reason=Participant&ReasonConferenceEnded=test");
    for (form, signature) in [
        (repeated, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        // Fields that are sorted as joined pairs have another signature.
        (&with_prefix, "vOEb5UThFn24KEfnOFLQY2AE5FY="),
        ("", "zYQTYrRWXE7LtzbG4PfP7/bkkGo="),
    ] {
        assert_eq!(signed("12345", URL, form), signature, "{form}");
    }
    let signature = signed("qwerty", "https://example.com/test", "foo=bar");
    assert_eq!(signature, "TR9Skm9jiF4WVRJznU5glK5I83k=");
}

#[test]
fn each_port_rule_of_the_libraries_is_followed() {
    let form = fields(FORM.as_bytes());
    for (received, signed, valid) in [
        ("", "", true),
        ("", ":443", true),
        ("", ":1234", false),
        (":443", "", true),
        (":1234", "", true),
        (":1234", ":1234", true),
        (":1234", ":443", false),
    ] {
        let (received, signed) = (url("https", received), url("https", signed));
        let signature = self::signed("12345", &signed, FORM);
        let verified = verifies(&received, Body::Form(&form), &signature);
        assert_eq!(verified, valid, "{received} {signed}");
    }
}

#[test]
fn a_text_that_is_no_absolute_url_is_tried_only_as_given() {
    let key = SigningKey::auth_token("12345");
    let of = |text: &str| sign(&key, text, Body::Form(&Form::default()));
    for text in ["h.example/p", "//h.example/p?u=http://x", "", "://h"] {
        assert!(
            verifies(text, Body::Form(&Form::default()), &of(text)),
            "{text}"
        );
    }
    assert!(!verifies(
        "h.example/p",
        Body::Form(&Form::default()),
        &of("h.example:80/p")
    ));
    let two_ports = of("https://h:80/");
    assert!(!verifies(
        "https://h:80:90/",
        Body::Form(&Form::default()),
        &two_ports
    ));
    assert!(!verifies(
        "/p?u=http://h:81/",
        Body::Form(&Form::default()),
        &of("/p?u=http://h/")
    ));
}

#[test]
fn a_request_that_both_libraries_refuse_for_different_reasons_is_refused() {
    let key = SigningKey::auth_token("12345");
    let hash = format!("bodySHA256={}", hex_sha256(JSON));
    let (plain, astral) = (
        fields(b"a=1"),
        fields("Tag=\u{1f4de}&Tag=\u{e000}".as_bytes()),
    );
    let (plain, astral, json) = (Body::Form(&plain), Body::Form(&astral), Body::Json(JSON));
    // HASH stands for the right hash, and an empty text for the URL as it was received.
    for (received, signed, body, valid) in [
        // Both accept a scheme in lower case, and each one further variant.
        ("HTTPS://h/", "https://h/", plain, true),
        ("HTTPS://h/", "", plain, true),
        ("HTTPS://h:x/", "https://h:x/", plain, false),
        ("HTTPS://h/?", "https://h/?", plain, false),
        // Python does not cut the port, and Node does not read the fields.
        ("https://[::1]:8443/", "https://[::1]/", plain, true),
        (
            "https://[::1]:81/bodySHA256",
            "https://[::1]/bodySHA256",
            plain,
            false,
        ),
        // Python does not cut the port, and Node sorts otherwise.
        ("https://u:p@h:8443/", "https://u:p@h/", astral, false),
        ("https://h:8443/", "https://h/", astral, true),
        // For JSON both read the port.
        ("https://h:x/?HASH", "", json, false),
        ("https://h:0/?HASH", "", json, true),
        ("https://h:0/?HASH", "https://h/?HASH", json, false),
        // Python alone knows such a hash, and it takes no scheme in upper case.
        ("HTTPS://h/?bodySHA256=&HASH", "", json, false),
        ("https://h:x/?ESCAPED", "", json, false),
    ] {
        let signed = if signed.is_empty() { received } else { signed };
        let [received, signed] = [received, signed].map(|url| {
            let url = url.replace("ESCAPED", &hash.replace('S', "%53"));
            url.replace("HASH", &hash)
        });
        let verified = verifies(&received, body, &sign(&key, &signed, body));
        assert_eq!(verified, valid, "{received} {signed}");
    }
}

#[test]
fn a_json_body_is_bound_by_the_first_filled_hash_in_the_query() {
    let right = hex_sha256(JSON);
    assert!(right.starts_with("0a1ff763") && right.ends_with("6620"));
    assert!(verifies(
        &format!("{URL}&bodySHA256={right}"),
        Body::Json(JSON),
        "a9nBmqA0ju/hNViExpshrM61xv4="
    ));

    let key = SigningKey::auth_token("12345");
    let empty = hex_sha256(b"");
    for (query, body, valid) in [
        (format!("bodySHA256={right}"), JSON, true),
        (format!("a=1&bodySHA256={right}&bodySHA256=0"), JSON, true),
        (format!("bodySHA256=&bodySHA256={right}"), JSON, true),
        (format!("bodySHA256=0&bodySHA256={right}"), JSON, false),
        (format!("bodySHA256={}", right.to_uppercase()), JSON, false),
        (format!("bodysha256={right}"), JSON, false),
        (format!("a=1#?bodySHA256={right}"), JSON, false),
        ("bodySHA256=".to_owned(), JSON, false),
        ("a=1".to_owned(), JSON, false),
        ("a=1".to_owned(), b"", true),
        ("bodySHA256=".to_owned(), b"", true),
        (format!("bodySHA256={empty}"), b"", true),
        (format!("bodySHA256={}", hex_sha256(b"{}")), b"", false),
    ] {
        let url = format!("https://h.example/p?{query}");
        let body = Body::Json(body);
        let verified = verifies(&url, body, &sign(&key, &url, body));
        assert_eq!(verified, valid, "{query}");
    }
    // A fragment alone may carry what looks like a query.
    let url = format!("https://h.example/p#?bodySHA256={right}");
    let signature = sign(&key, &url, Body::Json(JSON));
    assert!(!verifies(&url, Body::Json(JSON), &signature));
}

#[test]
fn any_active_key_verifies_and_a_shared_key_uses_another_hash() {
    let form = fields(FORM.as_bytes());
    let form = Body::Form(&form);
    let keys = [SigningKey::auth_token("old"), SigningKey::auth_token("new")];
    for key in &keys {
        assert!(verify(&keys, URL, form, &sign(key, URL, form)));
    }
    let shared = SigningKey::shared_key("new");
    let signature = sign(&shared, URL, form);
    assert_eq!(signature.len(), 44);
    assert!(verify(&[shared], URL, form, &signature));
    assert!(!verify(&keys, URL, form, &signature));
    assert!(!verify(&[], URL, form, &signature));
}

#[test]
fn a_form_is_read_by_the_rules_of_browsers() {
    for (form, expected) in [
        ("a=1&&b", &[("a", "1"), ("b", "")][..]),
        ("=v&n==", &[("", "v"), ("n", "=")]),
        ("a+b=%20%2b", &[("a b", " +")]),
        ("a=100%&b=%zz", &[("a", "100%"), ("b", "%zz")]),
        ("c=%4", &[("c", "%4")]),
        ("a=%C3%A9&b=%FF", &[("a", "\u{e9}"), ("b", "\u{fffd}")]),
        ("a=x;b=y", &[("a", "x;b=y")]),
    ] {
        let form = fields(form.as_bytes());
        assert_eq!(form.iter().collect::<Vec<_>>(), expected, "{form:?}");
    }
}
