//! The mistakes between Twilio and the bridge that the diagnosis must name.

use super::super::*;
use super::induced::{FORM, Induced, OTHER, SHARED, SPARE, TOKEN};
use crate::twilio::signature::{SigningKey, fields};

fn without(names: &[&str]) -> String {
    let pairs = FORM.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !names.contains(&name)
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn without_empty() -> String {
    FORM.split('&')
        .filter(|pair| !pair.ends_with('='))
        .collect::<Vec<_>>()
        .join("&")
}

fn json_of_form() -> Vec<u8> {
    let members: serde_json::Map<_, _> = fields(FORM.as_bytes())
        .pairs()
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    serde_json::to_vec(&members).expect("JSON")
}

const PATH: &str = "/twilio/voice/status";

pub fn at(base: &str) -> String {
    format!("{base}{PATH}")
}

#[rustfmt::skip]
/// One mistake per row: its description, its label, and the request.
pub fn table() -> Vec<(&'static str, &'static str, Induced)> {
    let i = Induced::none;
    let latin1 = |text: &str| -> Vec<u8> {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).expect("Latin-1"))
            .collect()
    };
    let json = r#"{"event":"ended"}"#;
    let hash = "1d2aa6d2d7a3b6ba4fbb5e5f7cb6b3b5a0d4b5f5e5f7cb6b3b5a0d4b5f5e5f7c";
    vec![
        // The URL: scheme, port, host.
        ("http at Twilio", "scheme", i().entered(&at("http://bridge.example.com"))),
        ("http configured", "scheme", i().public("http://bridge.example.com")),
        ("http configured with the port of TLS", "scheme", i().public("http://bridge.example.com:443")),
        ("a port at Twilio", "port", i().entered(&at("https://bridge.example.com:8443"))),
        ("a port configured that is another", "port", i().public("https://bridge.example.com:8443").entered(&at("https://bridge.example.com:9443"))),
        ("the default port at Twilio, another configured", "port", i().public("https://bridge.example.com:8443").entered(&at("https://bridge.example.com:443"))),
        ("an odd port that the proxy reports", "port", i().entered(&at("https://bridge.example.com:4711")).header("x-forwarded-port", "4711")),
        ("an odd port in Host", "port", i().entered(&at("http://bridge.example.com:4712")).public("http://bridge.example.com").header("host", "bridge.example.com:4712")),
        ("the host that was forwarded", "host", i().entered(&at("https://calls.example.com")).header("x-forwarded-host", "calls.example.com")),
        ("the first of two forwarded hosts", "host", i().entered(&at("https://calls.example.com")).header("x-forwarded-host", "calls.example.com, inner.example.com")),
        ("the original host", "host", i().entered(&at("https://calls.example.com")).header("x-original-host", "calls.example.com")),
        ("the host in Forwarded", "host", i().entered(&at("https://calls.example.com")).header("forwarded", "for=192.0.2.1;host=\"calls.example.com\";proto=https")),
        ("the host in Host", "host", i().entered(&at("https://calls.example.com")).header("host", "calls.example.com")),
        ("an internal host configured", "host", i().public("http://10.0.0.7:8080").header("x-forwarded-host", "bridge.example.com").header("host", "10.0.0.7:8080")),
        ("www. at Twilio", "host", i().entered(&at("https://www.bridge.example.com"))),
        ("www. configured", "host", i().public("https://www.bridge.example.com")),
        ("capital letters in the configured host", "host", i().public("https://Bridge.Example.com")),
        // The path.
        ("a prefix at Twilio that was stripped", "prefix", i().entered(&at("https://bridge.example.com/api"))),
        ("a stripped prefix that the proxy reports", "prefix", i().entered(&at("https://bridge.example.com/acme/phone")).header("x-forwarded-prefix", "/acme/phone")),
        ("a stripped prefix in the original URI", "prefix", i().entered(&at("https://bridge.example.com/acme/phone")).header("x-original-uri", "/acme/phone/twilio/voice/status")),
        ("a prefix configured that the URL at Twilio does not have", "prefix", i().public("https://bridge.example.com/calls")),
        ("a prefix that the proxy added", "prefix", i().public("https://bridge.example.com/inner").target("/inner/twilio/voice/status")),
        ("another prefix configured", "prefix", i().public("https://bridge.example.com/calls").entered(&at("https://bridge.example.com/hooks"))),
        ("a slash at the end at Twilio", "trailing-slash", i().entered("https://bridge.example.com/twilio/voice/status/")),
        ("a slash at the end that was added", "trailing-slash", i().target("/twilio/voice/status/")),
        ("a double slash at Twilio that was merged", "path", i().entered("https://bridge.example.com//twilio/voice/status")),
        ("an inner double slash that was merged", "path", i().entered("https://bridge.example.com/twilio//voice/status")),
        ("another path that was rewritten, reported by the proxy", "path", i().entered("https://bridge.example.com/phone/hook").header("x-original-uri", "/phone/hook")),
        ("the URL of recordings", "path", i().entered("https://bridge.example.com/twilio/voice/recording")),
        // The query.
        ("a lost query, an e-mail that is known", "query-lost", i().query("?email=jane%40example.com", "")),
        ("a lost query that the proxy reports", "query-lost", i().query("?email=ann%40example.com", "").header("x-original-uri", "/twilio/voice/status?email=ann%40example.com")),
        ("an added query", "query-added", i().query("", "?src=lb")),
        ("an added key", "query-added", i().query("?email=a%40b.example", "?email=a%40b.example&via=proxy")),
        ("a sorted query", "query-order", i().query("?zone=1&email=a", "?email=a&zone=1")),
        ("a shuffled query of five keys", "query-order", i().query("?a=1&b=2&c=3&d=4&e=5", "?c=3&e=5&a=1&d=4&b=2")),
        ("a decoded @", "query-encoding", i().query("?email=a%40b.example", "?email=a@b.example")),
        ("an encoded @", "query-encoding", i().query("?email=a@b.example", "?email=a%40b.example")),
        ("an encoded apostrophe", "query-encoding", i().query("?email=o'hara%40b.example", "?email=o%27hara%40b.example")),
        ("a space as + and as %20", "query-encoding", i().query("?email=a+b", "?email=a%20b")),
        ("lower-case escapes", "query-encoding", i().query("?email=a%3ab", "?email=a%3Ab")),
        ("a query encoded twice", "query-encoding", i().query("?email=a%40b", "?email=a%2540b")),
        // The key.
        ("another account's token", "other-account", i().signed_with(SigningKey::auth_token(OTHER))),
        ("the old token", "spare-token", i().signed_with(SigningKey::auth_token(SPARE))),
        ("a token configured with a space", "token-text", Induced { configured: "0123456789abcdef0123456789abcdef ", ..i() }),
        ("a token configured with quotes", "token-text", Induced { configured: "\"0123456789abcdef0123456789abcdef\"", ..i() }),
        ("a token in capital letters", "token-text", Induced { configured: "0123456789ABCDEF0123456789ABCDEF", ..i() }),
        ("SHA-256 with the shared key, settings lost", "sha-256", i().signed_with(SigningKey::shared_key(SHARED))),
        ("SHA-256 with the token", "sha-256", i().signed_with(SigningKey::shared_key(TOKEN))),
        ("SHA-1 where the settings say SHA-256", "sha-1", Induced { configured: "another", ..i() }.signed_with(SigningKey::auth_token(SHARED)).header("x-twilio-webhooks-signature-settings", "key=WK1,algorithm=HMAC_SHA256")),
        // The form.
        ("trimmed values", "fields-trimmed", i().replaced("Co%20", "Co")),
        ("a trimmed + before the numbers", "fields-trimmed", i().replaced("%2B", "")),
        ("all empty fields lost", "fields-lost", i().body(without_empty())),
        ("one empty field lost", "fields-lost", i().body(without(&["FromZip"]))),
        ("ApiVersion lost", "fields-lost", i().body(without(&["ApiVersion"]))),
        ("Caller lost", "fields-lost", i().body(without(&["Caller"]))),
        ("AccountSid lost", "fields-lost", i().body(without(&["AccountSid"]))),
        ("a field added by a framework", "fields-added", i().body(format!("{FORM}&_method=post"))),
        ("a field added that looks like Twilio's", "fields-added", i().body(format!("{FORM}&Tenant=7"))),
        ("numbers with a bare +", "fields-encoding", i().replaced("%2B", "+")),
        ("spaces encoded twice", "fields-encoding", i().replaced("%20", "%2520")),
        ("spaces turned into a literal +", "fields-encoding", i().replaced("%20", "%2B")),
        ("values escaped for HTML", "fields-encoding", i().replaced("%26", "%26amp%3B")),
        ("empty values turned into null", "fields-encoding", i().body(FORM.replace("=&", "=null&"))),
        ("UTF-8 read as Latin-1", "charset", i().body(FORM.replace("%C3%A3", "%C3%83%C2%A3").replace("%C3%89", "%C3%83%C2%89"))),
        ("UTF-8 turned into Latin-1", "charset", i().body(FORM.replace("%C3%A3", "%E3").replace("%C3%89", "%C9"))),
        ("raw Latin-1 bytes", "charset", i().body(latin1(&FORM.replace("%C3%A3", "ã").replace("%C3%89", "É")))),
        ("a line end behind the body", "line-end", i().body(format!("{FORM}\n"))),
        ("a byte order mark before the body", "line-end", i().body(format!("\u{feff}{FORM}"))),
        ("a body that did not arrive", "body-lost", i().body("")),
        // JSON.
        ("a form that arrived as JSON", "form-as-json", Induced { media: BodyFormat::Json, ..i().body(json_of_form()) }),
        ("a form in JSON's media type", "form-as-json", Induced { media: BodyFormat::Json, ..i() }),
        ("JSON read as a form", "json-as-form", Induced { signed_form: json.to_owned(), ..i().body(json) }.query(&format!("?bodySHA256={hash}"), &format!("?bodySHA256={hash}"))),
        ("JSON that was changed", "body-changed", Induced { signed_form: json.to_owned(), media: BodyFormat::Json, ..i().body("{}") }.query(&format!("?bodySHA256={hash}"), &format!("?bodySHA256={hash}"))),
        // The signature itself.
        ("quotes around the signature", "signature-text", i().mangled(|text| format!("\"{text}\""))),
        ("a signature without its =", "signature-text", i().mangled(|text| text.trim_end_matches('=').to_owned())),
        ("a signature that was sent twice", "signature-text", i().mangled(|text| format!("{text}, {text}"))),
        ("a signature in lower case", "signature-text", i().mangled(|text| text.to_lowercase())),
        ("a signature that was cut short", "signature-text", i().mangled(|text| text[..20].to_owned())),
        ("a signature in percent escapes", "signature-text", i().mangled(|text| { text.replace('=', "%3D").replace('+', "%2B").replace('/', "%2F") })),
        ("an empty signature", "no-signature", i().mangled(|_| String::new())),
        // Several at once, and none.
        ("http, and a stripped prefix", "scheme", i().entered(&at("http://bridge.example.com/api"))),
        ("a forwarded host, and a lost query", "host", i().entered("https://calls.example.com/twilio/voice/status?email=jane%40example.com").header("x-forwarded-host", "calls.example.com")),
        ("a port, and lost fields", "port", i().entered(&at("https://bridge.example.com:8443")).body(without_empty())),
        ("an unknown token", "no-match", i().signed_with(SigningKey::auth_token("another"))),
    ]
}
