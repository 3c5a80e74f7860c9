//! The Debian package in a Debian that has nothing else: apt installs it from a repository, and the commands
//! that README shows work there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packed::{can_pack, output, package};
use crate::{left_out, root};

/// Commands of an installed package in the order of a first use, each with its exit codes: no Acquire can
/// be reached here, and `doctor` and `status` report that with 1.
const COMMANDS: [(&str, &[i32]); 12] = [
    ("twilio-acquire-bridge --version", &[0]),
    ("twilio-acquire-bridge check", &[0]),
    ("twilio-acquire-bridge callback-url", &[0]),
    ("twilio-acquire-bridge migrate", &[0]),
    ("twilio-acquire-bridge list", &[0]),
    ("twilio-acquire-bridge list --state parked", &[0]),
    ("twilio-acquire-bridge doctor", &[0, 1]),
    ("twilio-acquire-bridge status", &[0, 1]),
    ("twilio-acquire-bridge backup /tmp/copy.db", &[0]),
    ("twilio-acquire-bridge check --store", &[0]),
    ("twilio-acquire-bridge demo --once", &[0]),
    (
        "twilio-acquire-bridge replay --dry-run /usr/share/doc/twilio-acquire-bridge/fixtures/scenarios/transfer",
        &[0],
    ),
];

#[test]
#[ignore = "takes minutes and needs a mirror of Debian: tests/run fresh-root"]
fn apt_installs_the_package_into_a_fresh_debian_and_the_commands_work() {
    let Some(mirror) = mirror() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let fresh = folder.path().join("root");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &mirror.release]);
    if !debootstrap
        .arg(&fresh)
        .arg(&mirror.address)
        .status()
        .is_ok_and(|code| code.success())
    {
        left_out(
            "the package in a fresh Debian (debootstrap cannot make one from the mirror of apt)",
        );
        return;
    }
    let package = given().unwrap_or_else(|| package(folder.path(), "1.0.0"));
    publish(&package, &fresh.join("repository"));
    let list = fresh.join("etc/apt/sources.list.d/bridge.list");
    fs::write(list, "deb [trusted=yes] file:/repository ./\n").expect("room");

    in_root(&fresh, "apt-get --quiet update", &[0]);
    let printed = in_root(
        &fresh,
        "apt-get --quiet --yes install twilio-acquire-bridge man-db bash-completion",
        &[0],
    );
    assert!(printed.contains("is installed, not started"), "{printed}");
    let token = fresh.join("etc/twilio-acquire-bridge/twilio-auth-token");
    fs::write(token, "0123456789abcdef0123456789abcdef\n").expect("room");

    for (command, codes) in COMMANDS {
        in_root(&fresh, command, codes);
    }
    in_root(&fresh, "man --pager=cat twilio-acquire-bridge-list", &[0]);
    let completed = in_root(
        &fresh,
        "bash -c '. /usr/share/bash-completion/bash_completion
            _completion_loader twilio-acquire-bridge
            complete -p twilio-acquire-bridge'",
        &[0],
    );
    assert!(completed.contains("twilio-acquire-bridge"), "{completed}");
    in_root(
        &fresh,
        "apt-get --quiet --yes purge twilio-acquire-bridge",
        &[0],
    );
    assert!(!fresh.join("etc/twilio-acquire-bridge").exists());
}

/// The package that `tests/run fresh-root --package FILE` names.
#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the test, not of the program"
)]
fn given() -> Option<PathBuf> {
    let file = std::env::var_os("FRESH_ROOT_PACKAGE")?;
    Some(root().join(file))
}

/// The mirror that apt of this machine uses.
struct Mirror {
    address: String,
    release: String,
}

/// `None`, with a note on stderr, where no root can be made.
fn mirror() -> Option<Mirror> {
    let missing =
        |what: &str| left_out(&format!("the package in a fresh Debian (it needs {what})"));
    if !output(Command::new("id").arg("--user")).starts_with("0\n") {
        missing("root");
        return None;
    }
    for tool in ["debootstrap", "unshare"] {
        if Command::new(tool).arg("--version").output().is_err() {
            missing(tool);
            return None;
        }
    }
    if !can_pack() {
        return None;
    }
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(CODENAME) $(COMPONENT)",
    ]);
    targets.args(["Created-By: Packages", "Origin: Debian", "Component: main"]);
    let targets = output(&mut targets);
    // Not `bookworm-updates` or `bookworm-security`.
    let mut lines = targets
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let base = lines.find(|words| words.len() == 3 && !words[1].contains('-'));
    if base.is_none() {
        missing("a mirror of Debian in the settings of apt");
    }
    let base = base?;
    Some(Mirror {
        address: base[0].to_owned(),
        release: base[1].to_owned(),
    })
}

/// Makes an apt repository of one package.
fn publish(package: &Path, repository: &Path) {
    fs::create_dir(repository).expect("a folder");
    let open_to_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(repository, open_to_all).expect("a folder of root's");
    fs::copy(package, repository.join("twilio-acquire-bridge.deb")).expect("room");
    let mut scan = Command::new("dpkg-scanpackages");
    let index = output(scan.arg("--multiversion").arg(".").current_dir(repository));
    fs::write(repository.join("Packages"), index).expect("room");
}

/// What a command prints in a process tree, a mount table and an environment of its own.
fn in_root(fresh: &Path, command: &str, codes: &[i32]) -> String {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(format!("--root={}", fresh.display()));
    unshare.args(["--wd=/root", "sh", "-c", &format!("{command} 2>&1")]);
    unshare
        .env_clear()
        .env("HOME", "/root")
        .env("DEBIAN_FRONTEND", "noninteractive");
    unshare.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = unshare.output().expect("unshare runs");
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{command}: {code:?}: {printed}"
    );
    printed
}
