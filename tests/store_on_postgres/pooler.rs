//! A real PgBouncer in front of the database.

use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use twilio_acquire_bridge::clock::Millis;
use twilio_acquire_bridge::config::postgres::PostgresUrl;
use twilio_acquire_bridge::config::{SpoolSettings, StoreSettings, StoreUrl};
use twilio_acquire_bridge::store::{self, NextState, Recorded, State};

use crate::support::port::Port;
use crate::support::postgres_server::Server;
use crate::support::real::{left_out, until};
use crate::support::store_suite::place::{claim_one, record, settle, sid, state};

const PROGRAM: &str = "/usr/sbin/pgbouncer";

struct Pooler {
    child: Child,
    port: Port,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// `None`, and a line on stderr, where the program is not installed.
    fn start(server: &Server, mode: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            left_out("the bridge behind PgBouncer: apt-get install pgbouncer");
            return None;
        }
        let (host, server_port) = {
            let address = server.address();
            let (host, port) = address.split_once(':').expect("an address");
            (host.to_owned(), port.to_owned())
        };
        let (folder, port) = (tempfile::tempdir().expect("a folder"), Port::reserve());
        let settings = format!(
            "[databases]\n* = host={host} port={server_port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\n",
            port.address.port()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("written");
        open_to_all(folder.path(), 0o755);
        open_to_all(&file, 0o644);
        // It refuses to run as root.
        let as_user: &[&str] =
            if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
                &[
                    "setpriv",
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--init-groups",
                ]
            } else {
                &["env"]
            };
        let child = Command::new(as_user[0])
            .args(&as_user[1..])
            .arg(PROGRAM)
            .arg("--quiet")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let address = port.address;
        let pooler = Self {
            child,
            port,
            _folder: folder,
        };
        until("it accepts connections", || {
            TcpStream::connect(address).is_ok()
        });
        Some(pooler)
    }

    fn settings(&self) -> StoreSettings {
        let url = format!("postgres://postgres@{}/postgres", self.port.address);
        let day = Duration::from_secs(24 * 3_600);
        StoreSettings {
            url: StoreUrl::Postgres(Box::new(PostgresUrl::parse(&url).expect("a URL"))),
            spool: SpoolSettings::Off,
            retention: day,
            parked_retention: day,
            check_every: day,
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open_to_all(path: &Path, mode: u32) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("opened");
}

#[tokio::test]
async fn a_pooler_in_transaction_or_statement_mode_is_refused_with_the_setting_to_change() {
    let server = Server::start(&[]);
    for mode in ["transaction", "statement"] {
        let Some(pooler) = Pooler::start(&server, mode) else {
            return;
        };
        let started = Instant::now();
        let Err(refused) = store::open_to_serve(&pooler.settings()) else {
            panic!("{mode} mode is accepted");
        };
        let why = refused.to_string();
        assert!(why.contains("pool_mode = session"), "{mode}: {why}");
        assert!(started.elapsed() < Duration::from_secs(5), "{mode}");
    }
}

#[tokio::test]
async fn a_call_goes_its_way_through_a_pooler_in_session_mode() {
    let server = Server::start(&[]);
    let Some(pooler) = Pooler::start(&server, "session") else {
        return;
    };
    let store = store::open_to_serve(&pooler.settings()).expect("it is accepted");
    assert_eq!(record(&*store, &sid(1), 0).await, Recorded::New);
    let claimed = claim_one(&*store, 0).await;
    settle(&*store, &claimed, NextState::PendingAt(Millis(5)), 1).await;
    let claimed = claim_one(&*store, 5).await;
    settle(&*store, &claimed, NextState::Delivered, 6).await;
    assert_eq!(state(&*store, &sid(1)).await, State::Delivered);
    assert_eq!(record(&*store, &sid(1), 7).await, Recorded::Repeated);
    drop(store);
    // A database that is down is no pooler.
    server.stop();
    drop(store::open_to_serve(&pooler.settings()).expect("it may come back"));
}
