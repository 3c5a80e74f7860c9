//! Walks `fixtures/`: each request of Twilio is signed, verified, read and planned, and must come
//! out as its partner under `fixtures/acquire` says. A new case is two files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use twilio_acquire_bridge::debugging::fake_twilio::dry_run::DryRun;
use twilio_acquire_bridge::debugging::fixture::builtin;
use twilio_acquire_bridge::debugging::fixture::{Expected, Fixture};
use twilio_acquire_bridge::domain::plan::Rules;
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign, verify};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The names of a folder's files, each of which must end in `extension`.
fn cases(name: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder is there");
    entries
        .map(|entry| {
            let file = entry.expect("the folder can be read").file_name();
            let file = file.to_str().expect("names are ASCII");
            let case = file.strip_suffix(extension);
            case.unwrap_or_else(|| panic!("{name}/{file} is no {extension}"))
                .to_owned()
        })
        .collect()
}

#[test]
fn every_request_has_its_answer_and_is_compiled_in() {
    let requests = cases("twilio", ".http");
    assert!(requests.len() >= 30, "{} cases", requests.len());
    assert_eq!(requests, cases("acquire", ".json"));
    let compiled: BTreeSet<_> = builtin::cases()
        .iter()
        .map(|case| case.name.to_owned())
        .collect();
    assert_eq!(requests, compiled, "src/fixture/builtin.rs lists the cases");
    assert_eq!(compiled.len(), builtin::cases().len(), "each once");
}

#[test]
fn every_request_becomes_what_acquire_must_get() {
    for case in builtin::cases() {
        let path = folder("twilio").join(format!("{}.http", case.name));
        let fixture = Fixture::read(&path).expect("the fixture can be read");
        assert_eq!(fixture.to_string(), case.request, "{}", case.name);

        let key = SigningKey::auth_token(TOKEN);
        let form = fields(&fixture.body);
        let signature = sign(&key, &fixture.url, Body::Form(&form));
        assert!(verify(&[key], &fixture.url, Body::Form(&form), &signature));

        let expected: serde_json::Value =
            serde_json::from_str(case.acquire).expect("the answer is JSON");
        let forecast = DryRun::of(&fixture, &Rules::default());
        let got: serde_json::Value =
            serde_json::from_str(&forecast.to_json()).expect("a forecast is JSON");
        assert_eq!(got, expected, "{}: {forecast}", case.name);

        assert_eq!(case.fixture(), Ok(fixture), "{}", case.name);
        let kind = case.expected().expect("one of four kinds");
        assert_eq!(
            matches!(kind, Expected::Refused { .. }),
            case.name.starts_with("refused-"),
            "{}",
            case.name
        );
    }
}

#[test]
fn a_refused_file_is_named_with_the_place_where_it_belongs() {
    let why = |name: &str| {
        let fixture = Fixture::read(&folder("twilio").join(format!("{name}.http")));
        DryRun::of(&fixture.expect("a fixture"), &Rules::default()).to_string()
    };
    for (name, words) in [
        ("refused-recording", "RecordingStatusCallback"),
        ("refused-conference", "conference"),
        ("refused-dial-action", "<Dial>"),
        ("refused-record-action", "<Record>"),
        ("refused-gather-action", "<Gather>"),
        ("refused-gather-speech", "<Gather>"),
        ("refused-enqueue-action", "<Enqueue>"),
        ("refused-enqueue-wait", "TwiML"),
        ("refused-connect-action", "<Connect>"),
        ("refused-connect-virtual-agent", "<Connect>"),
        ("refused-refer-action", "<Refer>"),
        ("refused-pay-action", "<Pay>"),
        ("refused-payment", "payment"),
        ("refused-sms-action", "<Sms>"),
        ("refused-message", "message"),
        ("refused-transcription", "transcribeCallback"),
        ("refused-real-time-transcription", "<Transcription>"),
        ("refused-async-amd", "AsyncAmdStatusCallback"),
        ("refused-stream", "<Stream>"),
        ("refused-siprec", "<Siprec>"),
        ("refused-video-room", "video room"),
        ("refused-task-router", "TaskRouter"),
        ("refused-studio", "Studio"),
        ("refused-event-streams", "Event Streams"),
        ("refused-conversation", "Conversations"),
        ("refused-debugger", "debugger"),
        ("refused-fallback", "TwiML"),
        ("refused-empty-field-name", "without a name"),
        ("refused-twiml-request", "TwiML"),
        ("refused-other-vendor", "32 hexadecimal digits"),
        ("refused-two-call-sids", "CallSid is given more than once"),
    ] {
        assert!(why(name).contains(words), "{}", why(name));
    }
}
