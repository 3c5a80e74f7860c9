//! The servers under load, each in a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App as Routes, HttpResponse, HttpServer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use twilio_acquire_bridge::app::App;
use twilio_acquire_bridge::clock::Clock;
use twilio_acquire_bridge::config::{self, Config};
use twilio_acquire_bridge::server::callbacks::log_refusals::log_refusals;
use twilio_acquire_bridge::server::callbacks::signed_form::SignedForm;
use twilio_acquire_bridge::server::callbacks::state::CallbackState;
use twilio_acquire_bridge::server::public_routes;
use twilio_acquire_bridge::server::shared::BridgeParts;
use twilio_acquire_bridge::store::{self, HandOver};
use twilio_acquire_bridge::telemetry::logs;

use super::load::{PUBLIC_URL, TOKEN};
use super::support::postgres_server::Server as Postgres;

/// No server listens there.
pub const NO_SERVER: &str = "127.0.0.1:9";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Verifies and answers.
    Ceiling,
    /// Verifies, records durably, answers; no worker.
    Accept,
    /// The whole bridge.
    Bridge,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Accept => "durable accepts",
            Self::Bridge => "bridge",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ceiling, Self::Accept, Self::Bridge]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// A server in a child process; killed when dropped.
pub struct Server {
    pub mode: Mode,
    pub started: Instant,
    pub ready: Duration,
    pub address: SocketAddr,
    /// That of the operators; of a whole bridge only.
    pub admin: SocketAddr,
    child: Child,
    /// Removed with the server, if it was made for it.
    own: Option<Own>,
}

/// A store that was made for one server.
enum Own {
    File(tempfile::TempDir),
    Postgres(Postgres),
}

impl Server {
    pub fn start(mode: Mode, acquire: Option<SocketAddr>) -> Self {
        let folder = folder();
        let database = file(&folder.path().join("bridge.db"));
        let mut server = Self::over(mode, &database, &to(acquire), "30d");
        server.own = Some(Own::File(folder));
        server
    }

    /// With a database server of its own, which syncs.
    pub fn on_postgres(mode: Mode, acquire: Option<SocketAddr>) -> Self {
        let postgres = Postgres::start(&["fsync=on", "shared_buffers=256MB", "max_wal_size=4GB"]);
        let mut server = Self::over(mode, &postgres.url("postgres"), &to(acquire), "30d");
        server.own = Some(Own::Postgres(postgres));
        server
    }

    /// With an existing or a new database.
    pub fn over(mode: Mode, database: &str, acquire: &str, retention: &str) -> Self {
        Self::with(mode, database, acquire, retention, &[])
    }

    /// With further settings.
    pub fn with(
        mode: Mode,
        database: &str,
        acquire: &str,
        retention: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let myself = std::env::current_exe().expect("this program");
        let started = Instant::now();
        let mut child = Command::new(myself)
            .arg(mode.as_str())
            .args([database, acquire, retention])
            .args(settings.iter().map(|(key, value)| format!("{key}={value}")))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child process");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut ready)
            .expect("a line with the address");
        let mut addresses = ready.split_whitespace().map(str::parse);
        let mut address = || addresses.next().map(|read| read.expect("an address"));
        let public = address().expect("the public address");
        Self {
            mode,
            started,
            ready: started.elapsed(),
            address: public,
            admin: address().unwrap_or(public),
            child,
            own: None,
        }
    }

    /// With the database server's, where it has one.
    pub fn cpu_seconds(&self) -> f64 {
        let mut processes = vec![self.child.id()];
        if let Some(Own::Postgres(postgres)) = &self.own {
            processes.extend(postgres.processes());
        }
        let processes = processes.iter().map(u32::to_string);
        processes.map(|process| cpu_seconds(&process)).sum()
    }

    pub fn peak_mebibytes(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the child runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .expect("a peak");
        let kibibytes: f64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .expect("a number");
        kibibytes / 1024.0
    }

    /// Counted from the rows.
    pub fn calls_seen(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM callback";
        match self.own.as_ref().expect("a store of its own") {
            Own::File(folder) => {
                let path = folder.path().join("bridge.db");
                let database = rusqlite::Connection::open(path).expect("the database");
                let counted = database.query_row(COUNT, [], |row| row.get(0));
                counted.expect("the callbacks are counted")
            }
            Own::Postgres(postgres) => postgres.sql(COUNT).parse().expect("a number"),
        }
    }
}

/// In the build folder: a temporary file system would make every sync free.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

pub fn file(database: &Path) -> String {
    format!("sqlite:{}", database.display())
}

fn to(acquire: Option<SocketAddr>) -> String {
    acquire.map_or_else(|| NO_SERVER.to_owned(), |address| address.to_string())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Not before the child has ended.
        drop(self.own.take());
    }
}

/// User and system time of a process so far, from `/proc`; 0 for one that has ended, as processes of
/// PostgreSQL do.
pub fn cpu_seconds(process: &str) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
        return 0.0;
    };
    let after_name = stat.rsplit(')').next().expect("a name in parentheses");
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum();
    // USER_HZ is 100 on every Linux.
    ticks / 100.0
}

/// The child: serves until it is killed.
pub fn serve(mode: Mode, mut arguments: impl Iterator<Item = String>) {
    let mut argument = || arguments.next().expect("database, Acquire and retention");
    let (database, acquire, retention) = (argument(), argument(), argument());
    let config = configuration(&database, &acquire, &retention, arguments);
    logs::init(&config.log).expect("a log");
    actix_web::rt::System::new().block_on(async {
        if mode == Mode::Bridge {
            let app = App::build(config, Clock::system()).expect("a bridge");
            let public = app.public_addr().expect("an address");
            let admin = app.admin_addr().expect("an address");
            print_line(&format!("{public} {admin}"));
            app.run(CancellationToken::new())
                .await
                .expect("the bridge runs");
            return;
        }
        let max_connections = config.server.max_connections;
        let request_timeout = config.server.request_timeout;
        let store = store::open_to_serve(&config.store).expect("a store");
        let (_, rules) = watch::channel(Arc::new(config.rules.clone()));
        let (_, config) = watch::channel(Arc::new(config));
        let state = Data::new(CallbackState::start(&BridgeParts {
            config,
            store,
            clock: Clock::system(),
            metrics: Arc::default(),
            outages: Arc::default(),
            due: Arc::default(),
            hand_over: Arc::new(HandOver::new(Arc::default()).0),
            rules,
            reconcile: tokio::sync::mpsc::channel(1).0,
            search_progress: Arc::default(),
            refusals: Arc::default(),
        }));
        let server = HttpServer::new(move || {
            let state = state.clone();
            let routes = move |routes: &mut ServiceConfig| match mode {
                Mode::Ceiling => {
                    routes.app_data(state).route(
                        "/twilio/voice/status",
                        web::post().to(async |_: SignedForm| HttpResponse::NoContent().finish()),
                    );
                }
                _ => public_routes(routes, state, None),
            };
            Routes::new().configure(routes).wrap(from_fn(log_refusals))
        })
        .max_connections(max_connections)
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(request_timeout)
        .bind("127.0.0.1:0")
        .expect("a free port");
        print_line(&server.addrs()[0].to_string());
        server.run().await.expect("the server runs");
    });
}

pub fn print_line(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("a pipe");
}

fn configuration(
    database: &str,
    acquire: &str,
    retention: &str,
    settings: impl Iterator<Item = String>,
) -> Config {
    let spool = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-spool.db");
    let environment = [
        ("TWILIO_AUTH_TOKEN", TOKEN.to_owned()),
        ("ACQUIRE_ACCOUNT_ID", "acme".to_owned()),
        ("BRIDGE__SERVER__PUBLIC_URL", PUBLIC_URL.to_owned()),
        ("BRIDGE__SERVER__LISTEN", "127.0.0.1:0".to_owned()),
        ("BRIDGE__ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
        ("BRIDGE__LOG__LEVEL", "error".to_owned()),
        ("BRIDGE__STORE__URL", database.to_owned()),
        ("BRIDGE__STORE__SPOOL", spool.display().to_string()),
        ("BRIDGE__STORE__RETENTION", retention.to_owned()),
        ("BRIDGE__ACQUIRE__BASE_URL", format!("http://{acquire}")),
    ];
    let environment = environment.map(|(key, value)| (key.to_owned(), value));
    let settings = settings.map(|setting| {
        let (key, value) = setting.split_once('=').expect("KEY=VALUE");
        (key.to_owned(), value.to_owned())
    });
    // A setting replaces that of all servers.
    let environment: BTreeMap<_, _> = environment.into_iter().chain(settings).collect();
    let file = environment.get("BRIDGE_CONFIG");
    let file = file.map(|path| Path::new(path).to_owned());
    config::load(file.as_deref(), environment).expect("a configuration")
}
