//! The PROXY protocol on the public listener: a header before everything else, from trusted proxies only.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::debugging::fake_acquire::Faults;

use crate::https::{Client, Pair, on_handed_sockets};
use crate::support::harness::WAIT_LIMIT;
use crate::support::http::ask_admin;
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::{PUBLIC_URL, STATUS, sid, signature, status_form};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: bridge.example.com\r\nConnection: close\r\n\r\n";

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2: a command with its version, a family with its transport, and the rest.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short header");
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(rest);
    header
}

/// Version 2 of TCP over IPv4 from `source`, port 4711, with more behind.
fn v2_from(source: [u8; 4], more: &[u8]) -> Vec<u8> {
    let rest = [&source[..], &[10, 0, 0, 7], &[0x12, 0x67, 0x01, 0xbb], more];
    v2(0x21, 0x11, &rest.concat())
}

/// A bridge that requires the header, of these proxies.
struct Required {
    serve: Serve,
    folder: tempfile::TempDir,
}

impl Required {
    fn of(proxies: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Pair::new().write(folder.path());
        Self::by(folder, proxies, settings)
    }

    fn by(folder: tempfile::TempDir, proxies: &str, settings: &[(&str, &str)]) -> Self {
        let acquire = sink(Faults::default());
        let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
        command
            .env("BRIDGE__SERVER__PROXY_PROTOCOL", "required")
            .env("BRIDGE__SERVER__TRUSTED_PROXIES", proxies)
            .envs(settings.iter().copied());
        let serve = Serve::by(command);
        Self { serve, folder }
    }

    /// The answer on a connection that starts with `bytes`, up to its end.
    fn answers(&self, bytes: &[u8]) -> String {
        ends(speaks(self.serve.public, bytes))
    }

    /// The client that the log names for a request behind `header`.
    fn logs_client_of(&mut self, header: &[u8], more: &str) -> String {
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
        let answer = self.answers(&[header, request.as_bytes()].concat());
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer:?}");
        let log = self.serve.logs("refused a request");
        let (_, client) = log.rsplit_once("client=\"").expect("a client");
        client.split('"').next().unwrap_or_default().to_owned()
    }

    fn counts(&self, reason: &str) -> u32 {
        let all = ask_admin(self.serve.admin, "/metrics", &[]).body;
        let line = format!("bridge_connections_refused_total{{reason=\"{reason}\"}} ");
        let count = all.lines().find_map(|other| other.strip_prefix(&line));
        count.map_or(0, |count| count.parse().expect("a number"))
    }
}

fn speaks(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the bridge listens");
    stream
        .set_read_timeout(Some(WAIT_LIMIT))
        .expect("a TCP socket");
    // It may be closed before all is sent.
    let _ = stream.write_all(bytes);
    stream
}

/// Reads until the bridge closes; that it does so by a reset is as good.
fn ends(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(why) = stream.read_to_end(&mut answer) {
        let is_reset = why.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(is_reset, "the connection was left open: {why}");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn signed(call: usize) -> (String, String) {
    let form = status_form(&sid(call), "completed");
    let url = format!("{PUBLIC_URL}{STATUS}");
    let signature = signature(&url, form.as_bytes());
    (form, signature)
}

/// A signed callback as it goes over the wire.
fn callback(call: usize) -> Vec<u8> {
    let (form, signature) = signed(call);
    format!(
        "POST {STATUS} HTTP/1.1\r\nHost: bridge.example.com\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: {signature}\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

#[test]
fn a_header_of_either_version_names_the_client() {
    let mut bridge = Required::of("127.0.0.1", &[]);
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 9;
    let checksum = [0x03, 0, 4, 0x09, 0x3b, 0x81, 0x00];
    for (header, client) in [
        (
            b"PROXY TCP4 192.0.2.1 10.0.0.7 4711 443\r\n".to_vec(),
            "192.0.2.1",
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n".to_vec(),
            "2001:db8::1",
        ),
        (v2_from([192, 0, 2, 2], &[]), "192.0.2.2"),
        // With unknown fields, and with a correct checksum.
        (v2_from([192, 0, 2, 3], &[0xee, 0, 1, 7]), "192.0.2.3"),
        (v2_from([192, 0, 2, 4], &checksum), "192.0.2.4"),
        (v2(0x21, 0x21, &v6), "2001:db8::9"),
    ] {
        assert_eq!(bridge.logs_client_of(&header, ""), client, "{header:?}");
    }
    for (call, header) in (1..).zip([
        &b"PROXY TCP4 192.0.2.1 10.0.0.7 1 443\r\n"[..],
        &v2_from([192, 0, 2, 1], &[]),
    ]) {
        let answer = bridge.answers(&[header, &callback(call)].concat());
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
    }
}

#[test]
fn a_balancer_that_sends_a_local_header_is_the_client() {
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
        // The addresses in a LOCAL header are ignored.
        v2(0x20, 0x11, &[192, 0, 2, 1, 10, 0, 0, 7, 1, 1, 1, 1]),
        v2(0x21, 0x00, &[]),
    ] {
        // A second request of the same client would not be logged.
        let mut bridge = Required::of("127.0.0.1", &[]);
        assert_eq!(
            bridge.logs_client_of(&header, ""),
            "127.0.0.1",
            "{header:?}"
        );
    }
}

#[test]
fn forwarded_headers_apply_behind_a_proxy_header_only_from_another_trusted_proxy() {
    let mut bridge = Required::of("127.0.0.1,10.0.0.0/24", &[]);
    let forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    for (source, client) in [
        ([192, 0, 2, 1], "192.0.2.1"),
        ([10, 0, 0, 3], "203.0.113.9"),
    ] {
        let header = v2_from(source, &[]);
        assert_eq!(bridge.logs_client_of(&header, forwarded), client);
    }
}

#[test]
fn a_connection_without_a_whole_header_is_closed_without_an_answer() {
    let mut bridge = Required::of("127.0.0.1", &[]);
    for without in [
        ASK,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\nGET",
        b"PROXZ",
    ] {
        assert_eq!(bridge.answers(without), "", "{without:?}");
    }
    assert_eq!(bridge.counts("missing-header"), 4);
    let log = bridge.serve.logs("closed a connection");
    assert!(log.contains("reason=\"missing-header\""), "{log}");

    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    let wrong_checksum = v2_from([192, 0, 2, 4], &[0x03, 0, 4, 0x09, 0x3b, 0x81, 0x01]);
    let broken = [
        b"PROXY TCP4 192.0.2.256 10.0.0.7 4711 443\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::1 ::1 4711 443\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.1 10.0.0.7 4711 443\r\n".to_vec(),
        b"PROXYTCP4 192.0.2.1 10.0.0.7 4711 443\r\n".to_vec(),
        endless.into_bytes(),
        v2(0x31, 0x11, &[0; 12]),
        v2(0x2f, 0x11, &[0; 12]),
        v2(0x21, 0x41, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        wrong_checksum,
    ];
    for header in &broken {
        let answer = bridge.answers(&[&header[..], ASK].concat());
        assert_eq!(answer, "", "{header:?}");
    }
    assert_eq!(bridge.counts("broken-header"), 10);
    let log = bridge.serve.logs("closed a connection");
    assert!(log.contains("reason=\"broken-header\""), "{log}");
    assert!(
        bridge
            .answers(&[&v2_from([192, 0, 2, 1], &[])[..], ASK].concat())
            .starts_with("HTTP")
    );
}

#[test]
fn a_header_that_announces_more_than_any_balancer_sends_is_broken_at_once() {
    // Longer than the test waits.
    let limit = [("BRIDGE__SERVER__REQUEST_TIMEOUT", "15s")];
    let mut bridge = Required::of("127.0.0.1", &limit);
    for length in [4_097, u16::MAX] {
        let started = Instant::now();
        let announced = [&SIGNATURE[..], &[0x21, 0x11], &length.to_be_bytes()].concat();
        assert_eq!(bridge.answers(&announced), "", "{length}");
        assert!(started.elapsed() < Duration::from_secs(10), "{length}");
    }
    assert_eq!(bridge.counts("broken-header"), 2);
    let log = bridge.serve.logs("closed a connection");
    assert!(log.contains("it announces more than 4096 bytes"), "{log}");
    // The fields of a client's certificate, and a request that is larger than the header may be.
    let field = [&[0xee, 15, 241][..], &[7; 4_081]].concat();
    let largest = v2_from([192, 0, 2, 1], &field);
    assert_eq!(largest.len(), 16 + 4_096);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n",
        "a".repeat(9_000)
    );
    let answer = bridge.answers(&[&largest[..], request.as_bytes()].concat());
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer:?}");
}

#[test]
fn a_header_that_does_not_come_in_time_ends_the_connection() {
    let limit = [("BRIDGE__SERVER__REQUEST_TIMEOUT", "300ms")];
    let bridge = Required::of("127.0.0.1", &limit);
    let whole = v2_from([192, 0, 2, 1], &[]);
    let parts = [
        &b""[..],
        b"PROXY TCP4 192.0.2.1",
        &SIGNATURE[..5],
        &whole[..20],
    ];
    let waiting = parts.map(|part| speaks(bridge.serve.public, part));
    for stream in waiting {
        assert_eq!(ends(stream), "");
    }
    assert_eq!(bridge.counts("late-header"), 4);
}

#[test]
fn only_a_trusted_proxy_may_connect_and_the_log_is_not_flooded() {
    let bridge = Required::of("192.0.2.0/24", &[]);
    for _ in 0..20 {
        let bytes = [&v2_from([192, 0, 2, 1], &[])[..], ASK].concat();
        assert_eq!(bridge.answers(&bytes), "");
    }
    assert_eq!(
        ends(speaks(bridge.serve.public, b"")),
        "",
        "it is not waited for"
    );
    assert_eq!(bridge.counts("untrusted"), 21);
    bridge.serve.signal("-TERM");
    let (code, log) = bridge.serve.ends();
    assert_eq!(code, Some(0), "{log}");
    let lines = log.matches("closed a connection of 127.0.0.1").count();
    assert!((1..20).contains(&lines), "{log}");
    assert!(
        log.contains("add its address to server.trusted_proxies"),
        "{log}"
    );
}

#[test]
fn the_header_comes_before_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.write(folder.path());
    let [cert, key] =
        ["cert.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
    let files = [
        ("BRIDGE__SERVER__TLS_CERT_FILE", cert.as_str()),
        ("BRIDGE__SERVER__TLS_KEY_FILE", key.as_str()),
    ];
    let mut bridge = Required::by(folder, "127.0.0.1", &files);
    let connects = |header: &[u8]| {
        let tcp = speaks(bridge.serve.public, header);
        Client::over(tcp, &[&pair], &["http/1.1"])
    };
    assert!(connects(b"").is_err(), "TLS without a header is closed");
    let (form, signature) = signed(1);
    let headers = [("X-Twilio-Signature", signature.as_str())];
    let mut client = connects(b"PROXY TCP4 192.0.2.1 10.0.0.7 4711 443\r\n").expect("TLS");
    assert_eq!(client.posts(STATUS, &headers, &form), 204);
    // The same connection, the same client.
    assert_eq!(client.posts("/nothing", &headers, &form), 404);
    let log = bridge.serve.logs("refused a request");
    assert!(log.contains("client=\"192.0.2.1\""), "{log}");
    assert_eq!(bridge.counts("missing-header"), 1);
    assert!(bridge.folder.path().exists());
}

#[test]
fn a_connection_that_waits_for_its_header_delays_a_stop_only_for_a_moment() {
    let longest = [
        ("BRIDGE__SERVER__REQUEST_TIMEOUT", "15s"),
        ("BRIDGE__SERVER__STOP_TIMEOUT", "10m"),
    ];
    let bridge = Required::of("127.0.0.1", &longest);
    let header = v2_from([192, 0, 2, 1], &[]);
    let waiting = speaks(bridge.serve.public, &header[..14]);
    // Accepted after the one before, so both are by now.
    let answer = bridge.answers(&[&header[..], &callback(1)].concat());
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
    let started = Instant::now();
    bridge.serve.signal("-TERM");
    assert_eq!(ends(waiting), "");
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_millis(500),
        "closed after {waited:?}"
    );
    let (code, log) = bridge.serve.ends();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("late-header"), "it was waited for: {log}");
}

#[test]
fn sockets_from_systemd_require_the_header_too() {
    let settings = [
        ("BRIDGE__SERVER__PROXY_PROTOCOL", "required".to_owned()),
        ("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.1".to_owned()),
    ];
    on_handed_sockets(&settings, |address| {
        assert_eq!(ends(speaks(address, &callback(1))), "");
        let whole = [&b"PROXY UNKNOWN\r\n"[..], &callback(1)].concat();
        let answer = ends(speaks(address, &whole));
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
    });
}
