//! The samples of `deploy/` for load balancers, before a real bridge.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use twilio_acquire_bridge::debugging::fake_acquire::Faults;

use crate::https::{Client, Pair};
use crate::proxies::Proxy;
use crate::proxies::rules::Kind;
use crate::support::harness::WAIT_LIMIT;
use crate::support::http::{ask_admin, exchange};
use crate::support::port::Port;
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::{STATUS, sid, signature, status_form};

/// Where the client is, so that it is not where the balancer is.
const CLIENT: [u8; 4] = [127, 0, 0, 2];

const FORGED: [(&str, &str); 3] = [
    ("X-Forwarded-Host", "elsewhere.example.com"),
    ("X-Forwarded-For", "203.0.113.9"),
    ("Forwarded", "for=203.0.113.9;host=elsewhere.example.com"),
];

/// The settings of a bridge that is reached by the PROXY protocol alone.
const PROXIED: (&str, &str) = ("BRIDGE__SERVER__PROXY_PROTOCOL", "required");

/// A bridge, one that is down, and a balancer before both.
struct Balanced {
    proxy: Proxy,
    bridge: Serve,
    pair: Pair,
    _down: Port,
    _folder: tempfile::TempDir,
}

impl Balanced {
    fn start(kind: Kind) -> Option<Self> {
        let name = match kind {
            Kind::Haproxy => "haproxy.cfg",
            Kind::Nginx => "nginx.conf",
        };
        Self::by(kind, name, &[], |_| Vec::new())
    }

    /// With more settings of the bridge, and more changes in the sample.
    fn by(
        kind: Kind,
        name: &str,
        settings: &[(&str, &str)],
        changes: impl FnOnce(&Serve) -> Vec<(String, String)>,
    ) -> Option<Self> {
        let [folder, proxies] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let acquire = sink(Faults::default());
        let pair = Pair::new();
        for folder in [&folder, &proxies] {
            pair.write(folder.path());
        }
        let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
        command
            .env(
                "BRIDGE__SERVER__PUBLIC_URL",
                "https://bridge.example.com/telephony",
            )
            .env("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.1")
            .env("BRIDGE__SERVER__DRAIN", "10m")
            .current_dir(folder.path())
            .envs(settings.iter().copied());
        let bridge = Serve::by(command);
        let (port, down) = (Port::reserve(), Port::reserve());
        let both = format!("{}{}", pair.cert, pair.key);
        std::fs::write(proxies.path().join("both.pem"), both).expect("a file");
        let addresses = [port.address, bridge.public, bridge.admin, down.address];
        let mut text = sample(kind, name, proxies.path(), addresses);
        change(&mut text, name, changes(&bridge));
        let proxy = Proxy::run(kind, &text, port, proxies)?;
        Some(Self {
            proxy,
            bridge,
            pair,
            _down: down,
            _folder: folder,
        })
    }

    /// The answer to a callback that was signed for `host`, with more headers beside.
    fn answers(&self, call: usize, host: &str, more: &[(&str, &str)]) -> u16 {
        let target = format!("/telephony{STATUS}");
        let form = status_form(&sid(call), "completed");
        let signature = signature(&format!("https://{host}{target}"), form.as_bytes());
        let mut headers = vec![("X-Twilio-Signature", signature.as_str())];
        headers.extend(more);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from((CLIENT, 0));
        socket.bind(&from.into()).expect("an address");
        socket
            .connect(&self.proxy.address.into())
            .expect("the balancer listens");
        let client = Client::over(TcpStream::from(socket), &[&self.pair], &["http/1.1"]);
        client.expect("TLS").posts(&target, &headers, &form)
    }
}

/// The sample with the files of this test and its addresses: the balancer's, the bridge's two, and that
/// of one that is down.
fn sample(kind: Kind, name: &str, folder: &Path, addresses: [SocketAddr; 4]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    let mut text = std::fs::read_to_string(path).expect("a sample");
    let file = |name: &str| folder.join(name).display().to_string();
    let [listen, public, admin, down] = addresses;
    let changes = match kind {
        Kind::Haproxy => vec![
            ("bind :443", format!("bind {listen}")),
            (
                "10.0.0.11:8080 port 9090",
                format!("{public} port {}", admin.port()),
            ),
            (
                "10.0.0.12:8080 port 9090",
                format!("{down} port {}", down.port()),
            ),
            // An answer may be late on a busy machine, and the bridge is no less ready.
            (
                "timeout connect 2s",
                "timeout connect 20s\n    timeout check 20s".to_owned(),
            ),
        ],
        Kind::Nginx => vec![
            ("listen 443", format!("listen {listen}")),
            ("/etc/nginx/bridge.pem", file("cert.pem")),
            ("/etc/nginx/bridge-key.pem", file("key.pem")),
            ("10.0.0.11:8080", public.to_string()),
            ("10.0.0.12:8080", down.to_string()),
            (
                "events {",
                format!("{}events {{", Kind::nginx_in_front(folder)),
            ),
            ("http {", format!("http {{ {}", Kind::nginx_folders(folder))),
        ],
    };
    let certificate =
        (name == "haproxy.cfg").then(|| ("/etc/haproxy/bridge.pem", file("both.pem")));
    let all = changes.into_iter().chain(certificate);
    change(&mut text, name, all.map(|(from, to)| (from.to_owned(), to)));
    text
}

/// Each is to be found there.
fn change(text: &mut String, name: &str, changes: impl IntoIterator<Item = (String, String)>) {
    for (from, to) in changes {
        assert!(text.contains(&from), "{name} contains {from}");
        *text = text.replace(&from, &to);
    }
}

#[test]
fn signed_callbacks_pass_the_samples_and_forged_headers_change_nothing() {
    for kind in [Kind::Haproxy, Kind::Nginx] {
        let Some(mut balanced) = Balanced::start(kind) else {
            continue;
        };
        let host = "bridge.example.com";
        // The one that is down fails none of them.
        for call in 1..10 {
            assert_eq!(balanced.answers(call, host, &[]), 204, "{kind:?}");
        }
        assert_eq!(balanced.answers(10, host, &FORGED), 204, "{kind:?}");
        assert_eq!(
            balanced.answers(11, "elsewhere.example.com", &FORGED),
            403,
            "{kind:?}"
        );
        let log = balanced.bridge.logs("refused a request");
        assert!(log.contains("client=\"127.0.0.2\""), "{kind:?}: {log}");
        assert!(!log.contains("203.0.113.9"), "{kind:?}: {log}");
    }
}

#[test]
fn the_samples_end_a_request_that_arrives_byte_by_byte() {
    let in_a_second = |from: &str| {
        let (name, time) = from.rsplit_once(' ').expect("a time");
        let ends = if time.ends_with(';') { ";" } else { "" };
        (from.to_owned(), format!("{name} 1s{ends}"))
    };
    let limits = |kind| match kind {
        Kind::Haproxy => vec!["timeout http-request 10s"],
        Kind::Nginx => vec!["client_header_timeout 10s;", "client_body_timeout 5s;"],
    };
    for kind in [Kind::Haproxy, Kind::Nginx] {
        let name = match kind {
            Kind::Haproxy => "haproxy.cfg",
            Kind::Nginx => "nginx.conf",
        };
        let bridge = [("BRIDGE__SERVER__REQUEST_TIMEOUT", "1s")];
        let changes = |_: &Serve| limits(kind).into_iter().map(in_a_second).collect();
        let Some(balanced) = Balanced::by(kind, name, &bridge, changes) else {
            continue;
        };
        let head = "POST /telephony/twilio/voice/status HTTP/1.1\r\nHost: bridge.example.com\r\n";
        let with_body = format!(
            "{head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 999\r\n\r\n"
        );
        for slow in [format!("{head}X-Slow: "), with_body] {
            let tcp = TcpStream::connect(balanced.proxy.address).expect("the balancer listens");
            let client = Client::over(tcp, &[&balanced.pair], &["http/1.1"]);
            let took = client.expect("TLS").drips(slow.as_bytes());
            assert!(took < Duration::from_secs(8), "{kind:?} {slow}: {took:?}");
        }
        assert_eq!(
            balanced.answers(1, "bridge.example.com", &[]),
            204,
            "{kind:?}"
        );
    }
}

#[test]
fn a_slow_client_behind_a_balancer_that_passes_tcp_on_is_ended_by_the_bridge() {
    let settings = [
        PROXIED,
        ("BRIDGE__SERVER__TLS_CERT_FILE", "cert.pem"),
        ("BRIDGE__SERVER__TLS_KEY_FILE", "key.pem"),
        ("BRIDGE__SERVER__REQUEST_TIMEOUT", "1s"),
    ];
    let balanced = Balanced::by(Kind::Haproxy, "haproxy-tcp.cfg", &settings, |_| Vec::new());
    let Some(balanced) = balanced else {
        return;
    };
    let tcp = TcpStream::connect(balanced.proxy.address).expect("the balancer listens");
    let client = Client::over(tcp, &[&balanced.pair], &["http/1.1"]);
    let took = client.expect("TLS").drips(b"POST / HTTP/1.1\r\nX-Slow: ");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(balanced.answers(1, "bridge.example.com", &[]), 204);
}

#[test]
fn haproxy_names_the_client_by_the_proxy_protocol() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let sends = |_: &Serve| {
            let sends = format!("default-server {version} ");
            // Nothing else is to name the client.
            let forwards = ("option forwardfor".to_owned(), String::new());
            vec![("default-server ".to_owned(), sends), forwards]
        };
        let balanced = Balanced::by(Kind::Haproxy, "haproxy.cfg", &[PROXIED], sends);
        let Some(mut balanced) = balanced else {
            return;
        };
        passes_callbacks_and_names_the_client(&mut balanced);
    }
}

#[test]
fn haproxy_passes_tls_on_to_a_bridge_that_ends_it() {
    let settings = [
        PROXIED,
        ("BRIDGE__SERVER__TLS_CERT_FILE", "cert.pem"),
        ("BRIDGE__SERVER__TLS_KEY_FILE", "key.pem"),
    ];
    for version in ["send-proxy", "send-proxy-v2"] {
        let sends = |_: &Serve| vec![("send-proxy-v2".to_owned(), version.to_owned())];
        let balanced = Balanced::by(Kind::Haproxy, "haproxy-tcp.cfg", &settings, sends);
        let Some(mut balanced) = balanced else {
            return;
        };
        passes_callbacks_and_names_the_client(&mut balanced);
    }
}

fn passes_callbacks_and_names_the_client(balanced: &mut Balanced) {
    let host = "bridge.example.com";
    for call in 1..5 {
        assert_eq!(balanced.answers(call, host, &[]), 204);
    }
    assert_eq!(balanced.answers(5, host, &FORGED), 204);
    assert_eq!(balanced.answers(6, "elsewhere.example.com", &FORGED), 403);
    let log = balanced.bridge.logs("refused a request");
    assert!(log.contains("client=\"127.0.0.2\""), "{log}");
    assert!(!log.contains("203.0.113.9"), "{log}");
    let metrics = ask_admin(balanced.bridge.admin, "/metrics", &[]).body;
    let mut refused = metrics
        .lines()
        .filter(|line| line.contains("connections_refused_total{"));
    assert!(refused.all(|line| line.ends_with(" 0")), "{metrics}");
}

#[test]
fn haproxy_may_check_the_listener_that_requires_a_header() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let folder = tempfile::tempdir().expect("a folder");
        let stats = folder.path().join("stats");
        // The path is answered with 404, and only if the bridge accepted the header.
        let changes = |bridge: &Serve| {
            let changes = [
                (
                    "global",
                    format!("global\n    stats socket {}", stats.display()),
                ),
                (
                    "option httpchk GET /readyz",
                    "option httpchk GET /nothing\n    http-check expect status 404".to_owned(),
                ),
                ("default-server ", format!("default-server {version} ")),
            ];
            let to_its_own_port = (format!(" port {}", bridge.admin.port()), String::new());
            let changes = changes.map(|(from, to)| (from.to_owned(), to));
            changes.into_iter().chain([to_its_own_port]).collect()
        };
        let balanced = Balanced::by(Kind::Haproxy, "haproxy.cfg", &[PROXIED], changes);
        let Some(balanced) = balanced else {
            return;
        };
        waits_for_status(&stats, "L7OK");
        assert_eq!(balanced.answers(1, "bridge.example.com", &[]), 204);
    }
}

/// The statistics of HAProxy about its servers; an error for a moment after its start.
fn asks(socket: &Path) -> std::io::Result<String> {
    let mut known = String::new();
    let mut haproxy = UnixStream::connect(socket)?;
    haproxy.write_all(b"show stat\n")?;
    haproxy.read_to_string(&mut known)?;
    Ok(known)
}

/// Polls HAProxy until one of its servers has this status.
fn waits_for_status(socket: &Path, status: &str) {
    let until = Instant::now() + WAIT_LIMIT;
    loop {
        let known = asks(socket);
        if known.as_ref().is_ok_and(|known| known.contains(status)) {
            return;
        }
        assert!(Instant::now() < until, "no {status}: {known:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn forwarded_headers_of_a_client_that_is_no_trusted_proxy_are_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9");
    command.env("BRIDGE__SERVER__TRUSTED_PROXIES", "192.0.2.0/24");
    let mut bridge = Serve::by(command);
    assert_eq!(
        exchange(bridge.public, "POST", "/", &FORGED, b"").status,
        404
    );
    let log = bridge.logs("refused a request");
    assert!(log.contains("client=\"127.0.0.1\""), "{log}");
}

#[test]
fn haproxy_leaves_a_bridge_that_drains_before_it_closes() {
    let Some(balanced) = Balanced::start(Kind::Haproxy) else {
        return;
    };
    let host = "bridge.example.com";
    assert_eq!(balanced.answers(1, host, &[]), 204);
    balanced.bridge.signal("-TERM");
    let until = Instant::now() + WAIT_LIMIT;
    let mut call = 1;
    // 503 is HAProxy's own: there is no other bridge here.
    loop {
        call += 1;
        match balanced.answers(call, host, &[]) {
            503 => break,
            status => assert_eq!(status, 204),
        }
        assert!(Instant::now() < until, "it is still asked");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let form = status_form(&sid(call), "completed");
    let signature = signature(
        &format!("https://bridge.example.com/telephony{STATUS}"),
        form.as_bytes(),
    );
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", signature.as_str()),
    ];
    let answer = exchange(
        balanced.bridge.public,
        "POST",
        STATUS,
        &headers,
        form.as_bytes(),
    );
    assert_eq!(answer.status, 204, "it still takes in who comes");
}
