//! The public listener: accepted and refused callbacks, and the answer to each.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::harness::Bridge;
use crate::support::http::{Answer, exchange, send};
use crate::support::twilio::{PUBLIC_URL, STATUS, TOKEN, sid, signature, status_form};
use twilio_acquire_bridge::twilio::signature::{Body, Form, SigningKey, fields, sign};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn detail(answer: &Answer) -> String {
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    answer.json()["detail"]
        .as_str()
        .expect("a sentence")
        .to_owned()
}

#[test]
fn a_signed_callback_is_answered_204_without_a_body() {
    let bridge = Bridge::start();
    let answer = bridge.twilio.sends("inbound-completed");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    bridge.settles();
    assert_eq!(
        bridge.metric("bridge_ack_duration_seconds_count"),
        Some(1.0)
    );
}

#[test]
fn a_wrong_signature_is_403_without_a_reason() {
    let bridge = Bridge::start();
    let form = status_form(&sid(1), "completed");
    let wrong = sign(
        &SigningKey::auth_token("another"),
        &format!("{PUBLIC_URL}{STATUS}"),
        Body::Form(&Form::default()),
    );
    let headers = [FORM, ("X-Twilio-Signature", &wrong)];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
    let right = signature(&format!("{PUBLIC_URL}{STATUS}"), form.as_bytes());
    assert!(
        !answer.body.contains(&right),
        "the expected signature is shown"
    );
    bridge.counts("bridge_signature_failures_total{reason=\"no-match\"}", 1.0);
    assert_eq!(
        bridge.metric("bridge_callbacks_received_total{account=\"unknown\",verdict=\"no-match\"}"),
        Some(1.0)
    );
}

#[test]
fn a_missing_signature_is_403() {
    let bridge = Bridge::start();
    let form = status_form(&sid(1), "completed");
    let answer = exchange(bridge.public(), "POST", STATUS, &[FORM], form.as_bytes());
    assert_eq!(answer.status, 403);
    assert_eq!(detail(&answer), "the X-Twilio-Signature header is missing");
}

#[test]
fn an_account_that_is_not_served_is_403_and_another_vendors_sid_400() {
    let mut bridge = Bridge::start();
    let form = status_form(&sid(1), "completed");
    let none = form.replace("AccountSid=", "Account=");
    assert_eq!(bridge.twilio.sends_form(STATUS, &none).status, 403);
    let vendor = form.replace("AccountSid=AC", "AccountSid=0f4a2b1c-");
    assert_eq!(bridge.twilio.sends_form(STATUS, &vendor).status, 400);

    let file = bridge.folder.path().join("bridge.toml");
    let accounts = format!(
        "[[accounts]]\ntwilio_account_sid = \"AC00000000000000000000000000000007\"\n\
         twilio_auth_tokens = [\"{TOKEN}\"]\nacquire_account_id = \"acme\"\n"
    );
    std::fs::write(&file, accounts).expect("a file");
    bridge.restarts_with_file(&file);
    assert_eq!(bridge.twilio.sends_form(STATUS, &form).status, 403);
    let known = form.replace(
        "AC00000000000000000000000000000001",
        "AC00000000000000000000000000000007",
    );
    assert_eq!(bridge.twilio.sends_form(STATUS, &known).status, 204);
    bridge.settles();
}

#[test]
fn forwarded_headers_change_nothing() {
    let bridge = Bridge::start();
    let form = status_form(&sid(1), "completed");
    let evil = signature(
        &format!("https://evil.example.com{STATUS}"),
        form.as_bytes(),
    );
    let headers = [
        FORM,
        ("X-Twilio-Signature", evil.as_str()),
        ("X-Forwarded-Host", "evil.example.com"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=evil.example.com;proto=https"),
    ];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
    assert_eq!(answer.status, 403);
}

#[test]
fn malformed_callbacks_are_400_with_a_sentence() {
    let bridge = Bridge::start();
    let good = status_form(&sid(1), "completed");
    let bare = good.replace("CallbackSource=", "Source=");
    let cases = [
        (good.replace("CallSid=CA", "NoSid=CA"), "CallSid is missing"),
        (
            format!("{good}&CallSid={}", sid(2)),
            "CallSid is given more than once",
        ),
        (
            good.replace("CallStatus=completed", "CallStatus="),
            "CallStatus is missing",
        ),
        (format!("{good}&ParentCallSid=CA1"), "ParentCallSid must be"),
        (
            format!("{bare}&RecordingStatus=completed"),
            "recording status callback",
        ),
        (format!("{bare}&DialCallStatus=busy"), "<Dial>"),
        (format!("=x&{good}"), "a field without a name"),
        (format!("{good}&CallerName=%FF"), "not UTF-8"),
    ];
    for (form, sentence) in cases {
        let answer = bridge.twilio.sends_form(STATUS, &form);
        assert_eq!(answer.status, 400, "{form}");
        let detail = detail(&answer);
        assert!(detail.contains(sentence), "{detail:?} for {form}");
    }
}

#[test]
fn query_keys_other_than_email_are_400() {
    let bridge = Bridge::start();
    let form = status_form(&sid(1), "completed");
    let answer = bridge
        .twilio
        .sends_form(&format!("{STATUS}?tenant=7"), &form);
    assert_eq!(answer.status, 400);
    assert!(detail(&answer).contains("\"tenant\""));
    let answer = bridge
        .twilio
        .sends_form(&format!("{STATUS}?email=jane%40example.com"), &form);
    assert_eq!(answer.status, 204);
    bridge.settles();
    assert_eq!(bridge.sent()[0]["email"], "jane@example.com");
}

#[test]
fn weaker_evidence_is_recorded_and_counted_and_does_not_hide_the_real_end() {
    let bridge = Bridge::start();
    let good = status_form(&sid(1), "completed");
    let bare = good.replace("CallbackSource=", "Source=");
    for form in [&bare, &bare, &good, &good] {
        assert_eq!(bridge.twilio.sends_form(STATUS, form).status, 204);
    }
    let metrics = bridge.admin("GET", "/metrics", &[]).body;
    for (verdict, count) in [("weaker", 1), ("new", 1), ("repeated", 2)] {
        let line = format!("verdict=\"{verdict}\"}} {count}");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    bridge.settles();
    assert_eq!(bridge.sent().len(), 1);
}

#[test]
fn json_that_has_a_name_is_400_with_it() {
    let bridge = Bridge::start();
    let batch = br#"[{"specversion":"1.0","type":"com.twilio.voice.x"}]"#;
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let answer = exchange(bridge.public(), "POST", STATUS, &headers, batch);
    assert_eq!(answer.status, 400);
    assert!(
        detail(&answer).contains("Event Streams"),
        "{}",
        detail(&answer)
    );
}

#[test]
fn what_is_no_form_is_415() {
    let bridge = Bridge::start();
    for content_type in ["application/json", "text/plain", "multipart/form-data"] {
        let headers = [("Content-Type", content_type)];
        let answer = exchange(bridge.public(), "POST", STATUS, &headers, b"{}");
        assert_eq!(answer.status, 415, "{content_type}");
    }
    let form = status_form(&sid(1), "completed");
    let answer = bridge.twilio.signs_and_sends(
        &format!("{PUBLIC_URL}{STATUS}"),
        STATUS,
        &[(
            "Content-Type",
            "Application/X-WWW-Form-Urlencoded ; charset=\"UTF-8\"",
        )],
        form.as_bytes(),
    );
    assert_eq!(answer.status, 204);
    bridge.settles();
}

#[test]
fn a_body_beyond_64_kib_is_413() {
    let bridge = Bridge::start();
    let fits = |length: usize| {
        let form = status_form(&sid(1), "completed");
        let padding = length - form.len() - "&Padding=".len();
        format!("{form}&Padding={}", "x".repeat(padding))
    };
    assert_eq!(
        bridge
            .twilio
            .sends_form(STATUS, &fits(64 * 1024 + 1))
            .status,
        413
    );
    assert_eq!(
        bridge.twilio.sends_form(STATUS, &fits(64 * 1024)).status,
        204
    );
    bridge.settles();
}

#[test]
fn another_method_is_405_with_allow_and_another_path_404() {
    let bridge = Bridge::start();
    let answer = exchange(bridge.public(), "GET", STATUS, &[], b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let answer = exchange(bridge.public(), "POST", "/elsewhere", &[FORM], b"");
    assert_eq!(answer.status, 404);
    assert!(detail(&answer).contains("/twilio/voice/status"));
}

#[test]
fn a_body_that_stops_arriving_is_given_up() {
    let bridge = Bridge::with(&[("BRIDGE__SERVER__REQUEST_TIMEOUT", "200ms")]);
    let mut stream = TcpStream::connect(bridge.public()).expect("the bridge listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a TCP socket");
    let head = format!(
        "POST {STATUS} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 100\r\n\r\nCallSid="
    );
    stream.write_all(head.as_bytes()).expect("the bridge reads");
    let mut answer = [0; 12];
    stream
        .read_exact(&mut answer)
        .expect("an answer within the limit");
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[test]
fn noise_does_not_end_the_process() {
    let bridge = Bridge::start();
    for noise in [
        &b"\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        &[0xff; 4096],
    ] {
        let mut stream = TcpStream::connect(bridge.public()).expect("the bridge listens");
        let _ = stream.write_all(noise);
    }
    let answer = send(
        bridge.public(),
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    );
    assert_eq!(answer.status, 400);
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.settles();
}

#[test]
fn a_repeated_callback_is_answered_but_sent_once() {
    let bridge = Bridge::start();
    for _ in 0..3 {
        assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    }
    bridge.settles();
    assert_eq!(bridge.sent().len(), 1);
    assert_eq!(
        bridge.metric("bridge_callbacks_received_total{account=\"acme\",verdict=\"repeated\"}"),
        Some(2.0)
    );
}

#[test]
fn a_repeat_is_recognised_after_a_restart() {
    let mut bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.stops();
    bridge.starts();
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.settles();
    assert_eq!(bridge.sent().len(), 1);
}

#[test]
fn a_prefix_of_the_public_url_is_signed_whether_a_proxy_strips_it_or_not() {
    let bridge = Bridge::with(&[(
        "BRIDGE__SERVER__PUBLIC_URL",
        "https://bridge.example.com/voice/eu",
    )]);
    let url = format!("{PUBLIC_URL}/voice/eu{STATUS}");
    for (call, target) in [(1, STATUS.to_owned()), (2, format!("/voice/eu{STATUS}"))] {
        let form = status_form(&sid(call), "completed");
        let answer = bridge
            .twilio
            .signs_and_sends(&url, &target, &[FORM], form.as_bytes());
        assert_eq!(answer.status, 204, "{target}");
    }
    bridge.settles();
    assert_eq!(bridge.sent().len(), 2);
}

#[test]
fn paths_that_a_gateway_maps_are_signed_as_entered_at_twilio() {
    let bridge = Bridge::with(&[
        ("BRIDGE__SERVER__STATUS_PATH", "/hooks/voice-ended"),
        ("BRIDGE__SERVER__RECORDING_PATH", "/hooks/recorded"),
        ("BRIDGE__RECORDING__EXPECT", "always"),
    ]);
    let recorded = format!(
        "CallSid={}&AccountSid=AC00000000000000000000000000000001&RecordingStatus=completed\
         &RecordingSid=RE00000000000000000000000000000001\
         &RecordingUrl=https%3A%2F%2Fapi.twilio.com%2FRE00000000000000000000000000000001",
        sid(1)
    );
    for (call, entered, target, form) in [
        (1, "/hooks/recorded", "/twilio/voice/recording", recorded),
        (
            1,
            "/hooks/voice-ended",
            STATUS,
            status_form(&sid(1), "completed"),
        ),
        (
            2,
            "/hooks/voice-ended",
            STATUS,
            status_form(&sid(2), "busy"),
        ),
    ] {
        for query in ["", "?email=jane%40example.com"] {
            let url = format!("{PUBLIC_URL}{entered}{query}");
            let target = format!("{target}{query}");
            let answer = bridge
                .twilio
                .signs_and_sends(&url, &target, &[FORM], form.as_bytes());
            assert_eq!(answer.status, 204, "{call} {target}");
        }
    }
    let form = status_form(&sid(3), "completed");
    let own = format!("{PUBLIC_URL}{STATUS}");
    let answer = bridge
        .twilio
        .signs_and_sends(&own, STATUS, &[FORM], form.as_bytes());
    assert_eq!(
        answer.status, 403,
        "the bridge's own path is not the one that is signed"
    );
    bridge.settles();
    let sent = bridge.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().any(|end| end.get("RecordingUrl").is_some()));
}

#[test]
fn each_of_several_public_urls_and_tokens_is_accepted() {
    let bridge = Bridge::with(&[
        (
            "BRIDGE__SERVER__PUBLIC_URL",
            "https://bridge.example.com, http://10.0.0.1:8080",
        ),
        (
            "TWILIO_AUTH_TOKEN",
            "the-new-token,0123456789abcdef0123456789abcdef",
        ),
    ]);
    for (call, base) in [
        (1, PUBLIC_URL),
        (2, "http://10.0.0.1:8080"),
        (3, "http://10.0.0.1"),
    ] {
        let form = status_form(&sid(call), "completed");
        let url = format!("{base}{STATUS}");
        assert_eq!(
            bridge
                .twilio
                .signs_and_sends(&url, STATUS, &[FORM], form.as_bytes())
                .status,
            204
        );
    }
    bridge.settles();
}

#[test]
fn a_shared_key_is_accepted_where_the_settings_header_names_it() {
    let mut bridge = Bridge::start();
    let file = bridge.folder.path().join("bridge.toml");
    std::fs::write(
        &file,
        format!(
            "[[accounts]]\ntwilio_account_sid = \"AC00000000000000000000000000000001\"\n\
             twilio_auth_tokens = [\"{TOKEN}\"]\ntwilio_shared_keys = {{ WK1 = \"shared-secret\" }}\n\
             acquire_account_id = \"acme\"\n"
        ),
    )
    .expect("a file");
    bridge.restarts_with_file(&file);
    let form = status_form(&sid(1), "completed");
    let url = format!("{PUBLIC_URL}{STATUS}");
    let signature = sign(
        &SigningKey::shared_key("shared-secret"),
        &url,
        Body::Form(&fields(form.as_bytes())),
    );
    let settings = "X-Twilio-Webhooks-Signature-Settings";
    let send = |named: Option<&str>| {
        let mut headers = vec![FORM, ("X-Twilio-Signature", signature.as_str())];
        headers.extend(named.map(|value| (settings, value)));
        exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes()).status
    };
    assert_eq!(send(None), 403, "SHA-256 without the header");
    assert_eq!(send(Some("key=WK1,algorithm=HMAC_SHA512")), 403);
    assert_eq!(send(Some("key=WK2,algorithm=HMAC_SHA256")), 403);
    assert_eq!(send(Some("key=WK1,algorithm=HMAC_SHA256")), 204);
    bridge.settles();
}

#[test]
fn a_store_that_cannot_commit_is_503_and_not_ready_until_it_can() {
    let bridge = Bridge::start();
    let other = rusqlite::Connection::open(bridge.folder.path().join("bridge.db"));
    let other = other.expect("the database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let answer = bridge.twilio.ends(&sid(1), "completed");
    assert_eq!(answer.status, 503);
    assert_eq!(
        detail(&answer),
        "the callback could not be recorded; try again"
    );
    assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 503);
    other
        .execute_batch("ROLLBACK")
        .expect("the lock is given back");
    let unavailable = "bridge_callbacks_received_total{account=\"acme\",verdict=\"unavailable\"}";
    assert_eq!(bridge.metric(unavailable), Some(1.0));
    assert_eq!(bridge.admin("GET", "/readyz", &[]).status, 200);
    assert_eq!(bridge.twilio.ends(&sid(2), "completed").status, 204);
    bridge.settles();
}
