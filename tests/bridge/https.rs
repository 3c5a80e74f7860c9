//! The public listener with TLS by the bridge itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_util::sync::CancellationToken;
use twilio_acquire_bridge::app::App;
use twilio_acquire_bridge::app::systemd::InheritedSockets;
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::config;
use twilio_acquire_bridge::debugging::fake_acquire::Faults;
use twilio_acquire_bridge::twilio::signature::{Body, SigningKey, fields, sign};

use crate::support::certified::self_signed;
use crate::support::harness::{WAIT_LIMIT, until};
use crate::support::http::ask_admin;
use crate::support::serve::{Serve, command_to_serve, sink};
use crate::support::twilio::{PUBLIC_URL, STATUS, TOKEN, sid, status_form};

/// A certificate for the bridge, and its key.
pub struct Pair {
    pub cert: String,
    pub key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    pub fn new() -> Self {
        let CertifiedKey { cert, signing_key } = self_signed("bridge.example.com");
        Self {
            cert: cert.pem(),
            key: signing_key.serialize_pem(),
            der: cert.der().clone(),
        }
    }

    pub fn write(&self, folder: &Path) {
        std::fs::write(folder.join("cert.pem"), &self.cert).expect("a file");
        std::fs::write(folder.join("key.pem"), &self.key).expect("a file");
    }
}

fn files(folder: &Path) -> [(&'static str, PathBuf); 2] {
    [
        ("BRIDGE__SERVER__TLS_CERT_FILE", folder.join("cert.pem")),
        ("BRIDGE__SERVER__TLS_KEY_FILE", folder.join("key.pem")),
    ]
}

fn serve(folder: &Path) -> Serve {
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.join("bridge.db"), &acquire.base_url());
    Serve::by({
        command.envs(files(folder));
        command
    })
}

/// A connection of a client that trusts some certificates and no other.
pub struct Client(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    fn connects(address: SocketAddr, trusted: &[&Pair], alpn: &[&str]) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, trusted, alpn)
    }

    pub fn over(mut tcp: TcpStream, trusted: &[&Pair], alpn: &[&str]) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for pair in trusted {
            roots.add(pair.der.clone()).expect("a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("bridge.example.com").expect("a name");
        let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
        tcp.set_read_timeout(Some(WAIT_LIMIT))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self(BufReader::new(StreamOwned::new(tls, tcp))))
    }

    fn shown(&self) -> CertificateDer<'static> {
        let shown = self.0.get_ref().conn.peer_certificates();
        shown.expect("a certificate")[0].clone().into_owned()
    }

    /// Sends a callback and keeps the connection.
    fn ends(&mut self, call: usize) -> u16 {
        let form = status_form(&sid(call), "completed");
        let url = format!("{PUBLIC_URL}{STATUS}");
        let key = SigningKey::auth_token(TOKEN);
        let signature = sign(&key, &url, Body::Form(&fields(form.as_bytes())));
        self.posts(STATUS, &[("X-Twilio-Signature", &signature)], &form)
    }

    /// Sends the beginning of a request.
    pub fn starts(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        stream.write_all(bytes).expect("it is open");
        stream.flush().expect("it is open");
    }

    /// Sends `bytes`, then a byte every 50 ms. Returns how long the connection stays open.
    pub fn drips(mut self, bytes: &[u8]) -> std::time::Duration {
        let began = Instant::now();
        let pause = Some(std::time::Duration::from_millis(50));
        let stream = self.0.get_mut();
        stream.sock.set_read_timeout(pause).expect("a socket");
        let mut open = stream.write_all(bytes).is_ok();
        while open && began.elapsed() < WAIT_LIMIT {
            use std::io::ErrorKind::{TimedOut, WouldBlock};
            open = match stream.read(&mut [0; 4096]) {
                Ok(read) => read > 0,
                Err(why) => matches!(why.kind(), TimedOut | WouldBlock),
            };
            open = open && stream.write_all(b"1").is_ok();
        }
        began.elapsed()
    }

    pub fn posts(&mut self, target: &str, headers: &[(&str, &str)], form: &str) -> u16 {
        let mut request = format!(
            "POST {target} HTTP/1.1\r\nHost: bridge.example.com\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n",
            form.len()
        );
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.extend(["\r\n", form]);
        let stream = self.0.get_mut();
        stream.write_all(request.as_bytes()).expect("a connection");
        stream.flush().expect("a connection");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                self.0.read_line(&mut head).expect("text") > 0,
                "closed after {head:?}"
            );
        }
        let status = head.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }
}

fn connects(serve: &Serve, trusted: &[&Pair]) -> Client {
    Client::connects(serve.public, trusted, &["http/1.1"]).expect("a connection")
}

fn comes_to_show(serve: &Serve, pair: &Pair, all: &[&Pair]) {
    let until = Instant::now() + WAIT_LIMIT;
    while connects(serve, all).shown() != pair.der {
        assert!(Instant::now() < until, "another certificate is shown");
    }
}

#[test]
fn a_changed_certificate_applies_without_a_restart_and_a_wrong_pair_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second, third) = (Pair::new(), Pair::new(), Pair::new());
    let all = [&first, &second, &third];
    first.write(folder.path());
    let mut serve = serve(folder.path());
    let mut kept = connects(&serve, &[&first]);
    assert_eq!(kept.ends(1), 204);

    second.write(folder.path());
    comes_to_show(&serve, &second, &all);
    assert_eq!(connects(&serve, &[&second]).ends(2), 204);
    assert_eq!(kept.ends(3), 204, "a connection goes on through the change");

    std::fs::write(folder.path().join("cert.pem"), &third.cert).expect("a file");
    serve.logs("server.tls_key_file do not go together");
    assert_eq!(connects(&serve, &[&second]).ends(4), 204);
    std::fs::remove_file(folder.path().join("key.pem")).expect("a file");
    serve.logs("server.tls_key_file");
    assert_eq!(connects(&serve, &[&second]).ends(5), 204);
    // Once the key is there as well, both count.
    third.write(folder.path());
    comes_to_show(&serve, &third, &all);
}

#[test]
fn a_hangup_reads_the_certificate_from_its_new_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (Pair::new(), Pair::new());
    first.write(folder.path());
    let next = folder.path().join("next");
    std::fs::create_dir(&next).expect("a folder");
    second.write(&next);
    let file = folder.path().join("bridge.toml");
    let write = |folder: &Path| {
        let text = format!(
            "[server]\ntls_cert_file = \"{0}/cert.pem\"\ntls_key_file = \"{0}/key.pem\"\n",
            folder.display()
        );
        std::fs::write(&file, text).expect("a file");
    };
    write(folder.path());
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    let mut serve = Serve::by({
        command.env("BRIDGE_CONFIG", &file);
        command
    });
    comes_to_show(&serve, &first, &[&first, &second]);
    write(&next);
    serve.signal("-HUP");
    comes_to_show(&serve, &second, &[&first, &second]);

    // A pair that does not go together is a mistake like any other.
    std::fs::write(next.join("key.pem"), &first.key).expect("a file");
    serve.signal("-HUP");
    serve.logs("the configuration stays as it was: server.tls_cert_file");
    assert_eq!(connects(&serve, &[&second]).ends(1), 204);
}

#[test]
fn a_key_of_another_certificate_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    Pair::new().write(folder.path());
    std::fs::write(folder.path().join("key.pem"), Pair::new().key).expect("a file");
    let mut command = command_to_serve(&folder.path().join("bridge.db"), "http://127.0.0.1:9");
    let output = command
        .envs(files(folder.path()))
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("server.tls_cert_file") && errors.contains("server.tls_key_file"),
        "{errors}"
    );
}

#[test]
fn failed_handshakes_are_counted_and_logged_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pair, other) = (Pair::new(), Pair::new());
    pair.write(folder.path());
    let mut serve = serve(folder.path());
    let failed = || {
        let metrics = ask_admin(serve.admin, "/metrics", &[]).body;
        let line = metrics
            .lines()
            .find_map(|line| {
                line.strip_prefix("bridge_connections_refused_total{reason=\"tls-handshake\"} ")
            })
            .map(ToOwned::to_owned);
        line.and_then(|count| count.parse::<u64>().ok())
    };
    assert_eq!(failed(), Some(0));
    // The health check of a balancer.
    drop(TcpStream::connect(serve.public).expect("it listens"));
    for _ in 0..3 {
        assert!(Client::connects(serve.public, &[&other], &[]).is_err());
    }
    let mut plain = TcpStream::connect(serve.public).expect("it listens");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    until("four are counted", || failed() == Some(4));
    connects(&serve, &[&pair]);
    let log = serve.logs("TLS handshake failed");
    assert!(log.contains("server.tls_cert_file"), "{log}");
    serve.signal("-TERM");
    let (_, log) = serve.ends();
    assert!(!log.contains("TLS handshake failed"), "{log}");
}

#[test]
fn only_http_1_1_is_spoken_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.write(folder.path());
    let serve = serve(folder.path());
    let both = Client::connects(serve.public, &[&pair], &["h2", "http/1.1"]).expect("a connection");
    assert_eq!(
        both.0.get_ref().conn.alpn_protocol(),
        Some(&b"http/1.1"[..])
    );
    assert!(Client::connects(serve.public, &[&pair], &["h2"]).is_err());
    // Nor is HTTP without TLS.
    let mut plain = TcpStream::connect(serve.public).expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn idle_connections_do_not_delay_a_stop_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.write(folder.path());
    let acquire = sink(Faults::default());
    let mut command = command_to_serve(&folder.path().join("bridge.db"), &acquire.base_url());
    command.envs(files(folder.path()));
    command.env("BRIDGE__SERVER__STOP_TIMEOUT", "10m");
    let serve = Serve::by(command);
    let mut resting = connects(&serve, &[&pair]);
    assert_eq!(resting.ends(1), 204);
    let started = Instant::now();
    serve.signal("-TERM");
    let (code, log) = serve.ends();
    assert_eq!(code, Some(0), "{log}");
    let took = started.elapsed();
    assert!(took < WAIT_LIMIT, "{took:?}");
}

#[test]
fn sockets_from_systemd_speak_tls_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = Pair::new();
    pair.write(folder.path());
    let files = files(folder.path()).map(|(key, path)| (key, path.display().to_string()));
    on_handed_sockets(&files, |address| {
        let mut client = Client::connects(address, &[&pair], &[]).expect("a connection");
        assert_eq!(client.ends(1), 204);
    });
}

/// Runs a bridge on sockets as systemd hands them over, sends to the public one, and stops it.
pub fn on_handed_sockets(settings: &[(&str, String)], asks: impl FnOnce(SocketAddr)) {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        listener
    };
    let handed = InheritedSockets {
        public: listener(),
        admin: listener(),
    };
    let address = handed.public.local_addr().expect("an address");
    let database = format!("sqlite:{}", folder.path().join("bridge.db").display());
    let base = [
        ("TWILIO_AUTH_TOKEN", TOKEN),
        ("ACQUIRE_ACCOUNT_ID", "acme"),
        ("BRIDGE__SERVER__PUBLIC_URL", PUBLIC_URL),
        ("BRIDGE__STORE__URL", database.as_str()),
        ("BRIDGE__ACQUIRE__BASE_URL", "http://127.0.0.1:9"),
    ];
    let base = base.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let more = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    let config = config::load(None, base.into_iter().chain(more)).expect("a configuration");
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let bridge = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let app = App::build_on(handed, config, Clock::system()).expect("a bridge");
            app.run(stopped).await.expect("it ends well");
        });
    });
    asks(address);
    stop.cancel();
    bridge.join().expect("no panic");
}

#[test]
fn replay_trusts_the_authority_of_its_ca_file_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let CertifiedKey { cert, signing_key } = self_signed("localhost");
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).expect("a file");
    std::fs::write(folder.path().join("key.pem"), signing_key.serialize_pem()).expect("a file");
    let serve = serve(folder.path());
    let to = format!("https://localhost:{}", serve.public.port());
    let replay = |trusted: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
        let case = "fixtures/twilio/inbound-completed.http";
        let output = command
            .args(["replay", case, "--to", &to, "--public-url", PUBLIC_URL])
            .args(trusted)
            .env_clear()
            .env("BRIDGE_CONFIG", "/dev/null")
            .env("TWILIO_AUTH_TOKEN", TOKEN)
            .output();
        let output = output.expect("the program runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, printed) = replay(&[]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(
        printed.contains("no known authority") && printed.contains("--ca-file"),
        "{printed}"
    );
    let file = folder.path().join("cert.pem").display().to_string();
    let (code, printed) = replay(&["--ca-file", &file]);
    assert_eq!(code, Some(0), "{printed}");
}
