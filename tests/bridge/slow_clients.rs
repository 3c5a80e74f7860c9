//! Clients that send slowly, or nothing, or do not end: each connection has a deadline, and none keeps
//! another client from being accepted.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults};

use crate::https::{Client, Pair};
use crate::pod::{Pod, kibibytes};
use crate::support::harness::{Bridge, WAIT_LIMIT, until};
use crate::support::http::ask_admin;
use crate::support::real::left_out;
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::sid;

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SOON: Duration = Duration::from_secs(5);

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(WAIT_LIMIT)).expect("a socket");
    stream
}

/// Connects from an address of its own.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::from(from), 0));
    socket.bind(&from.into()).expect("a loopback address");
    socket.connect(&to.into()).expect("it listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(WAIT_LIMIT)).expect("a socket");
    stream
}

/// Sends a request and reads its answer; both are small.
fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(REQUEST).expect("it is open");
    let mut part = [0; 4096];
    let length = stream.read(&mut part).expect("an answer");
    String::from_utf8_lossy(&part[..length]).into_owned()
}

fn is_open(stream: &TcpStream) -> bool {
    let mut stream = stream;
    stream.set_nonblocking(true).expect("a socket");
    let open = loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(why) => break why.kind() == ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).expect("a socket");
    open
}

fn all_end(streams: &[TcpStream]) {
    let limit = Instant::now() + SOON;
    while streams.iter().any(is_open) {
        assert!(Instant::now() < limit, "still open after {SOON:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn each_request_of_a_connection_has_a_deadline_on_both_listeners() {
    let bridge = Bridge::with(&[("BRIDGE__SERVER__REQUEST_TIMEOUT", "1s")]);
    let answered = String::from_utf8_lossy(REQUEST).into_owned();
    let body = "POST /elsewhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    let chunked = "POST /twilio/voice/status HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\n\r\n9\r\nabc";
    for address in [bridge.public(), bridge.admin_address()] {
        for (before, after) in [
            ("", ""),
            ("", "G"),
            ("", body),
            ("", chunked),
            // The second request, in a packet of its own and with the first.
            (&answered, "G"),
            (&answered, body),
            (&answered, chunked),
            ("", &format!("{answered}G")),
            ("", &format!("{answered}{answered}G")),
            ("", &format!("{answered}{body}")),
        ] {
            let streams = [(); 8].map(|()| {
                let mut stream = connect(address);
                if !before.is_empty() {
                    ask(&mut stream);
                }
                // On a busy machine the time may be up already.
                let _ = stream.write_all(after.as_bytes());
                stream
            });
            let limit = Instant::now() + SOON;
            // Half of them send a byte now and then.
            while streams.iter().any(is_open) {
                assert!(
                    Instant::now() < limit,
                    "open after {SOON:?}: {before:?} {after:?}"
                );
                for mut stream in streams.iter().step_by(2) {
                    // It may be closed.
                    let _ = stream.write_all(b"1");
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
    }
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    bridge.settles();
}

#[test]
fn an_idle_connection_is_kept_for_the_keep_alive_time() {
    let limit = ("BRIDGE__SERVER__REQUEST_TIMEOUT", "200ms");
    let patient = Bridge::with(&[limit]);
    let hasty = Bridge::with(&[limit, ("BRIDGE__SERVER__KEEP_ALIVE", "2s")]);
    for (kept, closed) in [
        (patient.public(), hasty.public()),
        (patient.admin_address(), hasty.admin_address()),
    ] {
        let (mut kept, mut closed) = (connect(kept), connect(closed));
        ask(&mut kept);
        ask(&mut closed);
        let began = Instant::now();
        assert_eq!(closed.read(&mut [0]).expect("an end"), 0);
        let took = began.elapsed();
        assert!(
            took > Duration::from_millis(1900) && took < SOON,
            "{took:?}"
        );
        // Longer than the time limit of a request.
        assert!(ask(&mut kept).starts_with("HTTP/1.1"), "it is open");
    }
}

#[test]
fn a_new_client_takes_the_place_of_the_connection_that_was_idle_longest() {
    let bridge = Bridge::with(&[("BRIDGE__SERVER__MAX_CONNECTIONS", "4")]);
    assert_eq!(bridge.admin("GET", "/readyz", &[]).body, "ready\n");
    let mut idle = [(); 3].map(|()| {
        let mut stream = connect(bridge.public());
        ask(&mut stream);
        stream
    });
    let mut reading = connect(bridge.public());
    reading.write_all(b"G").expect("it is open");
    bridge.counts("bridge_connections{state=\"reading\"}", 1.0);
    bridge.counts("bridge_connections{state=\"idle\"}", 3.0);
    bridge.counts("bridge_connections{state=\"busy\"}", 0.0);
    let ready = bridge.admin("GET", "/readyz", &[]);
    assert_eq!(ready.status, 200);
    assert!(
        ready
            .body
            .contains("full: it has 4 connections (server.max_connections)"),
        "{ready:?}"
    );

    // The first is now the youngest.
    ask(&mut idle[0]);
    assert_eq!(bridge.twilio.ends(&sid(1), "completed").status, 204);
    all_end(&idle[1..2]);
    assert!(is_open(&idle[0]) && is_open(&idle[2]) && is_open(&reading));

    // A hundred clients, each of which stays.
    let crowd: Vec<_> = (0..100).map(|_| connect(bridge.public())).collect();
    // Until then, one of them may come after the next client, and take its place.
    until("all of the crowd came", || {
        crowd.iter().filter(|of| is_open(of)).count() <= 4
    });
    assert_eq!(bridge.twilio.ends(&sid(2), "completed").status, 204);
    all_end(&idle);
    drop(crowd);
    bridge.settles();
}

#[test]
fn each_client_has_a_limit_on_its_connections_and_a_trusted_proxy_has_none() {
    let bridge = Bridge::with(&[
        ("BRIDGE__SERVER__MAX_CONNECTIONS_PER_CLIENT", "3"),
        ("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.9"),
    ]);
    let several = |last: u8, count: usize| -> Vec<_> {
        let connect = |_| {
            let mut stream = connect_from([127, 0, 0, last], bridge.public());
            ask(&mut stream);
            stream
        };
        (0..count).map(connect).collect()
    };
    let (others, many, proxied) = (several(2, 3), several(3, 8), several(9, 8));
    all_end(&many[..5]);
    assert!(many[5..].iter().chain(&others).chain(&proxied).all(is_open));
}

#[test]
fn behind_the_proxy_protocol_the_limit_is_that_of_the_address_in_the_header() {
    let bridge = Bridge::with(&[
        ("BRIDGE__SERVER__PROXY_PROTOCOL", "required"),
        ("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.1"),
        ("BRIDGE__SERVER__MAX_CONNECTIONS_PER_CLIENT", "2"),
        ("BRIDGE__SERVER__REQUEST_TIMEOUT", "1s"),
    ]);
    let several = |client: &str, count: usize| -> Vec<_> {
        let connect = |_| {
            let mut stream = connect(bridge.public());
            let header = format!("PROXY TCP4 {client} 10.0.0.7 4711 443\r\n");
            stream.write_all(header.as_bytes()).expect("it is open");
            ask(&mut stream);
            stream
        };
        (0..count).map(connect).collect()
    };
    // The balancer's own checks come from a trusted proxy.
    let (one, other, proxy) = (
        several("192.0.2.1", 4),
        several("192.0.2.2", 2),
        several("127.0.0.1", 6),
    );
    all_end(&one[..2]);
    assert!(one[2..].iter().chain(&other).chain(&proxy).all(is_open));

    let halves = [(); 8].map(|()| {
        let mut stream = connect(bridge.public());
        stream.write_all(b"PROXY TCP4 192.0").expect("it is open");
        stream
    });
    all_end(&halves);
}

/// A bridge with a certificate of its own.
struct WithTls {
    bridge: Serve,
    pair: Pair,
    _acquire: FakeAcquire,
    _folder: tempfile::TempDir,
}

impl WithTls {
    fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair::new();
        pair.write(folder.path());
        let acquire = sink(Faults::default());
        let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
        command
            .env("BRIDGE__SERVER__TLS_CERT_FILE", "cert.pem")
            .env("BRIDGE__SERVER__TLS_KEY_FILE", "key.pem")
            .envs(settings.iter().copied())
            .current_dir(folder.path());
        Self {
            bridge: Serve::by(command),
            pair,
            _acquire: acquire,
            _folder: folder,
        }
    }
}

#[test]
fn handshakes_that_stall_end_and_delay_no_other_client() {
    let WithTls { bridge, pair, .. } =
        &WithTls::start(&[("BRIDGE__SERVER__REQUEST_TIMEOUT", "2s")]);
    // More than actix lets shake hands at once: 256 on each thread.
    let count = 300 * std::thread::available_parallelism().map_or(1, usize::from);
    let stalled: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = connect(bridge.public);
            // The beginning of a ClientHello.
            stream
                .write_all(b"\x16\x03\x01\x02\x00\x01")
                .expect("it is open");
            stream
        })
        .collect();
    let began = Instant::now();
    let client = Client::over(connect(bridge.public), &[pair], &["http/1.1"]);
    assert_eq!(client.expect("TLS").posts("/elsewhere", &[], "a=b"), 404);
    assert!(is_open(&stalled[count - 1]), "they were waiting meanwhile");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    all_end(&stalled);
}

#[test]
fn ten_thousand_slow_clients_delay_no_callback_and_cost_little_memory() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let files = limit.maximum.unwrap_or(u64::MAX);
    if files < 12_000 {
        return left_out("10,000 slow clients: ulimit -Hn 12000");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    command.env("BRIDGE__SERVER__REQUEST_TIMEOUT", "15s");
    let bridge = Serve::by(command);
    let pod = Pod::of(&bridge);
    let head = b"POST /twilio/voice/status HTTP/1.1\r\nHost: bridge.example.com\r\nX-Slow: ";
    let mut streams: Vec<_> = (0..10_000_u32)
        .map(|index| {
            let last = u8::try_from(index % 11 + 2).expect("a byte");
            let mut stream = connect_from([127, 0, 0, last], bridge.public);
            // One in eight has a large head.
            let size = if index % 8 == 0 { 20_000 } else { 100 };
            let _ = stream.write_all(&[&head[..], &vec![b'a'; size]].concat());
            stream
        })
        .collect();
    let open = || {
        let metrics = ask_admin(bridge.admin, "/metrics", &[]).body;
        let reading = "bridge_connections{state=\"reading\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(reading));
        count
            .expect("the metric")
            .parse::<usize>()
            .expect("a number")
    };
    // Those with a large head have used up their memory.
    until("the clients are connected", || open() > 9_000);
    let mut slowest = Duration::ZERO;
    for call in 0..10 {
        let began = Instant::now();
        bridge.accepts(call);
        slowest = slowest.max(began.elapsed());
        for stream in streams.iter_mut().skip(call).step_by(10) {
            // It may be closed.
            let _ = stream.write_all(b"b");
        }
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let peak = kibibytes(&bridge, "VmHWM:");
    println!("slowest answer {slowest:.0?}, at most {peak} KiB");
    assert!(peak < 200 * 1024, "{peak} KiB");
    drop((bridge, pod));
}

#[test]
fn a_slow_client_that_shook_hands_costs_at_most_32_kib_and_counts_twice() {
    const CLIENTS: u64 = 600;
    let WithTls { bridge, pair, .. } = &WithTls::start(&[
        ("BRIDGE__SERVER__REQUEST_TIMEOUT", "15s"),
        ("BRIDGE__SERVER__MAX_CONNECTIONS", "1200"),
    ]);
    let connect = || Client::over(connect(bridge.public), &[pair], &["http/1.1"]).expect("TLS");
    assert_eq!(connect().posts("/elsewhere", &[], "a=b"), 404);
    let before = kibibytes(bridge, "VmRSS:");
    let slow: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = connect();
            client.starts(b"POST /twilio/voice/status HTTP/1.1\r\nHost: bridge.example.com\r\nX: ");
            client
        })
        .collect();
    let ready = ask_admin(bridge.admin, "/readyz", &[]).body;
    let full = "it has 600 connections (half of server.max_connections, with TLS)";
    assert!(ready.contains(full), "{ready}");
    let began = Instant::now();
    assert_eq!(connect().posts("/elsewhere", &[], "a=b"), 404);
    let took = began.elapsed();
    let each = (kibibytes(bridge, "VmRSS:") - before) / CLIENTS;
    println!("answered within {took:.0?}, {each} KiB for each client");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(each < 32, "{each} KiB");
    drop(slow);
}

#[test]
fn a_full_admin_listener_is_not_logged_as_a_limit_of_the_public_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let acquire = sink(Faults::default());
    let mut bridge = Serve::start(&folder.path().join("bridge.db"), &acquire);
    let crowd: Vec<_> = (0..257).map(|_| connect(bridge.admin)).collect();
    let log = bridge.logs("connections are open");
    assert!(
        log.contains("256 connections are open (fixed for admin.listen)"),
        "{log}"
    );
    drop(crowd);
}
