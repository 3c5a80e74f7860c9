//! CPU time, latency and lag at fixed rates, beside a peer that a user would choose: an outbox in Node.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::load::{self, Load, PUBLIC_URL, Requests, TOKEN};
use super::servers::{Mode, Server, cpu_seconds, folder};
use super::sink::ArrivalSink;

const RATES: [usize; 3] = [300, 1_000, 5_000];
const SECONDS: usize = 10;
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;

/// The peer answers some 1,500 callbacks per second at most.
const MAX_PEER_RATE: usize = 1_000;

type StartServer = fn(Mode, Option<SocketAddr>) -> Server;

/// What one server did with the callbacks of one rate.
struct Measured {
    server: &'static str,
    rate: usize,
    /// Seconds per 1,000 calls.
    cpu: f64,
    answers: [f64; 2],
    lags: [f64; 2],
    mebibytes: Option<f64>,
}

/// Prints the figures at one rate or at all, as medians of all rounds.
pub fn measure(only: Option<usize>) {
    let rates = only.map_or(RATES.to_vec(), |rate| vec![rate]);
    let peer = Peer::folder();
    if peer.is_none() {
        println!(
            "The peer is left out: Node or npm is missing, or its packages cannot be installed."
        );
    }
    let mut all = Vec::new();
    for round in 1..=ROUNDS {
        for &rate in &rates {
            let requests = Requests::signed(rate * SECONDS).terminal_only();
            let sink = ArrivalSink::start(rate * SECONDS);
            if rate <= MAX_PEER_RATE
                && let Some(modules) = &peer
            {
                let peer = Peer::start(modules, sink.address);
                all.push(run("peer", peer.address, rate, &requests, &sink, || {
                    (peer.cpu_seconds(), None)
                }));
            }
            let bridges: [(&str, StartServer); 2] = [
                ("bridge, SQLite", Server::start),
                ("bridge, PostgreSQL", Server::on_postgres),
            ];
            for (name, start) in bridges {
                let sink = ArrivalSink::start(rate * SECONDS);
                let server = start(Mode::Bridge, Some(sink.address));
                all.push(run(name, server.address, rate, &requests, &sink, || {
                    (server.cpu_seconds(), Some(server.peak_mebibytes()))
                }));
            }
        }
        eprintln!("round {round} of {ROUNDS} is done");
    }
    print(&rates, &all);
}

fn run(
    server: &'static str,
    address: SocketAddr,
    rate: usize,
    requests: &Requests,
    sink: &ArrivalSink,
    used: impl Fn() -> (f64, Option<f64>),
) -> Measured {
    let calls = rate * SECONDS;
    let (before, _) = used();
    let load = Load::fixed_rate(address, requests, CONNECTIONS, rate);
    sink.wait_for(calls, Duration::from_secs(60));
    let (after, mebibytes) = used();
    let mut lags = sink.lags(&load.answered);
    Measured {
        server,
        rate,
        cpu: (after - before) * 1_000.0 / calls as f64,
        answers: [load.percentile(50), load.percentile(99)],
        lags: [
            load::percentile(&mut lags, 50),
            load::percentile(&mut lags, 99),
        ],
        mebibytes,
    }
}

fn print(rates: &[usize], all: &[Measured]) {
    println!(
        "| per second | server | CPU s per 1,000 calls | of the peer's | answer p50 / p99 ms | lag p50 / p99 ms | MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for &rate in rates {
        let of = |server: &str, figure: &dyn Fn(&Measured) -> f64| {
            let rounds = all
                .iter()
                .filter(|one| one.server == server && one.rate == rate);
            let mut figures: Vec<f64> = rounds.map(figure).collect();
            super::median(&mut figures)
        };
        let cpu = |server: &str| of(server, &|one| one.cpu);
        for server in ["peer", "bridge, SQLite", "bridge, PostgreSQL"] {
            if cpu(server).is_nan() {
                continue;
            }
            println!(
                "| {rate} | {server} | {:.3} | {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.0} |",
                cpu(server),
                cpu(server) / cpu("peer"),
                of(server, &|one| one.answers[0]),
                of(server, &|one| one.answers[1]),
                of(server, &|one| one.lags[0]),
                of(server, &|one| one.lags[1]),
                of(server, &|one| one.mebibytes.unwrap_or(f64::NAN)),
            );
        }
    }
}

/// The peer in a process of its own; killed when dropped.
struct Peer {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// The folder with its program and packages, which `benches/run` installs.
    fn folder() -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peer");
        folder
            .join("node_modules/better-sqlite3/build/Release/better_sqlite3.node")
            .exists()
            .then_some(folder)
    }

    fn start(program: &Path, acquire: SocketAddr) -> Self {
        let folder = folder();
        let mut child = Command::new("node")
            .arg(program.join("outbox.js"))
            .arg(folder.path().join("outbox.db"))
            .arg(format!("http://{acquire}/call-end"))
            .args([PUBLIC_URL, TOKEN])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a line with the address");
        Self {
            address: line.trim().parse().expect("an address"),
            child,
            _folder: folder,
        }
    }

    fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
