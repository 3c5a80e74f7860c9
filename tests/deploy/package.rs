//! The Debian package on this machine: installed, started, upgraded, rolled back, removed, and nothing left of it.
//!
//! Where systemd is not running, its part is played here: the service's own command line, as its own
//! user, in its own folder.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::packed::{can_pack, package};
use crate::process::Serve;
use crate::{left_out, root};

const NAME: &str = "twilio-acquire-bridge";
const ETC: &str = "/etc/twilio-acquire-bridge";
const CONFIG: &str = "/etc/twilio-acquire-bridge/bridge.toml";
const TOKEN: &str = "/etc/twilio-acquire-bridge/twilio-auth-token";
const STORE: &str = "/var/lib/twilio-acquire-bridge";
const UNIT: &str = "/lib/systemd/system/twilio-acquire-bridge.service";
const MADE_UP_TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_package_is_installed_started_upgraded_rolled_back_and_removed() {
    let Some(machine) = Machine::free() else {
        return;
    };
    let printed = dpkg(&["--install", &machine.package("1.0.0")]);
    assert!(printed.contains("is installed, not started"), "{printed}");
    assert_eq!(said("getent", &["passwd", NAME]).status.code(), Some(0));
    let store = fs::metadata(STORE).expect("the folder is made");
    assert_eq!(store.permissions().mode() & 0o777, 0o700);
    assert_eq!(store.uid(), user());
    let enabled =
        Path::new("/etc/systemd/system/sockets.target.wants").join("twilio-acquire-bridge.socket");
    assert!(
        fs::symlink_metadata(enabled).is_err(),
        "nothing starts without a token"
    );

    let (code, printed) = runs(as_its_user(), &["doctor", "--offline", "--json"]);
    assert_eq!(code, 1, "{printed}");
    let lacks_token = "twilio-auth-token\\\" cannot be read: No such file";
    assert!(printed.contains(lacks_token), "{printed}");
    set_up();
    let bridge = Machine::starts();
    assert_eq!(bridge.asked("/readyz"), 200);
    accepts(&bridge, "inbound-completed.http");
    assert_eq!(stored_calls(), 1);

    commands_work();

    let own = fs::read_to_string(CONFIG).expect("the configuration");
    let bridge = machine.changes_to("1.0.1", bridge);
    assert_eq!(fs::read_to_string(CONFIG).expect("the configuration"), own);
    assert_eq!(stored_calls(), 1, "after the upgrade");
    accepts(&bridge, "outbound-api-busy.http");
    assert_eq!(stored_calls(), 2);

    let bridge = machine.changes_to("1.0.0", bridge);
    assert_eq!(fs::read_to_string(CONFIG).expect("the configuration"), own);
    assert_eq!(stored_calls(), 2, "after the rollback");
    accepts(&bridge, "outbound-api-completed.http");
    assert_eq!(stored_calls(), 3);
    bridge.stops();
    commands_work();

    dpkg(&["--remove", NAME]);
    assert!(!Path::new("/usr/bin").join(NAME).exists());
    assert!(Path::new(CONFIG).exists() && Path::new(STORE).join("bridge.db").exists());
    let printed = dpkg(&["--purge", NAME]);
    assert!(!Path::new(ETC).exists(), "the secrets are gone");
    assert!(
        Path::new(STORE).join("bridge.db").exists(),
        "the calls are not"
    );
    assert!(
        printed.contains("the calls in /var/lib/twilio-acquire-bridge are left"),
        "{printed}"
    );
}

/// This machine, while the package is tried on it; afterwards as it was.
struct Machine {
    folder: tempfile::TempDir,
    /// One such test at a time.
    _lock: File,
}

impl Machine {
    /// `None`, with a note on stderr, where the package cannot be tried or something of it is there already.
    fn free() -> Option<Self> {
        if !said("id", &["--user"]).stdout.starts_with(b"0\n") {
            left_out("the Debian package, which only root can install");
            return None;
        }
        for tool in ["setpriv", "deb-systemd-helper", "systemd-sysusers"] {
            if Command::new(tool).arg("--version").output().is_err() {
                left_out(&format!("the Debian package (it needs {tool})"));
                return None;
            }
        }
        if !can_pack() {
            return None;
        }
        let lock = File::create(std::env::temp_dir().join("twilio-acquire-bridge-package.lock"));
        let lock = lock.expect("a file");
        lock.lock().expect("a lock");
        let taken = [ETC, STORE, UNIT]
            .map(Path::new)
            .iter()
            .any(|path| path.exists());
        if taken || said("getent", &["passwd", NAME]).status.success() {
            left_out("the Debian package: this machine has a bridge already");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let open_to_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open_to_all).expect("a folder of root's");
        Some(Self {
            folder,
            _lock: lock,
        })
    }

    fn package(&self, version: &str) -> String {
        package(self.folder.path(), version).display().to_string()
    }

    /// Installs another version while `bridge` runs, and restarts the service as systemd would.
    fn changes_to(&self, version: &str, bridge: Serve) -> Serve {
        dpkg(&["--install", &self.package(version)]);
        let installed = said("dpkg-query", &["--show", "--showformat=${Version}", NAME]);
        assert_eq!(String::from_utf8_lossy(&installed.stdout), version);
        assert_eq!(bridge.asked("/readyz"), 200, "dpkg stops nothing by itself");
        bridge.stops();
        let bridge = Self::starts();
        assert_eq!(bridge.asked("/readyz"), 200);
        bridge
    }

    /// The service, as its unit says.
    fn starts() -> Serve {
        let unit = fs::read_to_string(UNIT).expect("the unit");
        let values = |key: &str| -> Vec<String> {
            let lines = unit.lines().filter_map(|line| line.strip_prefix(key));
            lines.map(str::to_owned).collect()
        };
        let [start] = &values("ExecStart=")[..] else {
            panic!("one command line in: {unit}");
        };
        let mut command = as_its_user();
        command.args(start.split(' '));
        let folder = values("WorkingDirectory=")[0].replace("%S", "/var/lib");
        command.current_dir(folder);
        assert_eq!(
            values("Environment="),
            [""; 0],
            "commands would not have it"
        );
        Serve::by(&mut command)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        dpkg(&["--purge", NAME]);
        let _ = fs::remove_dir_all(STORE);
        for remove in ["userdel", "groupdel"] {
            let _ = Command::new(remove).arg(NAME).output();
        }
    }
}

/// As the package requests after its installation; on free ports, and without an Acquire.
fn set_up() {
    let sample = fs::read_to_string(CONFIG).expect("the configuration");
    let own = sample
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        // Commands ask a running bridge at this address, so the port is known before it starts.
        .replace("127.0.0.1:9090", &free_address())
        .replace("[acquire]", "[acquire]\nbase_url = \"http://127.0.0.1:9\"");
    assert_ne!(own, sample);
    fs::write(CONFIG, own).expect("root writes it");
    fs::write(TOKEN, MADE_UP_TOKEN).expect("root writes it");
    fs::set_permissions(TOKEN, fs::Permissions::from_mode(0o640)).expect("root owns it");
    std::os::unix::fs::chown(TOKEN, None, Some(group())).expect("root may");
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    address.to_string()
}

fn user() -> u32 {
    let output = said("id", &["--user", NAME]);
    let id = String::from_utf8_lossy(&output.stdout);
    id.trim().parse().expect("a number")
}

fn group() -> u32 {
    fs::metadata(STORE).expect("the folder is made").gid()
}

fn as_its_user() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={NAME}"),
        &format!("--regid={NAME}"),
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]);
    command.env_clear();
    command
}

/// Played by the installed program itself.
fn accepts(bridge: &Serve, fixture: &str) {
    let output = Command::new("/usr/bin/twilio-acquire-bridge")
        .arg("replay")
        .arg(root().join("fixtures/twilio").join(fixture))
        .args(["--to", &format!("http://{}", bridge.public)])
        .args(["--public-url", "https://bridge.example.com"])
        .env_clear()
        .env("TWILIO_AUTH_TOKEN", MADE_UP_TOKEN)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
}

fn stored_calls() -> usize {
    let (code, listed) = runs(as_its_user(), &["list"]);
    assert_eq!(code, 0, "{listed}");
    listed.lines().filter(|line| line.contains("CA")).count()
}

/// The exit code of an installed command and what it prints, from the root folder and without settings.
fn runs(mut user: Command, arguments: &[&str]) -> (i32, String) {
    let output = user
        .arg("/usr/bin/twilio-acquire-bridge")
        .args(arguments)
        .current_dir("/")
        .output()
        .expect("the program runs");
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.code().expect("no signal"), printed)
}

/// Each command that uses the store finds the configuration and the store, whoever runs it.
fn commands_work() {
    let call = "CA00000000000000000000000000000001";
    let folder = tempfile::tempdir().expect("a folder");
    let open_to_all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), open_to_all).expect("a folder of root's");
    let root: fn() -> Command = || {
        let mut command = Command::new("env");
        command.arg("--ignore-environment");
        command
    };
    for (name, user) in [("root", root), (NAME, as_its_user as fn() -> Command)] {
        let copy = folder.path().join(format!("{name}.db"));
        let copy = copy.display().to_string();
        let fixtures = folder.path().join(name).display().to_string();
        for (arguments, expected) in [
            (&["list"][..], call),
            (&["show", call], call),
            (&["report"], " received"),
            (&["requeue", call, "--reason", "a test"], "requeued"),
            (&["audit"], "requeue"),
            (&["backup", &copy], "copied"),
            (&["export", call, "--out", &fixtures], call),
            (&["replan", "--since", "1d"], "0 of"),
            (&["check"], "twilio.auth_tokens_file"),
            (&["check", "--store"], "is intact"),
        ] {
            let (code, printed) = runs(user(), arguments);
            assert_eq!(code, 0, "{name}: {arguments:?}: {printed}");
            assert!(
                printed.contains(expected),
                "{name}: {arguments:?}: {printed}"
            );
        }
        // Acquire and Twilio are not reachable here, so there are problems.
        for arguments in [&["doctor", "--offline"][..], &["status"]] {
            let (code, printed) = runs(user(), arguments);
            assert!((0..=1).contains(&code), "{name}: {arguments:?}: {printed}");
            assert!(
                !printed.contains("error:"),
                "{name}: {arguments:?}: {printed}"
            );
            assert!(
                !printed.contains("cannot be read"),
                "{name}: {arguments:?}: {printed}"
            );
        }
    }
}

/// What dpkg says; waits for others that install something.
fn dpkg(arguments: &[&str]) -> String {
    for _ in 0..120 {
        let output = Command::new("dpkg")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(std::process::Stdio::null())
            .output()
            .expect("dpkg runs");
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        if output.status.success() {
            return printed;
        }
        assert!(printed.contains("lock"), "{printed}");
        std::thread::park_timeout(Duration::from_secs(1));
    }
    panic!("another dpkg is at work for two minutes");
}

fn said(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.expect("a tool of every Debian")
}
