//! The program as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};

use super::harness::WAIT_LIMIT;
use super::http::exchange;
use super::twilio::{PUBLIC_URL, STATUS, TOKEN, sid, signature, status_form};

/// `serve` as a process of its own; killed when dropped.
pub struct Serve {
    pub child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub log: BufReader<std::process::ChildStderr>,
}

impl Serve {
    pub fn start(database: &Path, acquire: &FakeAcquire) -> Self {
        Self::by(command_to_serve(database, &acquire.base_url()))
    }

    pub fn by(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut seen = String::new();
        let addresses = loop {
            let mut line = String::new();
            assert!(
                log.read_line(&mut line).expect("text") > 0,
                "it ended at once: {seen}"
            );
            if let Some((_, rest)) = line.split_once("public listener on ") {
                break rest.trim_end().to_owned();
            }
            seen.push_str(&line);
        };
        let (public, admin) = addresses
            .split_once(", admin listener on ")
            .expect("two addresses in the log");
        let admin = admin.split_whitespace().next().expect("an address");
        Self {
            child,
            public: public.parse().expect("an address"),
            admin: admin.parse().expect("an address"),
            log,
        }
    }

    pub fn accepts(&self, call: usize) {
        self.accepts_form(&status_form(&sid(call), "completed"));
    }

    pub fn accepts_form(&self, form: &str) {
        let url = format!("{PUBLIC_URL}{STATUS}");
        let signature = signature(&url, form.as_bytes());
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Twilio-Signature", signature.as_str()),
        ];
        let answer = exchange(self.public, "POST", STATUS, &headers, form.as_bytes());
        assert_eq!(answer.status, 204);
    }

    /// The log up to the line that contains `text`.
    pub fn logs(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let read = self.log.read_line(&mut seen).expect("text");
            assert!(read > 0, "it ended without {text}: {seen}");
        }
        seen
    }

    pub fn signal(&self, name: &str) {
        let killed = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(killed.expect("kill runs").success());
    }

    /// The exit code and the rest of the log.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.log, &mut rest).expect("text");
        (self.child.wait().expect("an end").code(), rest)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command_to_serve(database: &Path, acquire: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
    command
        .arg("serve")
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .env("ACQUIRE_ACCOUNT_ID", "acme")
        .env("BRIDGE__SERVER__PUBLIC_URL", PUBLIC_URL)
        .env("BRIDGE__SERVER__LISTEN", "127.0.0.1:0")
        .env("BRIDGE__ADMIN__LISTEN", "127.0.0.1:0")
        .env(
            "BRIDGE__STORE__URL",
            format!("sqlite:{}", database.display()),
        )
        .env("BRIDGE__ACQUIRE__BASE_URL", acquire)
        .env(
            "BRIDGE__DELIVERY__SCHEDULE",
            "100ms 100ms 100ms 1s 1s 1s 1s 1s",
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn sink(faults: Faults) -> FakeAcquire {
    FakeAcquire::start(SocketAddr::from(([127, 0, 0, 1], 0)), faults, Retain::All)
        .expect("a free port")
}

pub fn reached(sink: &FakeAcquire, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let reached = async { tokio::time::timeout(WAIT_LIMIT, sink.reached(count)).await };
    runtime.block_on(reached).expect("the requests arrive");
}
