//! The nodes with what they share: the database, the balancer, and Acquire.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use twilio_acquire_bridge::debugging::fake_acquire::Share;

use crate::acquire::Acquire;
use crate::balancer::{Balancer, NAMES, Refused};
use crate::support::book::{Balance, Book};
use crate::support::port::Port;
use crate::support::postgres_server::Server;
use crate::support::process::{self, Addresses, Serve};
use crate::support::sender::{Call, ask, send};
use crate::{number, until};

/// Calls that end a run are counted from here, so that no sender has the same.
const LAST_CALLS: u64 = 1 << 40;

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub balancer: Balancer,
    pub database: Server,
    pub book: Arc<Book>,
    acquire: Acquire,
    seed: u64,
    _folder: TempDir,
    /// The nodes' own also while these are stopped.
    _ports: [[Port; 2]; 3],
}

/// A bridge that is started again and again, with its addresses and its spool.
pub struct Node {
    addresses: Addresses,
    store: String,
    spool: PathBuf,
    acquire: String,
    serve: Serve,
}

impl Cluster {
    /// `None` where there is no HAProxy.
    pub fn start(refused: Refused, faults: Vec<Share>, seed: u64) -> Option<Self> {
        let ports = NAMES.map(|_| [Port::reserve(), Port::reserve()]);
        let addresses = ports.each_ref().map(|[public, admin]| Addresses {
            public: public.address,
            admin: admin.address,
        });
        let balancer = Balancer::start(Port::reserve(), addresses, refused)?;
        let folder = tempfile::tempdir().expect("a folder");
        let database = Server::start(&[]);
        let book = Arc::new(Book::default());
        let acquire = Acquire::start(faults, seed, &book);
        let start = |(addresses, name)| {
            let spool = folder.path().join(format!("{name}.db"));
            let store = database.url("postgres");
            Node::start(addresses, store, spool, acquire.sink.base_url())
        };
        let nodes: Vec<Node> = addresses.into_iter().zip(NAMES).map(start).collect();
        for node in 0..nodes.len() {
            balancer.trusts(node);
        }
        Some(Self {
            nodes,
            balancer,
            database,
            book,
            acquire,
            seed,
            _folder: folder,
            _ports: ports,
        })
    }

    /// Stops a node as an operator does, starts it again, and waits for the balancer.
    pub fn rolls(&mut self, node: usize) {
        self.nodes[node].stops();
        self.nodes[node].starts();
        self.balancer.trusts(node);
    }

    /// Waits until all that is owed is paid or parked, sends a fresh call to each node, and closes the
    /// book; with what was sent twice at once.
    pub fn closes(mut self) -> (Balance, Vec<String>) {
        self.comes_to_rest();
        for (node, number) in self.nodes.iter().zip(LAST_CALLS..) {
            let call = Call::new(self.seed, number);
            self.book.sends(&call);
            let status = send(node.addresses.public, &call).expect("an answer");
            assert_eq!(status, 204);
            self.book.answered(&call, status);
        }
        self.comes_to_rest();
        for node in &mut self.nodes {
            node.stops();
        }
        let checked = self.nodes[0].command("check").arg("--store").output();
        let checked = checked.expect("it runs");
        let parked = "SELECT sid FROM call WHERE state = 'parked'";
        let parked = self.database.sql(parked);
        let parked = parked.lines().map(str::to_owned).collect();
        let overlaps = self.acquire.ends();
        let mut balance = self.book.balance(&parked);
        if !checked.status.success() {
            let told = String::from_utf8_lossy(&checked.stderr);
            balance.wrong.push(format!("check --store: {told}"));
        }
        (balance, overlaps)
    }

    fn comes_to_rest(&self) {
        for node in &self.nodes {
            until("a spool is empty", || {
                node.says("bridge_spooled_callbacks 0")
            });
        }
        let pending = "SELECT count(*) FROM call WHERE state = 'pending'";
        until("nothing is pending", || self.database.sql(pending) == "0");
    }
}

impl Node {
    fn start(addresses: Addresses, store: String, spool: PathBuf, acquire: String) -> Self {
        let command = command("serve", addresses, &store, &spool, &acquire);
        let mut serve = Serve::spawn(command);
        serve.addresses();
        Self {
            addresses,
            store,
            spool,
            acquire,
            serve,
        }
    }

    fn command(&self, verb: &str) -> Command {
        command(
            verb,
            self.addresses,
            &self.store,
            &self.spool,
            &self.acquire,
        )
    }

    /// Starts it again, and waits until it serves.
    pub fn starts(&mut self) {
        self.begins();
        self.serve.addresses();
    }

    pub fn begins(&mut self) {
        self.serve = Serve::spawn(self.command("serve"));
    }

    pub fn is_killed(&mut self) {
        self.serve.kill();
    }

    fn stops(&mut self) {
        assert!(self.serve.stop().success(), "{:?}", self.serve.log());
    }

    fn says(&self, metric: &str) -> bool {
        let (_, metrics) = ask(self.addresses.admin, "/metrics").expect("an answer");
        metrics.lines().any(|line| line == metric)
    }
}

fn command(
    verb: &str,
    addresses: Addresses,
    store: &str,
    spool: &std::path::Path,
    acquire: &str,
) -> Command {
    // What a killed node had claimed is free again after so many seconds.
    let lease = number("NODES_LEASE", 9);
    let mut command = Command::new(process::PROGRAM);
    command.arg(verb);
    process::configure(&mut command, spool, acquire);
    command
        .env("BRIDGE__SERVER__LISTEN", addresses.public.to_string())
        .env("BRIDGE__ADMIN__LISTEN", addresses.admin.to_string())
        // Above the interval of the balancer's checks times its falls.
        .env(
            "BRIDGE__SERVER__DRAIN",
            format!("{}s", number("NODES_DRAIN", 1)),
        )
        .env("BRIDGE__STORE__URL", store)
        .env("BRIDGE__STORE__SPOOL", spool)
        .env("BRIDGE__DELIVERY__TIMEOUT", format!("{}s", lease - 1))
        .env("BRIDGE__DELIVERY__LEASE", format!("{lease}s"))
        .env(
            "BRIDGE__DELIVERY__SCHEDULE",
            format!("20ms 50ms 100ms{}", " 300ms".repeat(90)),
        )
        .env("BRIDGE__ACQUIRE__UNCLEAR_TRIES", "90");
    command
}

/// A part of `most`.
pub fn some(most: Duration, chance: &mut fastrand::Rng) -> Duration {
    most.mul_f64(chance.f64())
}
