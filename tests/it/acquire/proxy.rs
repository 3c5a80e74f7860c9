//! Through a forward proxy: a real one, and others that do as they please.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_tls::connect::Resolver;
use secrecy::SecretString;
use tempfile::TempDir;
use twilio_acquire_bridge::acquire::{AcquireResponse, DeliveryFault, Outcome};
use twilio_acquire_bridge::config::AcquireSettings;
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use twilio_acquire_bridge::net::proxy::Proxy;

use super::certificates::{Authority, Clients};
use super::names::Names;
use super::raw::{Raw, Step};
use super::{Bridge, LONG_TIMEOUT, SAVED, SHORT_TIMEOUT, acquire, again, http};
use crate::support::port::Port;
use crate::support::real::left_out;

const OPENED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn proxy(addr: SocketAddr, credentials: Option<&str>) -> Proxy {
    Proxy {
        host: addr.ip().to_string(),
        port: addr.port(),
        credentials: credentials.map(SecretString::from),
    }
}

/// The outcome of a call to a host that only the proxy can find.
async fn sent_by(proxy: Proxy, base_url: &str, limit: Duration) -> AcquireResponse {
    let acquire = AcquireSettings {
        proxy: Some(proxy),
        ..acquire(base_url.to_owned())
    };
    let names = Resolver::custom(Names::Unknown);
    let bridge = Bridge::build(limit, names, &acquire).expect("the settings are right");
    bridge.sends().await
}

/// What becomes of a call by a proxy with this script.
async fn played(script: Vec<Step>) -> AcquireResponse {
    let hangs = |step: &Step| matches!(step, Step::Hold | Step::Drip(..));
    let limit = if script.iter().any(hangs) {
        SHORT_TIMEOUT
    } else {
        LONG_TIMEOUT
    };
    let raw = Raw::start([script]);
    sent_by(proxy(raw.addr, None), "http://acme.example", limit).await
}

fn says(text: &str) -> Step {
    Step::Send(text.to_owned())
}

#[actix_web::test]
async fn a_call_passes_a_tunnel_and_its_faults_are_acquires() {
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned() + OPENED;
    let busy = http("503 Service Unavailable", "");
    for (opened, answer, outcome) in [
        (OPENED, http("200 OK", SAVED), Outcome::Accepted),
        (&early, http("200 OK", SAVED), Outcome::Accepted),
        (OPENED, busy, again(DeliveryFault::Busy)),
        (OPENED, http("407 Odd", ""), Outcome::Refused),
        (OPENED, "SSH-2.0".to_owned(), again(DeliveryFault::Reset)),
    ] {
        let script = vec![Step::Request, says(opened), Step::Request, says(&answer)];
        let got = played(script).await;
        assert_eq!(got.outcome, outcome, "{opened:?} {answer:?} {got:?}");
    }
}

#[actix_web::test]
async fn a_fault_of_tls_behind_a_proxy_is_one_of_tls() {
    let raw = Raw::start([vec![
        Step::Request,
        says(OPENED),
        Step::FirstByte,
        says("no TLS here\r\n"),
        Step::Hold,
    ]]);
    let answer = sent_by(proxy(raw.addr, None), "https://acme.example", LONG_TIMEOUT).await;
    assert_eq!(answer.outcome, again(DeliveryFault::Tls), "{answer:?}");
}

#[actix_web::test]
async fn the_faults_of_a_proxy_are_its_own() {
    let answers = |text: &str| vec![Step::Request, says(text)];
    let endless = vec![
        Step::Request,
        says("HTTP/1.1 200 OK\r\nX: "),
        Step::Endless("xxxxxxxx"),
    ];
    let drip = vec![Step::Request, Step::Drip(OPENED, Duration::from_secs(1))];
    for (script, fault, words) in [
        (
            answers("HTTP/1.1 407 No\r\n\r\n"),
            DeliveryFault::ProxyRefused,
            "wants credentials",
        ),
        (
            answers("HTTP/1.1 403 No\r\n\r\n"),
            DeliveryFault::ProxyRefused,
            "refuses to connect to acme.example:80 (403)",
        ),
        (
            answers("HTTP/1.1 302 No\r\n\r\n"),
            DeliveryFault::ProxyRefused,
            "(302)",
        ),
        (
            answers("HTTP/1.1 502 No\r\n\r\n"),
            DeliveryFault::Proxy,
            "cannot connect to acme.example:80 (502)",
        ),
        (
            answers("HTTP/1.1 503 No\r\n\r\n"),
            DeliveryFault::Proxy,
            "(503)",
        ),
        (
            answers("HTTP/1.1 429 No\r\n\r\n"),
            DeliveryFault::Proxy,
            "(429)",
        ),
        (
            answers("SSH-2.0-OpenSSH_9.6\r\n"),
            DeliveryFault::Proxy,
            "it is not HTTP",
        ),
        (
            answers("HTTP/1.1 200 OK\r\n\r\nhello"),
            DeliveryFault::Proxy,
            "something follows it",
        ),
        (answers(""), DeliveryFault::Proxy, "broke off"),
        (answers("HTTP/1.1 20"), DeliveryFault::Proxy, "broke off"),
        (vec![Step::Reset], DeliveryFault::Proxy, "broke off"),
        (
            vec![Step::Request, Step::Hold],
            DeliveryFault::Proxy,
            "opened no tunnel within 180ms",
        ),
        (drip, DeliveryFault::Proxy, "opened no tunnel within 180ms"),
        (endless, DeliveryFault::Proxy, "it is too long"),
    ] {
        let answer = played(script).await;
        assert_eq!(answer.outcome, again(fault), "{words}: {answer:?}");
        assert_eq!(answer.status, None, "{words}");
        assert!(answer.excerpt.contains(words), "{words}: {answer:?}");
        assert!(
            answer.excerpt.contains("the proxy 127.0.0.1:"),
            "{answer:?}"
        );
    }
}

#[actix_web::test]
async fn a_proxy_that_cannot_be_reached_is_named() {
    let closed = Port::reserve();
    let addr = closed.address;
    let nameless = Proxy {
        host: "proxy.example".to_owned(),
        ..proxy(addr, None)
    };
    for (proxy, words) in [
        (proxy(addr, None), "Connection refused"),
        (nameless, "no such name: proxy.example"),
    ] {
        let named = format!("the proxy {} cannot be reached", proxy.authority());
        let answer = sent_by(proxy, "http://acme.example", LONG_TIMEOUT).await;
        assert_eq!(answer.outcome, again(DeliveryFault::Proxy), "{answer:?}");
        assert!(answer.excerpt.contains(words), "{answer:?}");
        assert!(answer.excerpt.contains(&named), "{answer:?}");
    }
}

/// tinyproxy, which lets jane through to these ports.
struct Tinyproxy {
    child: Child,
    addr: SocketAddr,
    _port: Port,
    _folder: TempDir,
}

const JANE: &str = "jane:made-up.word";

impl Tinyproxy {
    /// `None` where it is not installed, which is said.
    fn start(ports: &[u16]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = Port::reserve();
        let addr = port.address;
        let allowed = ports.iter().map(|port| format!("ConnectPort {port}"));
        let allowed = allowed.collect::<Vec<_>>().join("\n");
        let config = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 20\nMaxClients 20\nAllow 127.0.0.1\n\
             BasicAuth jane made-up.word\n{allowed}\n",
            addr.port()
        );
        let file = folder.path().join("tinyproxy.conf");
        std::fs::write(&file, config).expect("a file can be written");
        let started = Command::new("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            left_out("requests through a real forward proxy: apt-get install tinyproxy");
            return None;
        };
        let started = Self {
            child,
            addr,
            _port: port,
            _folder: folder,
        };
        let limit = Instant::now() + LONG_TIMEOUT;
        while TcpStream::connect(addr).is_err() {
            assert!(Instant::now() < limit, "tinyproxy does not listen");
            std::thread::yield_now();
        }
        Some(started)
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
async fn a_real_proxy_lets_calls_through_with_credentials_only() {
    let listen = ([127, 0, 0, 1], 0).into();
    let sink = FakeAcquire::start(listen, Faults::default(), Retain::All).expect("a port is free");
    let elsewhere =
        FakeAcquire::start(listen, Faults::default(), Retain::All).expect("a port is free");
    let closed = Port::reserve();
    let refusing = closed.address;
    let authority = Authority::new();
    let saved = || vec![Step::Request, Step::Send(http("200 OK", SAVED))];
    let server = authority.server("localhost", Clients::All);
    let tls = Raw::start_tls(Arc::clone(&server), [saved(), saved()]);
    let allowed = [sink.addr().port(), refusing.port(), tls.addr.port()];
    let Some(real) = Tinyproxy::start(&allowed) else {
        return;
    };

    let through = async |credentials, base_url: String| {
        let trusted = authority.file();
        let acquire = AcquireSettings {
            proxy: Some(proxy(real.addr, credentials)),
            ca_file: Some(trusted.path().to_owned()),
            ..acquire(base_url)
        };
        let bridge = Bridge::build(LONG_TIMEOUT, Resolver::default(), &acquire);
        bridge.expect("the settings are right").sends().await
    };
    let secure = format!("https://localhost:{}", tls.addr.port());
    for (credentials, base_url, outcome) in [
        (Some(JANE), sink.base_url(), Outcome::Accepted),
        (Some(JANE), secure, Outcome::Accepted),
        (None, sink.base_url(), again(DeliveryFault::ProxyRefused)),
        (
            Some("jane:wrong"),
            sink.base_url(),
            again(DeliveryFault::ProxyRefused),
        ),
        (
            Some(JANE),
            elsewhere.base_url(),
            again(DeliveryFault::ProxyRefused),
        ),
        (
            Some(JANE),
            format!("http://{refusing}"),
            again(DeliveryFault::Proxy),
        ),
    ] {
        let answer = through(credentials, base_url.clone()).await;
        assert_eq!(answer.outcome, outcome, "{base_url}: {answer:?}");
    }
    assert_eq!((sink.count(), elsewhere.count()), (1, 0));
}

#[test]
fn check_online_goes_through_the_proxy_and_shows_no_password() {
    let listen = ([127, 0, 0, 1], 0).into();
    let sink = FakeAcquire::start(listen, Faults::default(), Retain::All).expect("a port is free");
    let Some(real) = Tinyproxy::start(&[sink.addr().port()]) else {
        return;
    };
    let check = |credentials: &str| {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
        let proxy = format!("http://{credentials}@{}", real.addr);
        command
            .env_clear()
            .env("BRIDGE_CONFIG", "/dev/null")
            .env("TWILIO_AUTH_TOKEN", "made-up-token")
            .env("ACQUIRE_ACCOUNT_ID", "acme")
            .env("BRIDGE__SERVER__PUBLIC_URL", "https://bridge.example.com")
            .env("BRIDGE__STORE__URL", "sqlite:/nowhere/bridge.db")
            .env("BRIDGE__ACQUIRE__BASE_URL", sink.base_url())
            .env("BRIDGE__ACQUIRE__PROXY", proxy)
            .args(["check", "--online"]);
        command
    };
    for (credentials, code, words) in [
        (
            JANE,
            0,
            format!("is reached through the proxy {}, without TLS", real.addr),
        ),
        ("jane:wrong", 1, "wants credentials".to_owned()),
    ] {
        let output = check(credentials).assert().code(code);
        let output = output.get_output();
        let printed =
            String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        assert!(printed.contains(&words), "{printed}");
        assert!(printed.contains("acquire.proxy = \"***\""), "{printed}");
        assert!(!printed.contains("made-up.word"), "{printed}");
    }
    assert_eq!(sink.count(), 0, "nothing is posted");
}
