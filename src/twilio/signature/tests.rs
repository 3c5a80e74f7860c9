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

#[test]
fn the_vectors_of_the_official_libraries_are_reproduced() {
    let http = URL.replace("https", "http");
    let with = |port: &str| URL.replace(".com", &format!(".com{port}"));
    let and = |more: &str| format!("{FORM}&{more}");
    for (url, form, signature) in [
        (
            URL.to_owned(),
            FORM.to_owned(),
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        (
            with(":443"),
            FORM.to_owned(),
            "kvajT1Ptam85bY51eRf/AJRuM3w=",
        ),
        (
            with(":1234"),
            FORM.to_owned(),
            "CYn1h0gLBdNxDGkKJg6hYohgeD8=",
        ),
        (
            http.replace(".com", ".com:80"),
            FORM.to_owned(),
            "0ZXoZLH/DfblKGATFgpif+LLRf4=",
        ),
        (
            http.replace(".com", ".com:1234"),
            FORM.to_owned(),
            "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
        ),
        (
            URL.to_owned(),
            "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234".to_owned(),
            "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
        ),
        (
            URL.replace("//", "//user:pass@"),
            FORM.to_owned(),
            "CukzLTc1tT5dXEDIHm/tKBanW10=",
        ),
        (
            URL.to_owned(),
            and("Reason=Participant&ReasonConferenceEnded=test"),
            "vOEb5UThFn24KEfnOFLQY2AE5FY=",
        ),
        (
            URL.to_owned(),
            String::new(),
            "zYQTYrRWXE7LtzbG4PfP7/bkkGo=",
        ),
        (
            URL.split_once('?').map_or(URL, |(path, _)| path).to_owned(),
            FORM.to_owned(),
            "1xaxFBvyzXYvWplzNOSs28HWO94=",
        ),
    ] {
        assert_eq!(signed("12345", &url, &form), signature, "{url} {form}");
    }
    assert_eq!(
        signed("qwerty", "https://example.com/test", "foo=bar"),
        "TR9Skm9jiF4WVRJznU5glK5I83k="
    );
}

#[test]
fn fields_sorted_as_joined_pairs_do_not_verify() {
    let form = format!("{FORM}&Reason=Participant&ReasonConferenceEnded=test");
    let fields = fields(form.as_bytes());
    assert!(!verifies(
        URL,
        Body::Form(&fields),
        "95+Bu0JVPi0r/SsESZCVf0dWAjw="
    ));
}

#[test]
fn each_port_rule_of_the_libraries_is_followed() {
    let form = fields(FORM.as_bytes());
    let form = Body::Form(&form);
    let with = |port: &str| URL.replace(".com", &format!(".com{port}"));
    let without_port = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    let with_443 = "kvajT1Ptam85bY51eRf/AJRuM3w=";
    let with_1234 = "CYn1h0gLBdNxDGkKJg6hYohgeD8=";
    for (url, signature, valid) in [
        (URL.to_owned(), without_port, true),
        (URL.to_owned(), with_443, true),
        (URL.to_owned(), with_1234, false),
        (with(":443"), without_port, true),
        (with(":1234"), without_port, true),
        (with(":1234"), with_1234, true),
        (with(":1234"), with_443, false),
    ] {
        assert_eq!(verifies(&url, form, signature), valid, "{url} {signature}");
    }
}

#[test]
fn a_text_that_is_no_absolute_url_is_tried_only_as_given() {
    let key = SigningKey::auth_token("12345");
    let of = |text: &str| sign(&key, text, Body::Form(&[]));
    for text in ["h.example/p", "//h.example/p?u=http://x", "", "://h"] {
        assert!(verifies(text, Body::Form(&[]), &of(text)), "{text}");
    }
    assert!(!verifies(
        "h.example/p",
        Body::Form(&[]),
        &of("h.example:80/p")
    ));
    let two_ports = of("https://h:80/");
    assert!(!verifies("https://h:80:90/", Body::Form(&[]), &two_ports));
    assert!(!verifies(
        "/p?u=http://h:81/",
        Body::Form(&[]),
        &of("/p?u=http://h/")
    ));
}

#[test]
fn a_request_that_both_libraries_refuse_for_different_reasons_is_refused() {
    let key = SigningKey::auth_token("12345");
    let hash = hex_sha256(JSON);
    let form = fields("Tag=\u{1f4de}&Tag=\u{e000}".as_bytes());
    let plain = fields(b"a=1");
    for (received, signed, body, valid) in [
        // Both accept a scheme in lower case, and each one further variant.
        (
            "HTTPS://h/".to_owned(),
            "https://h/".to_owned(),
            Body::Form(&plain),
            true,
        ),
        (
            "HTTPS://h/".to_owned(),
            "HTTPS://h/".to_owned(),
            Body::Form(&plain),
            true,
        ),
        (
            "HTTPS://h:x/".to_owned(),
            "https://h:x/".to_owned(),
            Body::Form(&plain),
            false,
        ),
        (
            "HTTPS://h/?".to_owned(),
            "https://h/?".to_owned(),
            Body::Form(&plain),
            false,
        ),
        // Python does not cut the port, and Node does not read the fields.
        (
            "https://[::1]:8443/".to_owned(),
            "https://[::1]/".to_owned(),
            Body::Form(&plain),
            true,
        ),
        (
            "https://[::1]:8443/bodySHA256".to_owned(),
            "https://[::1]/bodySHA256".to_owned(),
            Body::Form(&plain),
            false,
        ),
        // Python does not cut the port, and Node sorts otherwise.
        (
            "https://u:p@h:8443/".to_owned(),
            "https://u:p@h/".to_owned(),
            Body::Form(&form),
            false,
        ),
        (
            "https://h:8443/".to_owned(),
            "https://h/".to_owned(),
            Body::Form(&form),
            true,
        ),
        // For JSON both read the port.
        (
            format!("https://h:x/?bodySHA256={hash}"),
            format!("https://h:x/?bodySHA256={hash}"),
            Body::Json(JSON),
            false,
        ),
        (
            format!("https://h:0/?bodySHA256={hash}"),
            format!("https://h:0/?bodySHA256={hash}"),
            Body::Json(JSON),
            true,
        ),
        (
            format!("https://h:0/?bodySHA256={hash}"),
            format!("https://h/?bodySHA256={hash}"),
            Body::Json(JSON),
            false,
        ),
        // Python alone knows such a hash, and it takes no scheme in upper case.
        (
            format!("HTTPS://h/?bodySHA256=&bodySHA256={hash}"),
            format!("HTTPS://h/?bodySHA256=&bodySHA256={hash}"),
            Body::Json(JSON),
            false,
        ),
        (
            format!("https://h:x/?body%53HA256={hash}"),
            format!("https://h:x/?body%53HA256={hash}"),
            Body::Json(JSON),
            false,
        ),
    ] {
        let signature = sign(&key, &signed, body);
        assert_eq!(
            verifies(&received, body, &signature),
            valid,
            "{received} {signed}"
        );
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
        (String::from("bodySHA256="), JSON, false),
        (String::from("a=1"), JSON, false),
        (String::from("a=1"), b"", true),
        (String::from("bodySHA256="), b"", true),
        (format!("bodySHA256={empty}"), b"", true),
        (format!("bodySHA256={}", hex_sha256(b"{}")), b"", false),
    ] {
        let url = format!("https://h.example/p?{query}");
        let signature = sign(&key, &url, Body::Json(body));
        assert_eq!(
            verifies(&url, Body::Json(body), &signature),
            valid,
            "{query}"
        );
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
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (form, expected) in [
        ("a=1&&b", vec![pair("a", "1"), pair("b", "")]),
        ("=v&n==", vec![pair("", "v"), pair("n", "=")]),
        ("a+b=%20%2b", vec![pair("a b", " +")]),
        (
            "a=100%&b=%zz&c=%4",
            vec![pair("a", "100%"), pair("b", "%zz"), pair("c", "%4")],
        ),
        (
            "a=%C3%A9&b=%FF",
            vec![pair("a", "\u{e9}"), pair("b", "\u{fffd}")],
        ),
        ("a=x;b=y", vec![pair("a", "x;b=y")]),
    ] {
        assert_eq!(fields(form.as_bytes()), expected, "{form}");
    }
}
