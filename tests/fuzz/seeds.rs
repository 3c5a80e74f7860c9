//! Writes the corpora of the fuzz targets from the fixtures: `fuzz-seeds FIXTURES CORPUS`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use twilio_acquire_bridge::debugging::fixture::Fixture;
use twilio_acquire_bridge::twilio::RawUrl;
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(fixtures), Some(corpus)) = (arguments.next(), arguments.next()) else {
        panic!("usage: fuzz-seeds FIXTURES CORPUS");
    };
    let (fixtures, corpus) = (Path::new(&fixtures), Path::new(&corpus));
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).expect("the corpus can be written");
        fs::write(folder.join(name), bytes).expect("the corpus can be written");
    };
    let key = SigningKey::auth_token("0123456789abcdef0123456789abcdef");
    for (name, path) in files(fixtures) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let kind = path.extension().and_then(|kind| kind.to_str());
        if kind == Some("http") {
            write("fixture", &name, text.as_bytes());
            let fixture = Fixture::parse(&name, &text).expect("a fixture");
            let url = fixture.url.as_bytes();
            write("callback", &name, &[url, b"\n", &fixture.body].concat());
            let signed = sign(&key, &fixture.url, Body::Form(&fields(&fixture.body)));
            let parts = [url, b"\n", signed.as_bytes(), b"\n", &fixture.body];
            write("signature", &name, &parts.concat());
            write("records", &name, row(&fixture.body).to_string().as_bytes());
            let request = request(&fixture.url, &signed, &fixture.body);
            for (version, header) in [("v1", PROXY_V1), ("v2", PROXY_V2)] {
                let bytes = [header, b"\x1f", &request].concat();
                write("connection", &format!("{name}-{version}"), &bytes);
            }
        } else if kind == Some("toml") {
            write("configuration", &name, text.as_bytes());
        }
    }
    let settings = include_bytes!("../../src/config.default.toml");
    write("configuration", "defaults", settings);
    for (name, csv) in [
        (
            "plain",
            "address,email\n+12025550101,jane@example.com\nclient:bob,bob@example.com\n",
        ),
        (
            "quoted",
            "\u{feff}address,email\r\n\"sip:7@pbx.example.com\",\"jane@example.com\"\r\n",
        ),
    ] {
        write("directory", name, csv.as_bytes());
    }
    let bodies = [
        r#"{"success":true,"data":{"success":true}}"#,
        r#"{"success":false,"message":"no such account"}"#,
        r#"{"error":{"type":"ERROR_DUPLICATE_RECORD_FOUND","message":"exists"}}"#,
        "<html><title>502</title></html>",
    ];
    let retries = ["", "120", "Mon, 30 Nov 2026 10:00:00 GMT"];
    for (at, body) in bodies.iter().enumerate() {
        for (status, retry) in [200_u16, 400, 429, 503]
            .into_iter()
            .zip(retries.iter().cycle())
        {
            let name = format!("{status}-{at}");
            let parts = [
                &status.to_be_bytes(),
                retry.as_bytes(),
                b"\n",
                body.as_bytes(),
            ];
            write("response", &name, &parts.concat());
            let length = body.len();
            for (kind, head) in [
                ("length", format!("content-length: {length}\r\n")),
                ("close", String::new()),
                ("short", format!("content-length: {}\r\n", length + 7)),
            ] {
                let response = format!(
                    "HTTP/1.1 100 Continue\r\n\r\n\u{1f}HTTP/1.1 {status} Any\r\n{head}retry-after: {retry}\r\n\r\n{body}"
                );
                write("exchange", &format!("{name}-{kind}"), response.as_bytes());
            }
            let chunked = format!(
                "HTTP/1.1 {status} Any\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n\u{1f}0\r\n\r\n"
            );
            write("exchange", &format!("{name}-chunked"), chunked.as_bytes());
        }
    }
    for start in 0..=u8::MAX {
        let steps: Vec<u8> = (0..40)
            .map(|step: u8| {
                start
                    .wrapping_mul(31)
                    .wrapping_add(step.wrapping_mul(start | 1))
            })
            .collect();
        write("plan", &start.to_string(), &steps);
    }
}

const PROXY_V1: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.7 4711 443\r\n";

/// The same addresses, and an extension that the bridge skips.
const PROXY_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\x0a\0\0\x07\x12\x67\x01\xbb\xea\0\x01\0";

/// A request as Twilio posts it.
fn request(url: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let target = RawUrl::of(url).from_path().to_owned();
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: bridge.example.com\r\nx-twilio-signature: {signature}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The row that Twilio's lists may have for a callback.
fn row(body: &[u8]) -> Value {
    let fields = fields(body);
    let field = |name: &str| fields.value(name);
    let ended = "Mon, 09 Nov 2026 10:00:00 +0000";
    if let Some(sid) = field("RecordingSid") {
        return json!({
            "sid": sid, "account_sid": field("AccountSid"), "call_sid": field("CallSid"),
            "status": field("RecordingStatus"), "duration": field("RecordingDuration"),
            "start_time": ended, "date_created": ended, "date_updated": ended, "source": field("RecordingSource"),
        });
    }
    json!({
        "sid": field("CallSid"), "account_sid": field("AccountSid"), "parent_call_sid": field("ParentCallSid"),
        "from": field("From"), "to": field("To"), "direction": field("Direction"), "status": field("CallStatus"),
        "duration": field("CallDuration"), "start_time": ended, "end_time": ended, "date_updated": ended,
    })
}

/// All files below a folder, by a name that is unique among them.
fn files(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("a folder of fixtures")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            let parent = entry.file_name().to_string_lossy().into_owned();
            found.extend(
                files(&path)
                    .into_iter()
                    .map(|(name, path)| (format!("{parent}-{name}"), path)),
            );
        } else {
            found.push((entry.file_name().to_string_lossy().into_owned(), path));
        }
    }
    found
}
