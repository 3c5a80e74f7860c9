//! The faults of a soak: how Acquire fails, and what happens to the bridge.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use twilio_acquire_bridge::debugging::fake_acquire::{Faults, Reply, Share};

use super::Soak;
use crate::pause;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AcquireFault {
    None,
    Fails500,
    Fails503,
    TooMany,
    Refuses422,
    Resets,
    Slow,
    Silent,
    Down,
}

impl AcquireFault {
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::Fails500,
        Self::Fails503,
        Self::TooMany,
        Self::Refuses422,
        Self::Resets,
        Self::Slow,
        Self::Silent,
        Self::Down,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "Acquire healthy",
            Self::Fails500 => "500 for a third",
            Self::Fails503 => "503 for all",
            Self::TooMany => "429 for a third",
            Self::Refuses422 => "422 for one in 200",
            Self::Resets => "resets for a tenth",
            Self::Slow => "Acquire slow",
            Self::Silent => "Acquire silent",
            Self::Down => "Acquire down",
        }
    }

    /// How it answers; `None` if it does not listen.
    pub fn faults(self) -> Option<Faults> {
        let share = |reply, part| Faults {
            shares: vec![Share { reply, part }],
            ..Faults::default()
        };
        let late = |delay| Faults {
            delay,
            ..Faults::default()
        };
        let retry_after = "1".to_owned();
        Some(match self {
            Self::None => Faults::default(),
            Self::Fails500 => share(Reply::Status(500), 0.33),
            Self::Fails503 => share(Reply::Status(503), 1.0),
            Self::TooMany => share(Reply::TooMany { retry_after }, 0.33),
            Self::Refuses422 => share(Reply::Status(422), 0.005),
            Self::Resets => share(Reply::Reset, 0.1),
            Self::Slow => late(Duration::from_millis(500)),
            // Longer than `delivery.timeout`.
            Self::Silent => late(Duration::from_secs(4)),
            Self::Down => return None,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BridgeFault {
    None,
    Kill,
    DiskFull,
    Reload,
    ClockJump,
    PinnedLog,
    SlowClients,
}

impl BridgeFault {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Kill,
        Self::DiskFull,
        Self::Reload,
        Self::ClockJump,
        Self::PinnedLog,
        Self::SlowClients,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "bridge left alone",
            Self::Kill => "kill -9",
            Self::DiskFull => "disk full",
            Self::Reload => "reloads",
            Self::ClockJump => "clock jump",
            Self::PinnedLog => "a reader of the database",
            Self::SlowClients => "slow clients",
        }
    }
}

/// Jumps of the wall clock, in seconds. Calls that are received while it is an hour ahead are kept for an hour
/// longer.
const JUMPS: [i64; 4] = [60, -60, 3_600, -3_600];

impl Soak {
    /// Begins a fault of the bridge, and ends it after its time.
    pub fn suffers(&mut self, fault: BridgeFault) {
        let time = self.plan.fault();
        match fault {
            BridgeFault::None => pause(time),
            BridgeFault::Kill => {
                pause(time / 3);
                self.is_killed_and_restarts();
                pause(time / 3);
                self.is_killed_and_restarts();
                pause(time / 3);
            }
            BridgeFault::DiskFull => {
                let filler = self.disk.as_ref().map(crate::mount::Mount::fill);
                pause(time);
                if let Some(filler) = filler {
                    std::fs::remove_file(filler).expect("removed");
                }
            }
            BridgeFault::Reload => self.reloads(time),
            BridgeFault::ClockJump => {
                let jump = JUMPS[self.turns[fault.name()] % JUMPS.len()];
                turn_clock(self.folder.path(), jump);
                pause(time);
                turn_clock(self.folder.path(), 0);
            }
            BridgeFault::PinnedLog => {
                let reader =
                    Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY);
                let reader = reader.expect("a database");
                reader.execute_batch("BEGIN").expect("a transaction");
                let calls = reader.query_row("SELECT count(*) FROM call", [], |row| row.get(0));
                let _: i64 = calls.expect("readable");
                pause(time);
            }
            BridgeFault::SlowClients => {
                let bridge = self.bridge.addresses().expect("it serves");
                are_slow(bridge.public, bridge.admin, time);
            }
        }
    }

    /// Another concurrency, then a file with a mistake, then the first again.
    fn reloads(&mut self, time: Duration) {
        let file = self.folder.path().join("bridge.toml");
        for concurrency in [8, 0, 32] {
            write_config(&file, concurrency);
            let id = self.serve.id().to_string();
            let status = Command::new("kill").args(["-HUP", &id]).status();
            assert!(status.expect("kill runs").success());
            if concurrency == 0 {
                self.broken_reloads += 1;
            } else {
                self.reloads += 1;
            }
            pause(time / 3);
        }
    }
}

/// 0 is a mistake.
pub fn write_config(file: &Path, concurrency: u32) {
    let text = format!("[delivery]\nconcurrency = {concurrency}\n");
    std::fs::write(file, text).expect("a file");
}

/// Clients that send and read a few bytes a second.
fn are_slow(public: SocketAddr, admin: SocketAddr, time: Duration) {
    let until = Instant::now() + time;
    let connect = |to, head: &[u8]| {
        let mut stream = TcpStream::connect(to).expect("it listens");
        stream.write_all(head).expect("it is open");
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .expect("a socket");
        stream
    };
    let head = b"POST /twilio/voice/status HTTP/1.1\r\nHost: bridge.example.com\r\nX-Slow: ";
    let mut writers: Vec<_> = (0..200).map(|_| connect(public, head)).collect();
    let page = b"GET /api/calls?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut readers: Vec<_> = (0..20).map(|_| connect(admin, page)).collect();
    while Instant::now() < until {
        for stream in &mut writers {
            // It may be closed.
            let _ = stream.write_all(b"a");
        }
        for stream in &mut readers {
            let _ = stream.read(&mut [0]);
        }
        pause(Duration::from_millis(200));
    }
}

/// The library that gives a program another time, where it is installed.
pub fn clock_library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let library = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    folders.map(library).find(|path| path.exists())
}

/// Has a program take its wall clock from a file in `folder`.
pub fn fake_clock(command: &mut Command, folder: &Path) {
    if let Some(library) = clock_library() {
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", folder.join("clock"))
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }
}

/// Sets the wall clock of the bridge so many seconds ahead of the right time.
pub fn turn_clock(folder: &Path, by: i64) {
    // Renamed, so that it is never read in part.
    let new = folder.join("clock.new");
    std::fs::write(&new, format!("{by:+}\n")).expect("a file");
    std::fs::rename(new, folder.join("clock")).expect("renamed");
}
