//! A running bridge between a fake Twilio that signs and a fake Acquire with chosen answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use twilio_acquire_bridge::app::{App, AppError};
use twilio_acquire_bridge::clock::{Clock, Millis};
use twilio_acquire_bridge::config::{self, Config};
use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};
use twilio_acquire_bridge::store::{OpenError, Store};

use super::http::{Answer, exchange};
use super::twilio::{PUBLIC_URL, TOKEN, Twilio};

/// Far longer than anything here takes; a test that waits so long has failed.
pub const WAIT_LIMIT: Duration = Duration::from_secs(60);

pub struct Bridge {
    pub twilio: Twilio,
    pub acquire: FakeAcquire,
    pub clock: Clock,
    pub folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    file: Option<PathBuf>,
    running: Option<Running>,
}

struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    store: Arc<dyn Store>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Bridge {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these settings over those of a plain single account.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let acquire =
            FakeAcquire::start(listen, Faults::default(), Retain::All).expect("a free port");
        let mut all = base_settings(folder.path(), &acquire.base_url());
        for (key, value) in settings {
            all.retain(|(other, _)| other != key);
            all.push(((*key).to_owned(), (*value).to_owned()));
        }
        let mut bridge = Self {
            twilio: Twilio { public: listen },
            acquire,
            clock: Clock::manual(Millis(1_790_000_000_000)),
            folder,
            settings: all,
            file: None,
            running: None,
        };
        bridge.starts();
        bridge
    }

    /// Starts on what the store has; the ports are new.
    pub fn starts(&mut self) {
        let config = config::load(self.file.as_deref(), self.settings.clone())
            .expect("a valid configuration");
        let clock = self.clock.clone();
        let stop = CancellationToken::new();
        let (sender, addresses) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                actix_web::rt::System::new().block_on(async {
                    let app = built(&config, &clock);
                    let addresses = (app.public_addr(), app.admin_addr());
                    let started = (addresses, app.store());
                    sender.send(started).expect("the test waits");
                    app.run(stop).await.expect("the bridge ends well");
                });
            }
        });
        let ((public, admin), store) = addresses.recv().expect("the bridge starts");
        let (public, admin) = (public.expect("an address"), admin.expect("an address"));
        self.twilio.public = public;
        self.running = Some(Running {
            public,
            admin,
            store,
            stop,
            thread,
        });
    }

    /// Stops as SIGTERM does and waits for the end.
    pub fn stops(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            running
                .thread
                .join()
                .expect("the bridge ends without a panic");
        }
    }

    /// Starts the stop, as SIGTERM does, and does not wait for its end.
    pub fn starts_to_stop(&self) {
        self.running
            .as_ref()
            .expect("a running bridge")
            .stop
            .cancel();
    }

    /// Advances the clock until the bridge has come to its end.
    pub fn stops_after(&mut self, drain: Duration) {
        let running = self.running.as_ref().expect("a running bridge");
        while !running.thread.is_finished() {
            self.clock.advance(drain);
            std::thread::yield_now();
        }
        self.stops();
    }

    pub fn public(&self) -> SocketAddr {
        self.running.as_ref().expect("a running bridge").public
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.running.as_ref().expect("a running bridge").admin
    }

    /// Restarts with a configuration file below the settings.
    pub fn restarts_with_file(&mut self, file: &Path) {
        self.stops();
        let accounts = std::fs::read_to_string(file)
            .expect("a file")
            .contains("[[accounts]]");
        if accounts {
            self.settings.retain(|(key, _)| !of_one_account(key));
        }
        self.file = Some(file.to_owned());
        self.starts();
    }

    /// Restarts with these additional lines in its configuration file.
    pub fn restarts_with(&mut self, lines: &str) {
        self.stops();
        let changed: toml::Table = lines.parse().expect("TOML");
        for (section, keys) in &changed {
            for key in keys.as_table().into_iter().flat_map(toml::Table::keys) {
                let variable = format!("BRIDGE__{section}__{key}").to_uppercase();
                self.settings.retain(|(key, _)| *key != variable);
            }
        }
        let file = self.folder.path().join("bridge.toml");
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        std::fs::write(&file, before + lines).expect("a file");
        self.file = Some(file);
        self.starts();
    }

    /// Sends a request to the admin listener, with the token if there is one.
    fn operator(&self, method: &str, target: &str) -> Answer {
        let token = self
            .settings
            .iter()
            .find(|(key, _)| key == "BRIDGE__ADMIN__TOKEN");
        let bearer = token.map(|(_, token)| format!("Bearer {token}"));
        let headers = bearer.as_deref().map(|bearer| ("Authorization", bearer));
        self.admin(method, target, headers.as_slice())
    }

    /// Sends a request to the admin listener.
    pub fn admin(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let admin = self.running.as_ref().expect("a running bridge").admin;
        let named = headers.iter().any(|(name, _)| *name == "Host");
        let host = [("Host", "localhost")];
        let headers = [if named { &[][..] } else { &host }, headers].concat();
        exchange(admin, method, target, &headers, b"")
    }

    /// Posts JSON to the operator's side.
    pub fn posts(&self, target: &str, json: &serde_json::Value) -> Answer {
        let admin = self.running.as_ref().expect("a running bridge").admin;
        let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
        exchange(admin, "POST", target, &headers, json.to_string().as_bytes())
    }

    /// The call's timeline from the API.
    pub fn call(&self, sid: &str) -> serde_json::Value {
        self.operator("GET", &format!("/api/calls/{sid}")).json()
    }

    pub fn state(&self, sid: &str) -> String {
        self.call(sid)["state"]
            .as_str()
            .unwrap_or("unknown to the bridge")
            .to_owned()
    }

    pub fn metric(&self, line: &str) -> Option<f64> {
        let text = self.operator("GET", "/metrics").body;
        let value = text.lines().find_map(|other| other.strip_prefix(line))?;
        value.trim().parse().ok()
    }

    /// Waits until a metric that is counted beside the answers has reached `value`.
    pub fn counts(&self, line: &str, value: f64) {
        let until = Instant::now() + WAIT_LIMIT;
        while self.metric(line) < Some(value) {
            let all = self.operator("GET", "/metrics").body;
            let lines = all
                .lines()
                .filter(|line| line.contains("signature_failures_total{"));
            let seen: Vec<&str> = lines.collect();
            assert!(Instant::now() < until, "{line} is not {value}: {seen:?}");
            std::thread::yield_now();
        }
        assert_eq!(self.metric(line), Some(value), "{line}");
    }

    /// Waits until no call is due at the clock's time and none is claimed.
    pub fn settles(&self) {
        let until = Instant::now() + WAIT_LIMIT;
        while self.is_busy() {
            assert!(
                Instant::now() < until,
                "still due or claimed after {WAIT_LIMIT:?}: {:#}",
                self.operator("GET", "/api/calls?state=pending").json()
            );
            std::thread::yield_now();
        }
    }

    /// Whether a call is due or claimed: one query for both, so that none can change between two.
    fn is_busy(&self) -> bool {
        let store = Arc::clone(&self.running.as_ref().expect("a running bridge").store);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let counts = runtime.expect("a runtime").block_on(store.counts());
        // A busy database may end a connection.
        let Ok(counts) = counts else {
            return true;
        };
        counts.claimed > 0 || counts.oldest_due.is_some_and(|due| due <= self.clock.now())
    }

    /// Advances the clock and lets what fell due be done.
    pub fn waits(&self, by: Duration) {
        self.clock.advance(by);
        self.settles();
    }

    /// Runs a command beside the bridge, with its settings.
    pub fn runs(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Run {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// A command beside the bridge, with its settings.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
        // Not the configuration of a bridge that is installed on this machine.
        command
            .args(arguments)
            .env_clear()
            .env("BRIDGE_CONFIG", "/dev/null");
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        if let Some(running) = &self.running {
            command.env("BRIDGE__ADMIN__LISTEN", running.admin.to_string());
        }
        if let Some(file) = &self.file {
            command.env("BRIDGE_CONFIG", file);
        }
        command
    }

    /// The bodies that Acquire got, in order.
    pub fn sent(&self) -> Vec<serde_json::Value> {
        let received = self.acquire.received();
        received
            .iter()
            .map(|request| serde_json::from_str(&request.body).expect("a JSON body"))
            .collect()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.running.is_some() {
            until("nothing is left claimed", || {
                self.metric("bridge_calls{state=\"claimed\"}") == Some(0.0)
            });
        }
        self.stops();
    }
}

/// A process that another test starts holds the locks until it has started, and a thread of a
/// bridge that has stopped may let go late.
fn built(config: &Config, clock: &Clock) -> App {
    let until = Instant::now() + WAIT_LIMIT;
    loop {
        match App::build(config.clone(), clock.clone()) {
            Err(AppError::Store(OpenError::InUse { .. })) if Instant::now() < until => {
                std::thread::yield_now();
            }
            app => return app.expect("the bridge is built"),
        }
    }
}

/// Waits for what others do in their own time.
#[expect(
    clippy::disallowed_methods,
    reason = "asking without a pause would keep them from their work"
)]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + WAIT_LIMIT;
    while !is_so() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What must not be set beside `[[accounts]]`.
fn of_one_account(key: &str) -> bool {
    key == "TWILIO_AUTH_TOKEN"
        || key == "ACQUIRE_ACCOUNT_ID"
        || key.starts_with("BRIDGE__TWILIO__API_KEY_")
}

fn base_settings(folder: &Path, acquire: &str) -> Vec<(String, String)> {
    let database = folder.join("bridge.db");
    let settings = [
        ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
        ("ACQUIRE_ACCOUNT_ID", "acme".to_owned()),
        ("BRIDGE__SERVER__PUBLIC_URL", PUBLIC_URL.to_owned()),
        ("BRIDGE__SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("BRIDGE__ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
        (
            "BRIDGE__STORE__URL",
            format!("sqlite:{}", database.display()),
        ),
        // For tests on PostgreSQL: the default would be a file in the working directory.
        (
            "BRIDGE__STORE__SPOOL",
            folder.join("spool.db").display().to_string(),
        ),
        ("BRIDGE__ACQUIRE__BASE_URL", acquire.to_owned()),
    ];
    settings
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
}
