//! HAProxy with the configuration of `deploy/haproxy.cfg`, three nodes, and more frequent checks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::port::Port;
use crate::support::process::Addresses;
use crate::{left_out, until};

/// The names of the nodes in its configuration.
pub const NAMES: [&str; 3] = ["one", "two", "three"];

/// What the balancer does when a node refuses a connection.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// As in the sample: uses another node. No node has received the request yet.
    TryOtherNode,
    /// Fails the request. Shows a node that stops listening before the balancer marks it as down.
    Fail,
}

pub struct Balancer {
    child: Child,
    pub address: SocketAddr,
    socket: PathBuf,
    _folder: TempDir,
    _port: Port,
}

impl Balancer {
    /// `None`, with a message, if HAProxy is not installed.
    pub fn start(port: Port, nodes: [Addresses; 3], refused: Refused) -> Option<Self> {
        let Some(program) = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
            .into_iter()
            .find(|program| Path::new(program).exists())
        else {
            left_out("three nodes behind HAProxy: apt-get install haproxy");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let address = port.address;
        let socket = folder.path().join("haproxy.sock");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(address, nodes, refused, &socket)).expect("written");
        let child = Command::new(program)
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let balancer = Self {
            child,
            address,
            socket,
            _folder: folder,
            _port: port,
        };
        until("HAProxy listens", || TcpStream::connect(address).is_ok());
        Some(balancer)
    }

    /// Waits until it sends requests to this node.
    pub fn wait_until_up(&self, node: usize) {
        let name = NAMES[node];
        until("HAProxy finds a node ready", || self.status(name) == "UP");
    }

    fn status(&self, name: &str) -> String {
        let mut socket = UnixStream::connect(&self.socket).expect("its socket");
        socket.write_all(b"show stat\n").expect("asked");
        let mut table = String::new();
        socket.read_to_string(&mut table).expect("read");
        let mut rows = table.lines().map(|row| row.split(',').collect::<Vec<_>>());
        let head = rows.next().expect("names of columns");
        let column = head.iter().position(|name| *name == "status");
        let row = rows.find(|row| row.starts_with(&["bridges", name]));
        row.expect("the node")[column.expect("a column")].to_owned()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sample without TLS, which `tests/deploy` covers.
fn configuration(
    address: SocketAddr,
    nodes: [Addresses; 3],
    refused: Refused,
    socket: &Path,
) -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/haproxy.cfg");
    let mut text = std::fs::read_to_string(sample).expect("the sample");
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "the sample has {from}");
        text = text.replace(from, to);
    };
    let [one, two, three] = nodes.map(|node| format!("{} port {}", node.public, node.admin.port()));
    replace(
        "global\n",
        &format!("global\n    stats socket {}\n", socket.display()),
    );
    replace(
        "bind :443 ssl crt /etc/haproxy/bridge.pem",
        &format!("bind {address}"),
    );
    // On a busy machine a node that is ready may respond late.
    replace(
        "timeout connect 2s",
        "timeout connect 20s\n    timeout check 20s",
    );
    replace("inter 1s fall 2 rise 2", "inter 200ms fall 2 rise 2");
    replace("10.0.0.11:8080 port 9090", &one);
    replace(
        "10.0.0.12:8080 port 9090",
        &format!("{two}\n    server three {three}"),
    );
    if let Refused::Fail = refused {
        replace("retries 2", "retries 0");
    }
    text
}
