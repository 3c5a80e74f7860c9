//! Real proxies with the rules that break signatures, before a real bridge: each cause is counted
//! by its name, and no callback is accepted.

pub mod rules;

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::harness::{Bridge, WAIT_LIMIT};
use crate::support::http::exchange;
use crate::support::port::Port;
use crate::support::real::left_out;
use crate::support::twilio::{STATUS, sid, signature, status_form};
use rules::{Case, Kind, cases};

/// One proxy before one bridge; ended when dropped.
pub struct Proxy {
    child: Child,
    pub address: SocketAddr,
    _port: Port,
    _folder: tempfile::TempDir,
}

impl Proxy {
    pub fn start(kind: Kind, rules: &str, bridge: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = Port::reserve();
        let text = kind.configuration(rules, port.address, bridge, folder.path());
        Self::run(kind, &text, port, folder)
    }

    /// `None`, and a line on stderr, where the program is not installed.
    pub fn run(kind: Kind, text: &str, port: Port, folder: tempfile::TempDir) -> Option<Self> {
        let program = installed(kind.program())?;
        let file = folder.path().join("proxy.conf");
        std::fs::File::create(&file)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("a file");
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => command.arg("-p").arg(folder.path()).arg("-c").arg(&file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
        };
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        let mut proxy = Self {
            child: child.expect("it starts"),
            address: port.address,
            _port: port,
            _folder: folder,
        };
        let until = Instant::now() + WAIT_LIMIT;
        while TcpStream::connect(proxy.address).is_err() {
            let ended = proxy.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < until,
                "no {kind:?}: {ended:?}\n{text}"
            );
            std::thread::yield_now();
        }
        Some(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(program))
        .find(|path| path.exists());
    if found.is_none() {
        left_out(&format!("tests with {program}: apt-get install {program}"));
    }
    found
}

fn form() -> String {
    format!(
        "{}&FromCity=&ToCity=S%C3%A3o%20Paulo",
        status_form(&sid(1), "completed")
    )
}

/// The status with which the bridge answers a callback that Twilio signed for `signed_url`.
fn passes(proxy: &Proxy, signed_url: &str) -> u16 {
    let form = form();
    let signature = signature(signed_url, form.as_bytes());
    let (_, rest) = signed_url.split_once("://").expect("a URL");
    let target = &rest[rest.find('/').expect("a path")..];
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", signature.as_str()),
    ];
    exchange(proxy.address, "POST", target, &headers, form.as_bytes()).status
}

#[test]
fn a_proxy_that_changes_nothing_breaks_nothing() {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let bridge = Bridge::start();
        let Some(proxy) = Proxy::start(kind, kind.plain(), bridge.public()) else {
            continue;
        };
        assert_eq!(
            passes(&proxy, &format!("https://bridge.example.com{STATUS}")),
            204,
            "{kind:?}"
        );
        bridge.settles();
    }
}

#[test]
fn each_change_that_a_proxy_makes_is_counted_by_its_cause() {
    for Case {
        kind,
        rules,
        public_url,
        signed_url,
        reason,
    } in cases()
    {
        let bridge = Bridge::with(&[
            ("BRIDGE__SERVER__PUBLIC_URL", public_url),
            ("BRIDGE__DIRECTORY__DEFAULT", "jane@example.com"),
        ]);
        let Some(proxy) = Proxy::start(kind, rules, bridge.public()) else {
            continue;
        };
        let status = passes(&proxy, signed_url);
        assert_eq!(status, 403, "{kind:?} {rules}");
        let line = format!("bridge_signature_failures_total{{reason=\"{reason}\"}}");
        bridge.counts(&line, 1.0);
        assert_eq!(
            bridge
                .admin("GET", &format!("/api/calls/{}", sid(1)), &[])
                .status,
            404
        );
    }
}

#[test]
fn a_flood_of_wrong_signatures_is_counted_and_mostly_not_diagnosed() {
    let bridge = Bridge::start();
    let form = form();
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Twilio-Signature", "c2lnbmF0dXJlc2lnbmF0dXJlc2k="),
    ];
    for _ in 0..60 {
        let answer = exchange(bridge.public(), "POST", STATUS, &headers, form.as_bytes());
        assert_eq!(answer.status, 403);
    }
    let count = |reason: &str| {
        let line = format!("bridge_signature_failures_total{{reason=\"{reason}\"}}");
        bridge.metric(&line).unwrap_or_default()
    };
    let (diagnosed, missed) = (count("no-match"), count("undiagnosed"));
    assert!(missed >= 30.0, "{diagnosed} {missed}");
    assert!(
        diagnosed + missed <= 60.0,
        "each is counted once: {diagnosed} {missed}"
    );
    // A callback is accepted meanwhile.
    assert_eq!(bridge.twilio.ends(&sid(2), "completed").status, 204);
    bridge.settles();
}
