//! The stream from Twilio to the listener, and the response when it fails.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;

/// More than sockets and bridge have in transit, and far less than the recording.
const MAX_IN_TRANSIT_BYTES: u64 = 32 * 1024 * 1024;

const SOON: (&str, &str) = ("BRIDGE__RECORDING__TIMEOUT", "2s");

fn digits(count: usize) -> Vec<u8> {
    b"0123456789".iter().copied().cycle().take(count).collect()
}

/// A connection on which a recording was asked for and nothing is read yet.
fn listener(bridge: &Bridge, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(bridge.public()).expect("the bridge listens");
    stream
        .set_read_timeout(Some(WAIT_LIMIT))
        .expect("a TCP socket");
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a connection");
    stream
}

/// Version and status of the answer.
fn beginning(stream: &mut TcpStream) -> [u8; 12] {
    let mut piece = [0; 12];
    stream.read_exact(&mut piece).expect("an answer");
    piece
}

/// A forward proxy for one connection; returns the head of its request.
fn proxy_for_one() -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let serving = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            near.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let target = head.split(' ').nth(1).expect("a target");
        let mut far = TcpStream::connect(target).expect("Twilio is there");
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .expect("it listens");
        let mut from = near.try_clone().expect("a socket");
        let mut to = far.try_clone().expect("a socket");
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        // Either side may leave first.
        let _ = std::io::copy(&mut far, &mut near);
        let _ = near.shutdown(std::net::Shutdown::Both);
        head
    });
    (address, serving)
}

#[test]
fn a_recording_is_fetched_through_the_proxy_of_twilio() {
    let (proxy, served) = proxy_for_one();
    let setting = format!("http://jane:made-up@{proxy}");
    let bytes = digits(100_000);
    let gives = Gives::Recording("audio/mpeg", bytes.clone());
    let (bridge, api) = bridge(gives, &[("BRIDGE__TWILIO__PROXY", &setting)]);
    let answer = get(&bridge, &target(&bridge), &[]);
    assert_eq!((answer.status, answer.body.len()), (200, bytes.len()));
    assert_eq!(api.asked().len(), 1);
    drop((bridge, api));
    let head = served.join().expect("it ended well");
    let basic = "Proxy-Authorization: Basic amFuZTptYWRlLXVw\r\n";
    assert!(head.contains(basic), "{head}");
}

#[test]
fn a_large_recording_arrives_whole() {
    let bytes = digits(5_000_000);
    let (bridge, api) = bridge(Gives::Recording("audio/mpeg", bytes.clone()), &[]);
    let answer = get(&bridge, &target(&bridge), &[]);
    assert_eq!(answer.status, 200);
    assert!(answer.body.as_bytes() == bytes);
    assert_eq!(answer.header("content-length"), Some("5000000"));
    let asked = &api.asked()[0];
    let path = format!("/2010-04-01/Accounts/{ACCOUNT}/Recordings/{RECORDING}");
    assert_eq!(asked.line, format!("GET {path} HTTP/1.1"));
    assert_eq!(asked.header("range"), None);
}

#[test]
fn the_configured_format_is_requested() {
    let format = ("BRIDGE__RECORDING__FORMAT", ".mp3");
    let (bridge, api) = bridge(Gives::Recording("audio/mpeg", digits(10)), &[format]);
    assert_eq!(get(&bridge, &target(&bridge), &[]).status, 200);
    let line = &api.asked()[0].line;
    assert!(
        line.ends_with(&format!("/{RECORDING}.mp3 HTTP/1.1")),
        "{line}"
    );
}

#[test]
fn a_range_is_forwarded_and_so_is_the_answer() {
    let (bridge, api) = bridge(Gives::Recording("audio/x-wav", digits(100)), &[]);
    let target = target(&bridge);
    for (headers, status, body, range) in [
        (
            &[("Range", "bytes=0-4")][..],
            206,
            "01234",
            Some("bytes 0-4/100"),
        ),
        (
            &[("Range", "bytes=98-")],
            206,
            "89",
            Some("bytes 98-99/100"),
        ),
        (
            &[("Range", "bytes=1-2"), ("If-Range", "\"one\"")],
            206,
            "12",
            Some("bytes 1-2/100"),
        ),
    ] {
        let answer = get(&bridge, &target, headers);
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
        assert_eq!(answer.header("content-range"), range);
        let length = body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(length.as_str()));
        assert_eq!(answer.header("etag"), Some("\"one\""));
    }
    let changed = [("Range", "bytes=1-2"), ("If-Range", "\"two\"")];
    assert_eq!(get(&bridge, &target, &changed).status, 200);
    let several = get(&bridge, &target, &[("Range", "bytes=0-1,5-6")]);
    assert_eq!((several.status, several.body.len()), (200, 100));
    assert_eq!(api.asked().last().expect("a request").header("range"), None);

    let beyond = get(&bridge, &target, &[("Range", "bytes=100-")]);
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some("bytes */100"));
}

#[test]
fn head_has_the_length_and_no_body() {
    let (bridge, api) = bridge(Gives::Recording("audio/x-wav", digits(100)), &[]);
    let target = target(&bridge);
    let answer = exchange(bridge.public(), "HEAD", &target, &[], b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-length"), Some("100"));
    assert_eq!(answer.header("content-type"), Some("audio/x-wav"));
    assert!(api.asked()[0].line.starts_with("HEAD "));
    // Nor does it keep anyone else from listening.
    assert_eq!(get(&bridge, &target, &[]).status, 200);
}

#[test]
fn each_refusal_of_twilio_has_its_answer_and_none_shows_twilio() {
    for (head, status) in [
        ("401 Unauthorized", 502),
        ("403 Forbidden", 502),
        ("404 Not Found", 404),
        ("410 Gone", 404),
        ("400 Bad Request", 502),
        ("500 Oops", 502),
        ("429 Too Many Requests\r\nRetry-After: 7", 503),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", 502),
        (
            "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/",
            502,
        ),
        ("200 OK\r\nContent-Type: text/html", 502),
        ("200 OK\r\nContent-Type: application/json", 502),
        ("204 No Content", 502),
    ] {
        let (bridge, api) = bridge(Gives::Head(head), &[]);
        let answer = get(&bridge, &target(&bridge), &[]);
        assert_eq!(answer.status, status, "{head}");
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{head}");
        for secret in [KEY_SECRET, KEY_SID, "2010-04-01", "127.0.0.1", &api.url()] {
            assert!(!answer.body.contains(secret), "{}", answer.body);
        }
        let wait = head.contains("429").then_some("7");
        assert_eq!(answer.header("retry-after"), wait, "{head}");
        assert_eq!(api.asked().len(), 1, "{head}");
    }
}

#[test]
fn a_wrong_key_is_502_and_not_shown() {
    let wrong = ("BRIDGE__TWILIO__API_KEY_SECRET", "another-secret");
    let (bridge, _api) = bridge(Gives::Recording("audio/x-wav", digits(10)), &[wrong]);
    let answer = get(&bridge, &target(&bridge), &[]);
    assert_eq!(answer.status, 502);
    assert!(!answer.body.contains("another-secret"));
    assert_eq!(asked(&bridge, "acme", "upstream"), Some(1.0));
}

#[test]
fn a_twilio_that_cannot_be_reached_is_502_and_a_silent_one_504() {
    let nowhere = ("BRIDGE__TWILIO__API_URL", "http://127.0.0.1:1");
    let (there, _api) = bridge(Gives::Nothing, &[nowhere]);
    assert_eq!(get(&there, &target(&there), &[]).status, 502);

    let (silent, api) = bridge(Gives::Nothing, &[SOON]);
    assert_eq!(get(&silent, &target(&silent), &[]).status, 504);
    until("the connection to Twilio is closed", || api.left() == 1);
}

#[test]
fn a_recording_that_stalls_or_is_cut_short_never_seems_complete() {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n";
    for gives in [
        Gives::Beginning,
        Gives::Broken("Content-Length: 1000\r\n\r\n01234"),
        Gives::Broken(chunked),
    ] {
        let (bridge, _api) = bridge(gives.clone(), &[SOON]);
        let answer = get(&bridge, &target(&bridge), &[]);
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() < 100, "{gives:?}");
        assert!(!answer.body.ends_with("0\r\n\r\n"), "{gives:?}");
        let length = answer.header("content-length");
        assert!(length.is_none_or(|length| length == "1000"), "{gives:?}");
    }
}

#[test]
fn a_player_that_reads_nothing_is_dropped_and_uses_little_memory() {
    let one = ("BRIDGE__RECORDING__CONCURRENCY", "1");
    let (bridge, api) = bridge(Gives::NoEnd, &[SOON, one]);
    let target = target(&bridge);
    let idle = listener(&bridge, &target);
    until("the connection to Twilio is closed", || api.left() == 1);
    assert!(
        api.written() < MAX_IN_TRANSIT_BYTES,
        "{} bytes",
        api.written()
    );
    until("his place is free again", || {
        let mut next = listener(&bridge, &target);
        &beginning(&mut next) == b"HTTP/1.1 200"
    });
    drop(idle);
    until("each connection to Twilio is closed", || {
        api.left() == api.asked().len() as u64
    });
}

#[test]
fn a_player_that_disconnects_ends_the_request_to_twilio() {
    let (bridge, api) = bridge(Gives::NoEnd, &[]);
    let target = target(&bridge);
    let mut leaving = listener(&bridge, &target);
    let mut piece = vec![0; 1024 * 1024];
    leaving.read_exact(&mut piece).expect("a beginning");
    drop(leaving);
    until("the connection to Twilio is closed", || api.left() == 1);
}

#[test]
fn beyond_the_limit_503_is_answered_until_a_permit_is_free() {
    let one = ("BRIDGE__RECORDING__CONCURRENCY", "1");
    let (bridge, _api) = bridge(Gives::Beginning, &[one]);
    let target = target(&bridge);
    let mut first = listener(&bridge, &target);
    beginning(&mut first);
    let busy = get(&bridge, &target, &[]);
    assert_eq!(busy.status, 503);
    assert_eq!(busy.header("retry-after"), Some("10"));
    assert_eq!(asked(&bridge, "acme", "busy"), Some(1.0));
    drop(first);
    until("the place is free", || {
        exchange(bridge.public(), "HEAD", &target, &[], b"").status != 503
    });
}

#[test]
fn a_player_does_not_delay_a_stop() {
    let within = ("BRIDGE__SERVER__STOP_TIMEOUT", "10m");
    let (mut bridge, api) = bridge(Gives::NoEnd, &[within]);
    let target = target(&bridge);
    let mut listening = listener(&bridge, &target);
    let reader = std::thread::spawn(move || {
        // Until the bridge ends it.
        let _ = std::io::copy(&mut listening, &mut std::io::sink());
    });
    until("he listens", || api.written() > 1_000_000);
    let started = Instant::now();
    bridge.stops();
    assert!(started.elapsed() < WAIT_LIMIT);
    reader.join().expect("the listener is let go");
}

#[test]
fn a_player_that_reads_nothing_does_not_delay_a_stop() {
    let within = ("BRIDGE__SERVER__STOP_TIMEOUT", "10s");
    let (mut bridge, api) = bridge(Gives::NoEnd, &[within]);
    let target = target(&bridge);
    let idle = listener(&bridge, &target);
    let mut written = (0, Instant::now());
    until("all on the way is full", || {
        if api.written() != written.0 {
            written = (api.written(), Instant::now());
        }
        written.0 > 0 && written.1.elapsed() > Duration::from_millis(500)
    });
    bridge.stops();
    drop(idle);
}
