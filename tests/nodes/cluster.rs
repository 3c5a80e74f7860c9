//! The nodes with their database, balancer and Acquire.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use twilio_acquire_bridge::debugging::fake_acquire::Share;

use crate::acquire::Acquire;
use crate::balancer::{Balancer, NAMES, Refused};
use crate::support::ledger::{Balance, Ledger};
use crate::support::port::Port;
use crate::support::postgres_server::Server;
use crate::support::process::{self, Addresses, Serve};
use crate::support::sender::{Call, ask, send};
use crate::{number, until};

/// The number of the first call at the end of a run: no sender of the load gets so far.
const FIRST_FINAL_CALL: u64 = 1 << 40;

pub struct Cluster {
    pub nodes: Vec<Node>,
    pub balancer: Balancer,
    pub database: Server,
    pub ledger: Arc<Ledger>,
    acquire: Acquire,
    seed: u64,
    _folder: TempDir,
    /// Stay reserved while the nodes are stopped.
    _ports: [[Port; 2]; 3],
}

/// A bridge that is restarted, with its addresses and its spool.
pub struct Node {
    addresses: Addresses,
    store: String,
    spool: PathBuf,
    acquire: String,
    serve: Serve,
}

impl Cluster {
    /// `None` if HAProxy is not installed.
    pub fn start(refused: Refused, faults: Vec<Share>, seed: u64) -> Option<Self> {
        let ports = NAMES.map(|_| [Port::reserve(), Port::reserve()]);
        let addresses = ports.each_ref().map(|[public, admin]| Addresses {
            public: public.address,
            admin: admin.address,
        });
        let balancer = Balancer::start(Port::reserve(), addresses, refused)?;
        let folder = tempfile::tempdir().expect("a folder");
        let database = Server::start(&[]);
        let ledger = Arc::new(Ledger::default());
        let acquire = Acquire::start(faults, seed, &ledger);
        let start = |(addresses, name)| {
            let spool = folder.path().join(format!("{name}.db"));
            let store = database.url("postgres");
            Node::start(addresses, store, spool, acquire.server.base_url())
        };
        let nodes: Vec<Node> = addresses.into_iter().zip(NAMES).map(start).collect();
        for node in 0..nodes.len() {
            balancer.wait_until_up(node);
        }
        Some(Self {
            nodes,
            balancer,
            database,
            ledger,
            acquire,
            seed,
            _folder: folder,
            _ports: ports,
        })
    }

    /// Stops a node as an operator does, starts it again, and waits for the balancer.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].stop();
        self.nodes[node].start_again();
        self.balancer.wait_until_up(node);
    }

    /// Waits until all calls are finished, delivers one more by each node, and stops all. Returns the
    /// balance of the ledger, and the calls that were sent twice at the same time.
    pub fn stop(mut self) -> (Balance, Vec<String>) {
        self.wait_until_finished();
        for (node, number) in self.nodes.iter().zip(FIRST_FINAL_CALL..) {
            let call = Call::new(self.seed, number);
            self.ledger.sends(&call);
            let status = send(node.addresses.public, &call).expect("an answer");
            assert_eq!(status, 204);
            self.ledger.answered(&call, status);
        }
        self.wait_until_finished();
        for node in &mut self.nodes {
            node.stop();
        }
        let checked = self.nodes[0].command("check").arg("--store").output();
        let checked = checked.expect("it runs");
        let parked = "SELECT sid FROM call WHERE state = 'parked'";
        let parked = self.database.sql(parked);
        let parked = parked.lines().map(str::to_owned).collect();
        let overlaps = self.acquire.stop();
        let mut balance = self.ledger.balance(&parked);
        let report = process::report(&mut self.nodes[0].program());
        balance.wrong.extend(self.ledger.report_errors(&report));
        if !checked.status.success() {
            let errors = String::from_utf8_lossy(&checked.stderr);
            balance.wrong.push(format!("check --store: {errors}"));
        }
        (balance, overlaps)
    }

    fn wait_until_finished(&self) {
        for node in &self.nodes {
            until("a spool is empty", || {
                node.has_metric("bridge_spooled_callbacks 0")
            });
        }
        let pending = "SELECT count(*) FROM call WHERE state = 'pending'";
        until("nothing is pending", || self.database.sql(pending) == "0");
    }
}

impl Node {
    fn start(addresses: Addresses, store: String, spool: PathBuf, acquire: String) -> Self {
        let mut command = program(addresses, &store, &spool, &acquire);
        command.arg("serve");
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
        let mut command = self.program();
        command.arg(verb);
        command
    }

    /// The program with the settings of this node.
    fn program(&self) -> Command {
        program(self.addresses, &self.store, &self.spool, &self.acquire)
    }

    /// Starts it again, and waits until it serves.
    pub fn start_again(&mut self) {
        self.spawn();
        self.serve.addresses();
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) {
        self.serve = Serve::spawn(self.command("serve"));
    }

    pub fn kill(&mut self) {
        self.serve.kill();
    }

    fn stop(&mut self) {
        assert!(self.serve.stop().success(), "{:?}", self.serve.log());
    }

    fn has_metric(&self, metric: &str) -> bool {
        let (_, metrics) = ask(self.addresses.admin, "/metrics").expect("an answer");
        metrics.lines().any(|line| line == metric)
    }
}

fn program(addresses: Addresses, store: &str, spool: &std::path::Path, acquire: &str) -> Command {
    // Other nodes claim the calls of a killed node after so many seconds.
    let lease = number("NODES_LEASE", 9);
    let mut command = Command::new(process::PROGRAM);
    process::configure(&mut command, spool, acquire);
    command
        .env("BRIDGE__SERVER__LISTEN", addresses.public.to_string())
        .env("BRIDGE__ADMIN__LISTEN", addresses.admin.to_string())
        // Longer than the balancer needs to mark a node as down: `inter` times `fall`.
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

/// A random part of `most`.
pub fn part_of(most: Duration, chance: &mut fastrand::Rng) -> Duration {
    most.mul_f64(chance.f64())
}
