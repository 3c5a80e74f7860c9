//! A real PostgreSQL server for tests: a throw-away cluster on a free port of the loopback.

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
    // Before the folder, which it uses.
    running: Mutex<Option<Running>>,
    /// Its own also while it is stopped.
    port: Port,
    settings: Vec<String>,
    folder: TempDir,
}

struct Running {
    /// Stops the server when our end of its stdin is closed.
    keeper: Child,
    postmaster: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// Starts a server that need not outlive a power cut, with these settings (`name=value`).
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

    /// Starts a server that takes TLS connections alone.
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

    /// The one that tests share which do not stop it.
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

    /// Does `sql` in the database that is always there.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let told = Command::new(bin().join("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set=ON_ERROR_STOP=1", "--dbname", &self.url(database)])
            .args(["--command", sql])
            .output()
            .expect("psql runs");
        let errors = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "{sql}: {errors}");
        String::from_utf8_lossy(&told.stdout).trim().to_owned()
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
        let told = keeper.stdout.take().expect("piped");
        BufReader::new(told).read_line(&mut line).expect("read");
        let postmaster = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}", self.log()));
        *self.running.lock().expect("whole") = Some(Running { keeper, postmaster });
        let late = Instant::now() + Duration::from_secs(60);
        while !self.is_ready() {
            assert!(Instant::now() < late, "it does not start: {}", self.log());
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

    /// Stops it as an operator would, and waits for its end.
    pub fn stop(&self) {
        if let Some(mut running) = self.running.lock().expect("whole").take() {
            let mut stdin = running.keeper.stdin.take().expect("piped");
            // Its data stays for the next start.
            let _ = stdin.write_all(b"keep");
            drop(stdin);
            running.keeper.wait().expect("its end");
        }
    }

    /// Ends it as a crash does: it recovers when it is started again.
    pub fn crash(&self) {
        let postmaster = self.postmaster();
        signal("-QUIT", &[postmaster]);
        self.stop();
    }

    /// Lets all its processes stand still: connections stay open, and nothing answers.
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

    /// The postmaster first.
    pub fn processes(&self) -> Vec<u32> {
        let postmaster = self.postmaster();
        let told = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &postmaster.to_string()])
            .output()
            .expect("ps runs");
        let children = String::from_utf8_lossy(&told.stdout).into_owned();
        let children = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        std::iter::once(postmaster).chain(children).collect()
    }
}

fn signal(name: &str, processes: &[u32]) {
    let processes = processes.iter().map(u32::to_string);
    // One of them may have ended by itself.
    let _ = Command::new("kill").arg(name).args(processes).status();
}

/// Where Debian puts the server's programs, else beside all others.
fn bin() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql");
        let versions = versions.into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        found.sort();
        found.extend(["/usr/bin", "/usr/local/bin"].map(PathBuf::from));
        let is_whole = |bin: &PathBuf| {
            ["initdb", "postgres", "psql", "pg_isready"]
                .iter()
                .all(|program| bin.join(program).exists())
        };
        let found = found.into_iter().find(is_whole);
        found.expect("no PostgreSQL: install it, on Debian with: apt-get install postgresql")
    })
}
