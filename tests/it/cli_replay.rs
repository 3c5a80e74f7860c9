//! `replay` at the command line, against a server that verifies signatures as a bridge does.

mod offline;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use assert_cmd::Command;
use serde_json::{Value, json};
use twilio_acquire_bridge::twilio::signature::{Body, PublicUrl, SigningKey, fields, verify};
use twilio_acquire_bridge::twilio::{Callback, callback};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const INBOUND: &str = "fixtures/twilio/inbound-completed.http";
const EMAIL: &str = "fixtures/twilio/inbound-email.http";
const RECORDING: &str = "fixtures/twilio/refused-recording.http";

/// Verifies requests for one public URL and collects the callbacks that it accepts.
struct FakeBridge {
    base: String,
    accepted: Receiver<Callback>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl FakeBridge {
    fn start(public_url: &str) -> Self {
        let public = PublicUrl::parse(public_url).expect("a public URL");
        let (sender, accepted) = channel();
        let (started, address) = channel();
        let thread = std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                let (public, sender) = (public.clone(), sender.clone());
                App::new().default_service(web::to(
                    move |request: HttpRequest, body: web::Bytes| {
                        let answer = verify_and_read(&public, &request, &body);
                        let answer = match answer {
                            Ok(callback) => {
                                sender.send(callback).expect("the test still listens");
                                HttpResponse::NoContent().finish()
                            }
                            Err((status, why)) => HttpResponse::build(status)
                                .content_type("application/problem+json")
                                .json(json!({ "title": "Bad Request", "detail": why })),
                        };
                        async { answer }
                    },
                ))
            })
            .workers(1)
            .disable_signals()
            .bind(("127.0.0.1", 0))
            .expect("a port is free");
            let port = server.addrs()[0].port();
            actix_web::rt::System::new().block_on(async move {
                let server = server.run();
                started
                    .send((port, server.handle()))
                    .expect("the test waits");
                server.await.expect("it serves");
            });
        });
        let (port, handle) = address.recv().expect("the server starts");
        let base = format!("http://127.0.0.1:{port}");
        Self {
            base,
            accepted,
            handle,
            thread: Some(thread),
        }
    }

    fn callbacks(&self) -> Vec<Callback> {
        self.accepted.try_iter().collect()
    }
}

impl Drop for FakeBridge {
    fn drop(&mut self) {
        actix_web::rt::System::new().block_on(self.handle.stop(false));
        self.thread.take().map(JoinHandle::join);
    }
}

fn verify_and_read(
    public: &PublicUrl,
    request: &HttpRequest,
    body: &[u8],
) -> Result<Callback, (actix_web::http::StatusCode, String)> {
    use actix_web::http::StatusCode;
    let target = request.uri().to_string();
    let header = request.headers().get("X-Twilio-Signature");
    let signature = header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let keys = [SigningKey::auth_token(TOKEN)];
    if !verify(
        &keys,
        &public.signed_url(&target),
        Body::Form(&fields(body)),
        signature,
    ) {
        return Err((StatusCode::FORBIDDEN, "the signature is wrong".to_owned()));
    }
    callback::read(body, &target).map_err(|why| (StatusCode::BAD_REQUEST, why.to_string()))
}

fn replay(args: &[&str]) -> (String, String, i32) {
    let output = Command::cargo_bin("twilio-acquire-bridge")
        .expect("the binary is built")
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .arg("replay")
        .args(args)
        .output()
        .expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    let code = output.status.code().expect("it ends by itself");
    (text(output.stdout), text(output.stderr), code)
}

#[test]
fn a_replayed_call_arrives_signed_as_twilio_signs_it() {
    let bridge = FakeBridge::start("https://bridge.example.com");
    let (out, err, code) = replay(&[INBOUND, EMAIL, "--to", &bridge.base]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("sent     2 in ") && out.contains("answers  204: 2"),
        "{out}"
    );
    assert!(
        err.contains("--fresh-sids") && err.contains("requeue"),
        "{err}"
    );
    let legs: BTreeSet<String> = bridge
        .callbacks()
        .iter()
        .map(|callback| callback.leg.to_string())
        .collect();
    assert!(
        legs.contains("CA00000000000000000000000000000001"),
        "{legs:?}"
    );
    assert_eq!(legs.len(), 2);
}

#[test]
fn the_public_url_is_signed_in_place_of_the_fixtures_base() {
    let bridge = FakeBridge::start("https://calls.example/acme");
    let args = [INBOUND, "--to", &bridge.base];
    assert_eq!(replay(&args).2, 3);
    let there = ["--public-url", "https://calls.example/acme/"];
    assert_eq!(replay(&[&args[..], &there].concat()).2, 0);
}

#[test]
fn fresh_sids_make_new_calls_in_each_pass_and_keep_legs_joined() {
    let bridge = FakeBridge::start("https://bridge.example.com");
    let args = [
        "fixtures/twilio",
        "--to",
        &bridge.base,
        "--fresh-sids",
        "--repeat",
        "2",
        "--json",
    ];
    let (out, err, code) = replay(&args);
    // This fake bridge verifies forms alone; it answers 403 to the one fixture with JSON.
    assert_eq!((code, err.as_str()), (3, ""), "{out}");
    let callbacks = bridge.callbacks();
    let legs: BTreeSet<&str> = callbacks
        .iter()
        .map(|callback| callback.leg.as_str())
        .collect();
    assert_eq!(legs.len(), callbacks.len(), "each leg is new");
    let joined = |callback: &&Callback| {
        callback
            .parent
            .as_ref()
            .is_some_and(|at| legs.contains(at.as_str()))
    };
    assert!(callbacks.iter().filter(joined).count() >= 4);

    let summary: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(summary["answers"]["204"], callbacks.len());
    assert_eq!(
        summary["sent"],
        2 * std::fs::read_dir("fixtures/twilio").expect("there").count()
    );
    let recording = summary["not_accepted"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["item"] == RECORDING))
        .expect("the recording is listed");
    assert_eq!(
        (&recording["status"], &recording["times"]),
        (&json!(400), &json!(2))
    );
    assert_eq!(recording["as_expected"], true);
    let is_expected = |one: &&Value| one["as_expected"] == true;
    let listed = summary["not_accepted"].as_array().expect("a list");
    assert_eq!(listed.iter().filter(is_expected).count() + 1, listed.len());
    assert_eq!(
        summary["refused_as_expected"].as_u64(),
        summary["answers"]["400"].as_u64()
    );
    assert!(
        recording["reason"]
            .as_str()
            .is_some_and(|why| why.contains("recording"))
    );
}

#[test]
fn a_fixture_that_must_be_refused_is_no_failure_if_it_is_refused() {
    let bridge = FakeBridge::start("https://bridge.example.com");
    let both = replay(&[INBOUND, RECORDING, "--to", &bridge.base, "--fresh-sids"]);
    assert_eq!(both.2, 0, "{both:?}");
    assert!(both.0.ends_with("\n1 refused as expected\n"), "{}", both.0);

    // A fixture that must be accepted, and a refusal for another reason.
    let other = ["--public-url", "https://other.example.com"];
    let args = [&[RECORDING, "--to", &bridge.base][..], &other].concat();
    let (out, _, code) = replay(&args);
    assert_eq!(code, 3);
    assert!(
        out.ends_with("refused-recording.http: 403, the signature is wrong\n"),
        "{out}"
    );
}

#[test]
fn a_rate_spreads_the_requests() {
    let bridge = FakeBridge::start("https://bridge.example.com");
    let args = [
        INBOUND,
        "--to",
        &bridge.base,
        "--repeat",
        "6",
        "--rate",
        "50",
        "--json",
    ];
    let (out, ..) = replay(&args);
    let summary: Value = serde_json::from_str(&out).expect("JSON");
    assert!(
        summary["seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds >= 0.1),
        "{out}"
    );
    assert_eq!(bridge.callbacks().len(), 6);
}

#[test]
fn a_bridge_that_is_not_there_is_no_answer() {
    // No test listens on port 9; a free port may be used by another test.
    let (out, err, code) = replay(&[INBOUND, "--to", "http://127.0.0.1:9"]);
    assert_eq!(code, 3);
    assert_eq!(err, "", "nothing was accepted that could be a repeat");
    assert!(
        out.contains("answers  none: 1") && out.contains("inbound-completed.http: no answer, "),
        "{out}"
    );
}

#[test]
fn a_dry_run_prints_what_acquire_would_get_or_why_nothing() {
    let ringing = "fixtures/twilio/not-ended-ringing.http";
    let (out, err, code) = replay(&[INBOUND, ringing, RECORDING, "--dry-run", "--auth-token", ""]);
    assert_eq!((err.as_str(), code), ("", 0));
    insta::assert_snapshot!(out, @r#"
    fixtures/twilio/inbound-completed.http: {"From":"+12025550123","To":"+14045550199","CallId":"CA00000000000000000000000000000001","CallStatus":"completed","Duration":"35","Direction":"incoming"}
    fixtures/twilio/not-ended-ringing.http: skipped: leg CA00000000000000000000000000000029 has not ended (CallStatus ringing)
    fixtures/twilio/refused-recording.http: refused with 400: this is a recording status callback; the URL for RecordingStatusCallback ends in /twilio/voice/recording
    "#);
    let (out, ..) = replay(&[INBOUND, RECORDING, "--dry-run", "--json"]);
    insta::assert_snapshot!(out, @r#"
    {"file":"fixtures/twilio/inbound-completed.http","acquire":{"From":"+12025550123","To":"+14045550199","CallId":"CA00000000000000000000000000000001","CallStatus":"completed","Duration":"35","Direction":"incoming"}}
    {"file":"fixtures/twilio/refused-recording.http","acquire":{"refused":400}}
    "#);
}

#[test]
fn a_file_that_cannot_be_replayed_is_an_error_of_one_line() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().display().to_string();
    let (_, err, code) = replay(&[&path, "--dry-run"]);
    assert_eq!(
        (err, code),
        (
            format!("error: the folder {path} contains no .http file\n"),
            2
        )
    );

    let case = folder.path().join("case.http");
    std::fs::write(&case, "# a case\nPOST /twilio/voice/status\n").expect("it can be written");
    let (_, err, code) = replay(&[&path, "--dry-run"]);
    let mistake = "the URL must start with https:// or http://, followed by a host";
    assert_eq!(
        (err, code),
        (format!("error: {}:2: {mistake}\n", case.display()), 1)
    );

    let (_, err, code) = replay(&[INBOUND]);
    assert!(err.contains("--to <URL>"), "{err}");
    assert_eq!(code, 2);
}

#[test]
fn a_scenario_is_played_as_a_whole_and_compared() {
    let (out, _, code) = replay(&["--dry-run", "fixtures/scenarios"]);
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("fixtures/scenarios/transfer: {\"call-end\":{"),
        "{out}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    for name in ["01-ended.http", "expected.json"] {
        let from = std::path::Path::new("fixtures/scenarios/api-out").join(name);
        std::fs::copy(from, folder.path().join(name)).expect("a copy");
    }
    let path = folder.path().to_str().expect("a name");
    let (out, _, code) = replay(&["--dry-run", path]);
    assert_eq!(code, 0, "{out}");
    std::fs::write(folder.path().join("expected.json"), "[]").expect("written");
    let (out, _, code) = replay(&["--dry-run", path]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("differs from the expected result"), "{out}");
}

#[test]
fn a_monitor_alert_of_a_failed_webhook_is_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("alert.json");
    let form = "CallSid=CA00000000000000000000000000000001&AccountSid=AC00000000000000000000000000000001\
        &CallStatus=busy&From=%2B12025550123&To=%2B12025550199&Direction=inbound";
    let alert = json!({
        "error_code": "11200", "request_method": "POST", "request_variables": form,
        "request_url": "https://bridge.example.com/acme/twilio/voice/status",
    });
    std::fs::write(&file, alert.to_string()).expect("written");
    let path = file.to_str().expect("a name");
    for how in ["--dry-run", "--offline"] {
        let (out, err, code) = replay(&[how, path]);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains("\"CallStatus\":\"busy\""), "{out}{err}");
    }
    std::fs::write(&file, "{}").expect("written");
    let (_, err, code) = replay(&["--dry-run", path]);
    assert!(
        code == 1 && err.contains("neither a Monitor Alert"),
        "{err}"
    );
}

#[test]
fn the_expected_result_of_a_fixture_may_be_in_a_file_next_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let fixture = folder.path().join("case.http");
    std::fs::copy(INBOUND, &fixture).expect("a copy");
    let beside = folder.path().join("case.json");
    std::fs::copy("fixtures/acquire/inbound-completed.json", &beside).expect("a copy");
    let path = fixture.to_str().expect("a name");
    let (out, err, code) = replay(&["--dry-run", path]);
    assert_eq!(code, 0, "{out}{err}");
    let expected = std::fs::read_to_string(&beside).expect("text");
    std::fs::write(&beside, expected.replace("completed", "busy")).expect("written");
    let (out, _, code) = replay(&["--dry-run", path]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("-  \"CallStatus\": \"busy\",\n"), "{out}");
}
