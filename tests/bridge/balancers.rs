//! The samples of `deploy/` for load balancers, before a real bridge.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use twilio_acquire_bridge::sink::Faults;
use twilio_acquire_bridge::twilio::signature::{Body, Key, fields, sign};

use crate::harness::{PATIENCE, STATUS, TOKEN, sid, status_form};
use crate::http::exchange;
use crate::https::{Client, Pair};
use crate::port::Port;
use crate::proxies::Proxy;
use crate::proxies::rules::Kind;
use crate::serve::{Serve, command_to_serve, sink};

/// Where the client is, so that it is not where the balancer is.
const CLIENT: [u8; 4] = [127, 0, 0, 2];

const FORGED: [(&str, &str); 3] = [
    ("X-Forwarded-Host", "elsewhere.example.com"),
    ("X-Forwarded-For", "203.0.113.9"),
    ("Forwarded", "for=203.0.113.9;host=elsewhere.example.com"),
];

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
        let [folder, proxies] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let acquire = sink(Faults::default());
        let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
        command
            .env(
                "BRIDGE__SERVER__PUBLIC_URL",
                "https://bridge.example.com/telephony",
            )
            .env("BRIDGE__SERVER__TRUSTED_PROXIES", "127.0.0.1")
            .env("BRIDGE__SERVER__DRAIN", "10m");
        let bridge = Serve::by(command);
        let pair = Pair::new();
        let (port, down) = (Port::reserve(), Port::reserve());
        let text = sample(kind, proxies.path(), &pair, &port, &bridge, &down);
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
        let signature = signed(&format!("https://{host}{target}"), &form);
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

fn signed(url: &str, form: &str) -> String {
    sign(
        &Key::auth_token(TOKEN),
        url,
        Body::Form(&fields(form.as_bytes())),
    )
}

/// The sample with the addresses and files of this test; each is to be found there.
fn sample(
    kind: Kind,
    folder: &Path,
    pair: &Pair,
    listen: &Port,
    bridge: &Serve,
    down: &Port,
) -> String {
    let name = match kind {
        Kind::Haproxy => "haproxy.cfg",
        Kind::Nginx => "nginx.conf",
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    let mut text = std::fs::read_to_string(path).expect("a sample");
    pair.write(folder);
    let both = format!("{}{}", pair.cert, pair.key);
    std::fs::write(folder.join("both.pem"), both).expect("a file");
    let file = |name: &str| folder.join(name).display().to_string();
    let (listen, public, down) = (listen.address, bridge.public, down.address);
    let changes = match kind {
        Kind::Haproxy => vec![
            ("bind :443", format!("bind {listen}")),
            ("/etc/haproxy/bridge.pem", file("both.pem")),
            (
                "10.0.0.11:8080 port 9090",
                format!("{public} port {}", bridge.admin.port()),
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
    for (from, to) in changes {
        assert!(text.contains(from), "{from} stands in {name}");
        text = text.replace(from, &to);
    }
    text
}

#[test]
fn signed_callbacks_pass_the_samples_and_forged_headers_change_nothing() {
    for kind in [Kind::Haproxy, Kind::Nginx] {
        let Some(mut balanced) = Balanced::start(kind) else {
            continue;
        };
        let told = "bridge.example.com";
        // The one that is down fails none of them.
        for call in 1..10 {
            assert_eq!(balanced.answers(call, told, &[]), 204, "{kind:?}");
        }
        assert_eq!(balanced.answers(10, told, &FORGED), 204, "{kind:?}");
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
fn no_forwarded_header_is_believed_of_a_client_that_is_no_proxy() {
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
    let told = "bridge.example.com";
    assert_eq!(balanced.answers(1, told, &[]), 204);
    balanced.bridge.signal("-TERM");
    let until = Instant::now() + PATIENCE;
    let mut call = 1;
    // 503 is HAProxy's own: there is no other bridge here.
    loop {
        call += 1;
        match balanced.answers(call, told, &[]) {
            503 => break,
            status => assert_eq!(status, 204),
        }
        assert!(Instant::now() < until, "it is still asked");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let form = status_form(&sid(call), "completed");
    let signature = signed(
        &format!("https://bridge.example.com/telephony{STATUS}"),
        &form,
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
