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
    bridge.settles();
}
