//! Refused requests are kept with their cause.

use std::time::Instant;

use serde_json::Value;

use crate::support::harness::{Bridge, WAIT_LIMIT};
use crate::support::http::exchange;
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, signature, status_form};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

impl Bridge {
    /// Sends what Twilio signed for another URL.
    fn gets_signed_for(&self, url: &str) {
        let form = status_form(&sid(1), "completed");
        let body = form.as_bytes();
        let signature = signature(url, body);
        let headers = [FORM, ("X-Twilio-Signature", signature.as_str())];
        let answer = exchange(self.public(), "POST", STATUS, &headers, body);
        assert_eq!(answer.status, 403);
    }

    /// Waits until something is kept of a cause.
    pub fn keeps(&self, cause: &str) -> Value {
        let until = Instant::now() + WAIT_LIMIT;
        loop {
            let listed = self.admin("GET", "/api/refused", &[]).json();
            let causes = listed["causes"].as_array().expect("causes");
            if let Some(kept) = causes.iter().find(|kept| kept["cause"] == cause) {
                return kept.clone();
            }
            assert!(Instant::now() < until, "{cause} is not kept: {listed}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_refused_callback_is_kept_and_verify_finds_the_same_cause() {
    let bridge = Bridge::start();
    bridge.gets_signed_for(&format!("http://bridge.example.com{STATUS}"));
    let kept = bridge.keeps("scheme");
    assert_eq!(kept["count"], 1);
    let listed = bridge.runs(&["list", "--refused"]);
    assert!(listed.out.contains("     1  scheme"), "{}", listed.out);
    let none = bridge.runs(&["list", "--refused", "--limit", "0"]);
    let expected = ("", "0 of 1 cause shown (--limit)\n");
    assert_eq!((none.out.as_str(), none.err.as_str()), expected);
    let latest = bridge.runs(&["list", "--refused", "--cause", "scheme"]);
    assert!(
        latest.out.contains("127.0.0.1, not verified"),
        "{}",
        latest.out
    );
    assert!(
        latest.out.contains(&format!("POST {PUBLIC_URL}{STATUS}")),
        "{}",
        latest.out
    );

    let folder = bridge.folder.path().join("incident");
    let (id, out) = (kept["example"].to_string(), folder.display().to_string());
    let run = bridge.runs(&["export", "--refused", &id, "--out", &out]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let verified = bridge.runs(&["verify", run.out.trim()]);
    assert_eq!(verified.code, Some(1));
    assert!(
        verified.err.contains("(scheme)") || verified.out.contains("(scheme)"),
        "{verified:?}"
    );
}

#[test]
fn a_call_that_was_refused_is_found_by_its_sid_and_shown() {
    let bridge = Bridge::start();
    let run = bridge.runs(&["show", &sid(1)]);
    assert!(run.err.contains("list --refused"), "{run:?}");
    bridge.gets_signed_for(&format!("http://bridge.example.com{STATUS}"));
    bridge.keeps("scheme");
    let run = bridge.runs(&["show", &sid(1)]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let hint = "1 refused request named it, the latest with cause scheme: show ";
    let (_, id) = run.err.trim_end().split_once(hint).expect("where to look");

    let run = bridge.runs(&["show", id]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.starts_with(&format!("{id}  ")), "{run:?}");
    for words in [
        " 403 scheme, from 127.0.0.1",
        "x-twilio-signature: ",
        "+12025550123",
    ] {
        assert!(run.out.contains(words), "{words}: {}", run.out);
    }
    let json = bridge.runs(&["show", id, "--json"]).out;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["cause"], "scheme");
    assert_eq!(bridge.runs(&["show", "999"]).code, Some(1));
}

#[test]
fn a_redacted_export_of_a_refused_request_has_no_personal_data() {
    let bridge = Bridge::start();
    bridge.gets_signed_for(&format!("http://bridge.example.com{STATUS}"));
    let id = bridge.keeps("scheme")["example"].to_string();
    let folder = bridge.folder.path().join("incident");
    let out = folder.display().to_string();
    let run = bridge.runs(&["export", "--refused", &id, "--redact", "--out", &out]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let text = std::fs::read_to_string(run.out.trim()).expect("a file");
    for plant in [
        "2025550123",
        "2025550199",
        "127.0.0.1",
        "x-twilio-signature",
        &sid(1),
    ] {
        assert!(
            !text.to_lowercase().contains(&plant.to_lowercase()),
            "{plant}: {text}"
        );
    }
    assert!(text.contains("CallStatus=completed"), "{text}");
}

#[test]
fn a_malformed_request_is_kept_with_its_body_and_is_escaped_on_the_page() {
    let bridge = Bridge::start();
    let form = "AccountSid=AC00000000000000000000000000000001&x=<script>alert(1)</script>";
    assert_eq!(bridge.twilio.sends_form(STATUS, form).status, 400);
    let listed = bridge.admin("GET", "/api/calls", &[]).json();
    assert_eq!(listed["calls"].as_array().map(Vec::len), Some(0));
    let until = Instant::now() + WAIT_LIMIT;
    let cause = loop {
        let listed = bridge.admin("GET", "/api/refused", &[]).json();
        if let Some(cause) = listed["causes"][0]["cause"].as_str() {
            break cause.to_owned();
        }
        assert!(Instant::now() < until, "nothing is kept");
        std::thread::yield_now();
    };
    for path in ["/api/refused?cause=zzz", "/refused?cause=zzz"] {
        let answer = bridge.admin("GET", path, &[]);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(
            answer.body.contains("cause must be one of bad-format, "),
            "{answer:?}"
        );
    }
    let run = bridge.runs(&["list", "--refused", "--cause", "zzz"]);
    assert_eq!(run.code, Some(2), "{}", run.err);
    assert!(run.err.contains(&cause), "{}", run.err);
    let target = format!("/api/refused?cause={cause}");
    let kept = bridge.admin("GET", &target, &[]).json();
    assert_eq!(kept["refused"][0]["body"], form);
    let page = bridge
        .admin("GET", &format!("/refused?cause={cause}"), &[])
        .body;
    assert!(page.contains("Nothing here is verified"), "{page}");
    assert!(
        page.contains("alert(1)") && !page.contains("<script>"),
        "{page}"
    );
}

#[test]
fn a_flood_is_counted_and_valid_callbacks_are_accepted_as_before() {
    let bridge = Bridge::start();
    for _ in 0..50 {
        let answer = exchange(bridge.public(), "POST", STATUS, &[FORM], b"AccountSid=x");
        assert_eq!(answer.status, 403);
    }
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.keeps("no-signature");
    let dropped = bridge.metric("bridge_refused_not_kept_total");
    assert!(dropped >= Some(30.0), "{dropped:?}");
    let kept = bridge.admin("GET", "/api/refused", &[]).json();
    assert_eq!(kept["causes"][0]["counted"], 50, "{kept}");
    let page = bridge.admin("GET", "/refused", &[]).body;
    assert!(page.contains(" of 50</td>"), "{page}");
    bridge.settles();
}

fn json(form: &str) -> String {
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(form).expect("a form");
    let fields = fields.into_iter().map(|(name, value)| (name, value.into()));
    Value::Object(fields.collect()).to_string()
}

#[test]
fn a_callback_that_is_refused_before_its_body_is_kept_found_and_repaired() {
    let bridge = Bridge::start();
    let form = |call: usize| status_form(&sid(call), "completed");
    let in_query = format!("{STATUS}?{}", form(3));
    let large = format!("{}&x={}", form(6), "x".repeat(70_000));
    let cases = [
        (
            1,
            "POST",
            format!("{STATUS}/"),
            FORM,
            form(1),
            404,
            "not-found",
        ),
        (
            2,
            "POST",
            "/other".to_owned(),
            FORM,
            form(2),
            404,
            "not-found",
        ),
        (3, "GET", in_query, FORM, String::new(), 405, "wrong-method"),
        (
            4,
            "PUT",
            STATUS.to_owned(),
            FORM,
            form(4),
            405,
            "wrong-method",
        ),
        (
            5,
            "POST",
            STATUS.to_owned(),
            ("Content-Type", "text/plain"),
            form(5),
            415,
            "not-a-form",
        ),
        (6, "POST", STATUS.to_owned(), FORM, large, 413, "too-large"),
        (
            7,
            "POST",
            "/other".to_owned(),
            ("Content-Type", "application/json"),
            json(&form(7)),
            404,
            "not-found",
        ),
    ];
    for (call, method, target, content_type, body, status, cause) in cases {
        let headers = [content_type, ("X-Twilio-Signature", "of-another-url")];
        let answer = exchange(bridge.public(), method, &target, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {target}");
        let hint = format!("1 refused request named it, the latest with cause {cause}: show ");
        let mut id = String::new();
        crate::support::harness::until("the request is kept", || {
            let run = bridge.runs(&["show", &sid(call)]);
            id = run
                .err
                .trim_end()
                .split_once(&hint)
                .map_or("", |(_, id)| id)
                .to_owned();
            !id.is_empty()
        });
        let shown: Value =
            serde_json::from_str(&bridge.runs(&["show", &id, "--json"]).out).expect("JSON");
        assert_eq!(shown["target"], target);
        assert_eq!(shown["body_bytes"], body.len());
        let kept = shown["body"].as_str().expect("a text");
        assert_eq!(kept, &body[..body.len().min(16 * 1024)]);
        let headers = shown["headers"].to_string();
        assert!(
            headers.contains("x-twilio-signature: of-another-url"),
            "{headers}"
        );

        let out = bridge.folder.path().join("repaired");
        let run = bridge.runs(&["export", &sid(call), "--out", &out.display().to_string()]);
        if cause == "too-large" {
            assert_eq!(run.code, Some(3), "{run:?}");
            continue;
        }
        assert_eq!(run.code, Some(0), "{run:?}");
        let to = format!("http://{}", bridge.public());
        let run = bridge.runs(&["replay", run.out.trim(), "--to", &to]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_ne!(bridge.state(&sid(call)), "unknown to the bridge");
    }
    bridge.settles();
    assert_eq!(bridge.sent().len(), 6);
}

#[test]
fn a_health_check_of_a_balancer_is_not_kept() {
    let bridge = Bridge::start();
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(exchange(bridge.public(), method, "/", &[], b"").status, 404);
    }
    let checks = r#"bridge_callbacks_received_total{account="unknown",verdict="health-check"}"#;
    assert_eq!(bridge.metric(checks), Some(3.0));
    let signed = [("X-Twilio-Signature", "of-another-url")];
    assert_eq!(
        exchange(bridge.public(), "GET", "/", &signed, b"").status,
        404
    );
    assert_eq!(bridge.keeps("not-found")["count"], 1);
}
