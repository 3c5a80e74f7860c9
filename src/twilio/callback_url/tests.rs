//! Mistakes in a callback URL, each made alone.

use super::*;

fn about(url: &str) -> Vec<&'static str> {
    let public = [PublicUrl::parse("https://bridge.example.com/calls").expect("a URL")];
    check(url, &public)
        .into_iter()
        .map(|problem| problem.about)
        .collect()
}

#[test]
fn a_recommended_url_has_no_problem() {
    for text in [
        "https://bridge.example.com",
        "https://bridge.example.com/a/b",
    ] {
        let public = PublicUrl::parse(text).expect("a URL");
        for form in CallbackKind::ALL {
            let url = to_enter(&public, form);
            assert_eq!(check(&url, std::slice::from_ref(&public)), [], "{url}");
        }
    }
}

#[test]
fn each_mistake_is_found_alone() {
    let good = "https://bridge.example.com/calls/twilio/voice/status#rc=5&rp=all";
    assert_eq!(about(good), [""; 0]);
    let host = "bridge.example.com";
    for (from, to, expected) in [
        ("https:", "ftp:", &["url"][..]),
        ("https:", "http:", &["path", "scheme"]),
        (host, "u:p@bridge.example.com", &["user-info"]),
        (host, "10.0.0.7", &["host", "path"]),
        (host, "100.64.3.4", &["host", "path"]),
        (host, "[fd00::1]", &["host", "path"]),
        (host, "localhost", &["host", "path"]),
        (host, "bridge.local", &["host", "path"]),
        (host, "bridge", &["host", "path"]),
        (host, "my_bridge.example.com", &["underscore", "path"]),
        (host, "bridge.example.com:8443", &["path", "port"]),
        (host, "bridge.example.com:443", &["path", "port"]),
        (host, "bridge.example.com:x", &["port", "path"]),
        ("/calls", "", &["path"]),
        ("/status", "/status/", &["path"]),
        ("/status", "/other", &["path"]),
        ("#", "?email=a%40b#", &[]),
        ("#", "?email=a@b#", &["at"]),
        ("#", "?email=o'hara%40b#", &["apostrophe"]),
        ("#", "?email=a+b#", &["plus"]),
        ("#", "?email={a}%40b#", &["unescaped"]),
        ("#", "?tenant=1#", &["query"]),
        ("#", "?zone=1&email=a#", &["query", "query-order"]),
        ("#rc=5&rp=all", "", &["overrides"]),
        ("rc=5", "rc=0", &["overrides"]),
        ("rc=5", "rc=9", &["overrides"]),
        ("rp=all", "rp=ct", &["overrides"]),
        ("rp=all", "rp=5xx,rt,ct", &[]),
        ("rp=all", "rp=all&ct=99", &["overrides"]),
        ("rp=all", "rp=all&rt=2000", &[]),
        ("rp=all", "rp=all&retries=2", &["overrides"]),
    ] {
        let url = good.replacen(from, to, 1);
        assert_eq!(about(&url), expected, "{url}");
    }
}
