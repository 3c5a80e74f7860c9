//! A bridge as a service of systemd: the sockets it gets, and its notifications.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use twilio_acquire_bridge::debugging::fake_acquire::{FakeAcquire, Faults, Retain};

use crate::left_out;
use crate::manager::Manager;
use crate::mount::Mount;
use crate::support::process::Serve;
use crate::support::sender::{Call, ask, send};
use crate::synced::has_strace;

/// `WatchdogSec=` of these tests.
const LIMIT: Duration = Duration::from_secs(8);

fn acquire(faults: Faults) -> FakeAcquire {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    FakeAcquire::start(listen, faults, Retain::All).expect("a free port")
}

/// Waits for the end of a command: its exit code and stderr.
fn ends(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), printed)
}

fn watched(mut command: Command) -> Command {
    command.env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
    command
}

#[test]
fn readiness_is_reported_once_both_listeners_answer_and_stopping_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::listens(folder.path());
    let acquire = acquire(Faults::default());
    let database = folder.path().join("bridge.db");
    let mut serve = Serve::spawn(manager.command("public:admin", &database, &acquire.base_url()));
    manager.hears("READY=1");
    let bridge = manager.addresses();
    assert_eq!(ask(bridge.admin, "/readyz").expect("an answer").0, 200);
    assert_eq!(
        send(bridge.public, &Call::new(1, 1)).expect("an answer"),
        204
    );
    assert!(serve.stop().success(), "{:?}", serve.log());
    manager.hears("STOPPING=1");
    assert_eq!(manager.hears_within(Duration::from_millis(1)), None);
}

#[test]
fn sockets_that_cannot_be_distinguished_are_refused_with_advice() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::listens(folder.path());
    let database = folder.path().join("bridge.db");
    for names in ["public", "public:public", "bridge.socket:admin"] {
        let (code, printed) = ends(manager.command(names, &database, "http://127.0.0.1:1"));
        assert_eq!(code, Some(2), "{names}: {printed}");
        assert!(
            printed.contains("LISTEN_FD") || printed.contains("FileDescriptorName"),
            "{printed}"
        );
    }
    assert!(!database.exists(), "no store was created");
}

#[test]
fn a_handed_socket_opens_the_console_to_others_only_with_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::listens_to_all(folder.path());
    let database = folder.path().join("bridge.db");
    let command = || manager.command("public:admin", &database, "http://127.0.0.1:1");
    let (code, printed) = ends(command());
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("admin.token"), "{printed}");

    let mut command = command();
    command.env("BRIDGE__ADMIN__TOKEN", "0123456789abcdef0123456789abcdef");
    let mut serve = Serve::spawn(command);
    manager.hears("READY=1");
    assert!(serve.stop().success());
}

#[test]
fn the_watchdog_is_fed_while_acquire_hangs_and_the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mount) = Mount::tmpfs(&folder.path().join("disk")) else {
        return left_out("the watchdog on a full disk: mounting a tmpfs needs root");
    };
    let manager = Manager::listens(folder.path());
    let database = mount.0.join("bridge.db");
    let acquire = acquire(Faults {
        delay: Duration::from_secs(60),
        ..Faults::default()
    });
    let mut command = watched(manager.command("public:admin", &database, &acquire.base_url()));
    command
        .env("BRIDGE__DELIVERY__CONCURRENCY", "1")
        .env("BRIDGE__DELIVERY__TIMEOUT", "50s")
        .env("BRIDGE__SERVER__STOP_TIMEOUT", "1s");
    let mut serve = Serve::spawn(command);
    manager.hears("READY=1");
    for number in 0..3 {
        let status = send(manager.addresses().public, &Call::new(1, number));
        assert_eq!(status.expect("an answer"), 204);
    }
    mount.fill();
    // Three times as long as a stuck worker is borne.
    for _ in 0..6 {
        let printed = manager.hears_within(LIMIT);
        assert_eq!(
            printed.as_deref(),
            Some("WATCHDOG=1"),
            "{:?}",
            dead(&mut serve)
        );
    }
    let (status, _) = ask(manager.addresses().admin, "/readyz").expect("an answer");
    assert_eq!(status, 503, "the disk is full");
}

#[test]
fn the_watchdog_is_not_fed_by_a_store_that_hangs() {
    if !has_strace() {
        return left_out("the watchdog of a store that hangs: it needs strace");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::listens(folder.path());
    let acquire = acquire(Faults::default());
    let database = folder.path().join("bridge.db");
    let command = manager.command("public:admin", &database, &acquire.base_url());
    let mut serve = Serve::spawn(watched(command));
    manager.hears("READY=1");
    assert_eq!(manager.hears_within(LIMIT).as_deref(), Some("WATCHDOG=1"));
    let mut hang = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-p", &serve.id().to_string()])
        .args(["-e", "inject=fsync,fdatasync:delay_enter=60s"])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace starts");
    let heard = (0..6).take_while(|_| manager.hears_within(LIMIT).is_some());
    let heard = heard.count();
    let _ = hang.kill();
    let _ = hang.wait();
    serve.kill();
    assert!(heard < 6, "it is still fed");
}

fn dead(serve: &mut Serve) -> Vec<String> {
    serve.kill();
    serve.log()
}
