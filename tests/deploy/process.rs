//! The program as `deploy/` starts it, on free ports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_twilio-acquire-bridge");

/// A `serve` that has logged its addresses; killed when dropped.
pub struct Serve {
    child: Child,
    log: BufReader<ChildStderr>,
    pub public: SocketAddr,
    pub admin: SocketAddr,
}

impl Serve {
    pub fn by(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut printed = String::new();
        let (public, admin) = loop {
            let start = printed.len();
            let length = log.read_line(&mut printed).expect("text");
            assert!(length > 0, "it ended at once: {printed}");
            let after = |words: &str| {
                let (_, rest) = printed[start..].split_once(words)?;
                let ends = |c: char| c == ',' || c == '"' || c.is_whitespace();
                rest.split(ends).next()?.parse().ok()
            };
            if let (Some(public), Some(admin)) =
                (after("public listener on "), after("admin listener on "))
            {
                break (public, admin);
            }
        };
        Self {
            child,
            log,
            public,
            admin,
        }
    }

    /// The status of a GET on the admin listener.
    pub fn asked(&self, path: &str) -> u16 {
        let mut stream = TcpStream::connect(self.admin).expect("the bridge listens");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a time limit");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }

    /// Stops it as a service manager would, and returns its address, which is then free. Panics unless
    /// the exit code is 0.
    pub fn stops(mut self) -> SocketAddr {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status();
        assert!(killed.expect("kill runs").success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("text");
        let end = self.child.wait().expect("an end");
        assert!(end.success(), "{end}: {rest}");
        self.admin
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
