//! Simulates systemd: holds the listening sockets, hands them to each bridge it starts, and hears what
//! that sends the notifications.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use socket2::{Domain, Socket, Type};

use crate::support::process::{Addresses, PROGRAM, configure};

/// Far longer than a bridge needs to send a notification.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

pub struct Manager {
    public: TcpListener,
    admin: TcpListener,
    notifications: UnixDatagram,
    notify: PathBuf,
}

impl Manager {
    /// Listens, before any bridge runs.
    pub fn listens(folder: &Path) -> Self {
        let notify = folder.join("notify");
        let notifications = UnixDatagram::bind(&notify).expect("a socket");
        notifications
            .set_read_timeout(Some(WAIT_LIMIT))
            .expect("a time limit");
        Self {
            public: listener([127, 0, 0, 1]),
            admin: listener([127, 0, 0, 1]),
            notifications,
            notify,
        }
    }

    /// As [`Manager::listens`], to operators everywhere.
    pub fn listens_to_all(folder: &Path) -> Self {
        Self {
            admin: listener([0, 0, 0, 0]),
            ..Self::listens(folder)
        }
    }

    pub fn addresses(&self) -> Addresses {
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        Addresses {
            public: address(&self.public),
            admin: address(&self.admin),
        }
    }

    /// A bridge as a service of `Type=notify`, with the sockets under these names.
    pub fn command(&self, names: &str, database: &Path, acquire: &str) -> Command {
        let mut command = Command::new("sh");
        // The process that is to inherit the sockets is named by its id.
        command.args(["-c", r#"LISTEN_PID=$$ exec "$0" serve"#, PROGRAM]);
        configure(&mut command, database, acquire);
        let mapping = |listener: &TcpListener, child_fd| FdMapping {
            parent_fd: listener.try_clone().expect("a descriptor").into(),
            child_fd,
        };
        command
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", names)
            .env("NOTIFY_SOCKET", &self.notify)
            .fd_mappings(vec![mapping(&self.public, 3), mapping(&self.admin, 4)])
            .expect("two numbers");
        command
    }

    /// The next notification; `None` if there is none within `limit`.
    pub fn hears_within(&self, limit: Duration) -> Option<String> {
        self.notifications
            .set_read_timeout(Some(limit))
            .expect("a limit");
        let mut text = [0; 256];
        let length = self.notifications.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).trim().to_owned())
    }

    /// Waits for exactly this notification, and ignores those for the watchdog.
    pub fn hears(&self, expected: &str) {
        loop {
            match self.hears_within(WAIT_LIMIT) {
                Some(text) if text == expected => return,
                Some(text) if text == "WATCHDOG=1" => {}
                other => panic!("{other:?} instead of {expected}"),
            }
        }
    }
}

/// With the backlog that systemd gives.
fn listener(on: [u8; 4]) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let address = SocketAddr::from((on, 0));
    socket.bind(&address.into()).expect("a free port");
    socket.listen(4096).expect("listens");
    socket.into()
}
