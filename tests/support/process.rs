//! `serve` as a process of its own, killed when dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use twilio_acquire_bridge::clock::Clock;

use super::sender::{PUBLIC_URL, TOKEN};

/// Far longer than a start takes.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_twilio-acquire-bridge");

/// Where one bridge listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

pub struct Serve {
    child: Child,
    addresses: Receiver<Addresses>,
    log: Option<JoinHandle<Vec<String>>>,
}

impl Serve {
    /// Starts it; [`Serve::addresses`] waits for it.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, receiver) = channel();
        let log = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                if let Some(addresses) = addresses(&line) {
                    // The receiver is dropped if the process is killed while it starts.
                    let _ = sender.send(addresses);
                }
                lines.push(line);
            }
            lines
        });
        Self {
            child,
            addresses: receiver,
            log: Some(log),
        }
    }

    /// Waits until it serves.
    pub fn addresses(&mut self) -> Addresses {
        let addresses = self.addresses.recv_timeout(WAIT_LIMIT);
        addresses.unwrap_or_else(|_| {
            self.kill();
            panic!("it did not start to serve: {:?}", self.log());
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM, as systemd does.
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Stops as SIGTERM does, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.child.wait().expect("an end")
    }

    /// All that was logged; waits for the end of the process.
    pub fn log(&mut self) -> Vec<String> {
        let log = self.log.take().map(JoinHandle::join);
        log.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `report --json` prints about a year before and after now. `command` has the program's settings.
pub fn report(command: &mut Command) -> Value {
    let now = Clock::system().now();
    let year = Duration::from_secs(365 * 24 * 3_600);
    let [since, until] =
        [now.minus(year), now.plus(year)].map(|at| at.to_string()[..10].to_owned());
    let command = command.args(["report", "--json", "--since", &since, "--until", &until]);
    let output = command.stdout(Stdio::piped()).output();
    let output = output.expect("it runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn addresses(line: &str) -> Option<Addresses> {
    let (_, rest) = line.split_once("public listener on ")?;
    let (public, rest) = rest.split_once(", admin listener on ")?;
    Some(Addresses {
        public: public.parse().ok()?,
        admin: rest.split_whitespace().next()?.parse().ok()?,
    })
}

/// `PROGRAM serve` for one account, on free ports, quiet in its log.
pub fn serve(database: &Path, acquire: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("serve");
    configure(&mut command, database, acquire);
    command
}

/// The settings of [`serve`], for a command that runs it in its own way.
pub fn configure(command: &mut Command, database: &Path, acquire: &str) {
    let store = format!("sqlite:{}", database.display());
    command
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env("TWILIO_AUTH_TOKEN", TOKEN)
        .env("ACQUIRE_ACCOUNT_ID", "acme")
        .env("BRIDGE__SERVER__PUBLIC_URL", PUBLIC_URL)
        .env("BRIDGE__SERVER__LISTEN", "127.0.0.1:0")
        .env("BRIDGE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("BRIDGE__STORE__URL", store)
        .env("BRIDGE__ACQUIRE__BASE_URL", acquire)
        .env(
            "BRIDGE__LOG__LEVEL",
            "error,twilio_acquire_bridge::cli=info",
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
}
