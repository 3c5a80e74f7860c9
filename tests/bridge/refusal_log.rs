//! Strangers cannot fill the log.

use std::io::{self, Read as _, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::support::harness::{Bridge, until};
use crate::support::http::{ask_admin, exchange};
use crate::support::serve::{Serve, command_to_serve};
use crate::support::twilio::STATUS;

const FORGED: [(&str, &str); 2] = [
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("X-Twilio-Signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
];

#[test]
fn long_paths_forged_callbacks_and_health_checks_leave_few_and_short_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9");
    let serve = Serve::by(command);
    let long = format!("/%0A{}", "a".repeat(60_000));
    for _ in 0..50 {
        assert_eq!(exchange(serve.public, "GET", &long, &[], b"").status, 404);
        assert_eq!(exchange(serve.public, "GET", "/", &[], b"").status, 404);
        assert_eq!(exchange(serve.public, "OPTIONS", "/", &[], b"").status, 404);
        let form = b"AccountSid=AC00000000000000000000000000000001";
        let forged = exchange(serve.public, "POST", STATUS, &FORGED, form);
        assert_eq!(forged.status, 403);
    }
    serve.signal("-TERM");
    let (_, text) = serve.ends();
    for line in text.lines() {
        assert!(line.len() <= 4096, "{}", line.len());
    }
    let refused = text
        .lines()
        .filter(|line| line.contains("refused a request"));
    assert_eq!(refused.count(), 3, "{text}");
    assert!(text.len() < 10_000, "{}", text.len());
}

#[test]
fn requests_that_no_handler_gets_are_counted_and_logged_on_both_listeners() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9");
    command.env("BRIDGE__SERVER__REQUEST_TIMEOUT", "200ms");
    let mut serve = Serve::by(command);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let cases = [
        (400, "\x16\x03\x01\x02\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost\r\n\r\n"),
        (431, &many),
        (408, "POST /twilio/voice/status HT"),
        (431, &large),
    ];
    for address in [serve.public, serve.admin] {
        for (status, text) in cases {
            let mut stream = TcpStream::connect(address).expect("it listens");
            // It may be closed before all is sent.
            let _ = stream.write_all(text.as_bytes());
            let mut answer = [0; 12];
            let _ = stream.read_exact(&mut answer);
            let expected = format!("HTTP/1.1 {status}");
            assert_eq!(String::from_utf8_lossy(&answer), expected, "{text:.40}");
        }
        // A request that a handler refuses is not one of them.
        let answer = exchange(address, "POST", STATUS, &[], b"");
        assert!(
            answer.status >= 400 && !answer.body.is_empty(),
            "{answer:?}"
        );
    }
    let log = serve.logs("late-request");
    assert!(log.contains("closed a connection of 127.0.0.1"), "{log}");
    for (reason, count) in [
        ("malformed-http", 4),
        ("late-request", 2),
        ("large-head", 4),
    ] {
        let line = format!("bridge_connections_refused_total{{reason=\"{reason}\"}} {count}\n");
        until("it is counted", || {
            ask_admin(serve.admin, "/metrics", &[]).body.contains(&line)
        });
    }
}

/// The log of the bridges in this process.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[test]
fn repeated_refusals_of_a_client_are_one_line_a_minute_with_their_count() {
    let captured = Captured::default();
    let set_up = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(captured.clone())
        .try_init();
    set_up.expect("the only log of this process");
    let bridge = Bridge::with(&[("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.1")]);
    let of_client = || {
        let log = String::from_utf8(captured.0.lock().expect("no panic").clone()).expect("text");
        let lines = log.lines().filter(|line| line.contains("203.0.113.77"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let header = [("X-Forwarded-For", "203.0.113.77")];
    for _ in 0..3 {
        assert_eq!(
            exchange(bridge.public(), "POST", "/nothing", &header, b"").status,
            404
        );
    }
    assert_eq!(of_client().len(), 1, "{:?}", of_client());
    bridge.clock.advance(Duration::from_secs(61));
    until("the count is logged", || of_client().len() == 2);
    let count = &of_client()[1];
    assert!(
        count.contains("refused 2 more requests or connections of 203.0.113.77"),
        "{count}"
    );
    assert!(count.contains("reason=\"not-found\""), "{count}");
}
