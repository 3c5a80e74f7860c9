//! A real PostgreSQL server for tests: a temporary cluster on a free port of the loopback interface.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::Port;

/// The server and its folder; stopped when this is dropped, and when the process ends.
pub struct Server {
    // Dropped before the folder, which it uses.
    running: Mutex<Option<Running>>,
    /// Stays reserved while the server is stopped.
    port: Port,
    settings: Vec<String>,
    folder: TempDir,
}

struct Running {
    /// `server.sh`, which stops the server when its stdin is closed.
    keeper: Child,
    postmaster: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// Starts a server with these settings (`name=value`). Without fsync, since no test cuts the power.
    pub fn start(settings: &[&str]) -> Self {
        let fast = ["fsync=off", "max_connections=300", "shared_buffers=32MB"];
        let settings = fast.iter().chain(settings);
        let server = Self {
            running: Mutex::new(None),
            port: Port::reserve(),
            settings: settings.map(|setting| format!("-c{setting}")).collect(),
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        server.start_again();
        server
    }

    /// Starts a server that accepts only TLS connections.
    pub fn with_tls(certificate: &str, key: &str) -> Self {
        let server = Self::start(&[]);
        server.stop();
        let data = server.folder().join("data");
        let owner = std::fs::metadata(&data).expect("its data");
        for (name, text) in [
            ("server.crt", certificate),
            ("server.key", key),
            ("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n"),
        ] {
            let path = data.join(name);
            std::fs::write(&path, text).expect("written");
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, private).expect("made private");
            std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("given");
        }
        let settings = data.join("postgresql.auto.conf");
        std::fs::write(settings, "ssl = on\n").expect("written");
        server.start_again();
        server
    }

    /// The server for all tests that do not stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        self.port.address.to_string()
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address())
    }

    /// Runs SQL in the database `postgres`, and returns the output of psql.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let output = Command::new(bin().join("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--dbname", &self.url(database)])
            .args(["--command", sql])
            .output()
            .expect("psql runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub fn start_again(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/postgres_server.sh");
        let mut keeper = Command::new(script)
            .arg(bin())
            .arg(self.folder())
            .arg(self.port.address.port().to_string())
            .args(&self.settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's script runs");
        let mut line = String::new();
        let stdout = keeper.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("read");
        let postmaster = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}", self.log()));
        *self.running.lock().expect("whole") = Some(Running { keeper, postmaster });
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.is_ready() {
            assert!(
                Instant::now() < deadline,
                "it does not start: {}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    fn is_ready(&self) -> bool {
        TcpStream::connect(self.port.address).is_ok()
            && Command::new(bin().join("pg_isready"))
                .args(["--quiet", "--dbname", &self.url("postgres")])
                .status()
                .is_ok_and(|status| status.success())
    }

    fn log(&self) -> String {
        let log = |name| std::fs::read_to_string(self.folder().join(name)).unwrap_or_default();
        log("initdb.log") + &log("server.log")
    }

    /// Stops it as an operator does, and waits until it has ended.
    pub fn stop(&self) {
        if let Some(mut running) = self.running.lock().expect("whole").take() {
            let mut stdin = running.keeper.stdin.take().expect("piped");
            // Keeps the data for the next start.
            let _ = stdin.write_all(b"keep");
            drop(stdin);
            running.keeper.wait().expect("its end");
        }
    }

    /// Ends it like a crash: at the next start it recovers.
    pub fn crash(&self) {
        let postmaster = self.postmaster();
        signal("-QUIT", &[postmaster]);
        self.stop();
    }

    /// Stops all its processes: connections stay open without a response.
    pub fn freeze(&self) {
        signal("-STOP", &self.processes());
    }

    pub fn thaw(&self) {
        signal("-CONT", &self.processes());
    }

    fn postmaster(&self) -> u32 {
        let running = self.running.lock().expect("whole");
        running.as_ref().expect("it runs").postmaster
    }

    /// Its processes, the postmaster first.
    pub fn processes(&self) -> Vec<u32> {
        let postmaster = self.postmaster();
        let output = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &postmaster.to_string()])
            .output()
            .expect("ps runs");
        let children = String::from_utf8_lossy(&output.stdout).into_owned();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        std::iter::once(postmaster).chain(children).collect()
    }
}

fn signal(name: &str, processes: &[u32]) {
    let processes = processes.iter().map(u32::to_string);
    // Fails if one of them has ended by itself.
    let _ = Command::new("kill").arg(name).args(processes).status();
}

/// The folder of the server's programs: Debian's newest version, or one of the usual folders.
fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql");
        let versions = versions.into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        found.sort();
        found.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
        let is_complete = |bin: &PathBuf| {
            ["initdb", "postgres", "psql", "pg_isready"]
                .iter()
                .all(|program| bin.join(program).exists())
        };
        let found = found.into_iter().find(is_complete);
        found.expect("no PostgreSQL: install it, on Debian with: apt-get install postgresql")
    })
}
