//! The content of the Debian package, which `release/package` makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::PROGRAM;
use crate::{left_out, root};

const DOCUMENTS: &str = "usr/share/doc/twilio-acquire-bridge";

#[test]
fn the_package_has_documents_samples_fixtures_licences_pages_and_completions() {
    if !can_pack() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let package = package(folder.path(), "1.0.0");
    let files = folder.path().join("files");
    output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .args([&package, &files]),
    );
    let documents = files.join(DOCUMENTS);

    for kind in ["docs", "deploy", "fixtures"] {
        let listed = output(
            Command::new("git")
                .args(["ls-files", kind])
                .current_dir(root()),
        );
        assert!(!listed.is_empty(), "{kind}");
        for file in listed.lines() {
            let packed = fs::read(documents.join(file));
            let own = fs::read(root().join(file)).expect("a file of the repository");
            assert!(packed.is_ok_and(|packed| packed == own), "{file}");
        }
    }
    for file in [
        "usr/bin/twilio-acquire-bridge",
        "usr/share/man/man1/twilio-acquire-bridge.1.gz",
        "usr/share/man/man1/twilio-acquire-bridge-requeue.1.gz",
        "usr/share/bash-completion/completions/twilio-acquire-bridge",
        "usr/share/zsh/vendor-completions/_twilio-acquire-bridge",
        "usr/share/fish/vendor_completions.d/twilio-acquire-bridge.fish",
        "etc/twilio-acquire-bridge/bridge.toml",
        "lib/systemd/system/twilio-acquire-bridge.service",
    ] {
        assert!(files.join(file).exists(), "{file}");
    }
    for file in [
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        "src/config.default.toml",
    ] {
        assert!(documents.join(file).exists(), "{file}");
    }
    for link in links(&documents.join("README.md")) {
        assert!(documents.join(&link).exists(), "README.md links {link}");
    }
    let licences = fs::read_to_string(documents.join("THIRD-PARTY")).expect("licences");
    let named: BTreeSet<&str> = licences.lines().map(str::trim).collect();
    for name in linked() {
        let is_this = |line: &&str| {
            line.strip_prefix(&*name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
        };
        assert!(
            named.iter().any(is_this),
            "{name} has no licence in THIRD-PARTY"
        );
    }
}

/// Whether the tools are there; otherwise with a note on stderr.
pub fn can_pack() -> bool {
    for tool in ["cargo-deb", "cargo-about", "dpkg-shlibdeps"] {
        if Command::new(tool).arg("--version").output().is_err() {
            left_out(&format!("the Debian package (it needs {tool})"));
            return false;
        }
    }
    true
}

/// The package of this build's program, as if it were of `version`.
pub fn package(folder: &Path, version: &str) -> PathBuf {
    let target = folder.join("target");
    let release = target.join("release");
    fs::create_dir_all(&release).expect("a folder");
    fs::copy(PROGRAM, release.join("twilio-acquire-bridge")).expect("there is room");
    let package = folder.join(format!("{version}.deb"));
    // Another version has the same pages and licences.
    let mut pack = if release.join("THIRD-PARTY").exists() {
        Command::new("cargo-deb")
    } else {
        Command::new(root().join("release/package"))
    };
    // Packing a debug build takes longer than all the rest.
    pack.args(["--no-build", "--offline", "--no-strip", "--fast"])
        .args(["--deb-version", version, "--output"])
        .arg(&package)
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(root());
    output(&mut pack);
    package
}

/// `name 1.2.3` of each crate whose code is in the program.
fn linked() -> Vec<String> {
    let tree = output(
        Command::new(env!("CARGO"))
            .args(["tree", "--frozen", "--edges", "normal", "--prefix", "none"])
            .args(["--format", "{p}"])
            .current_dir(root()),
    );
    let names = tree.lines().filter(|line| !line.contains("(/"));
    let names = names.map(|line| {
        line.split(" (")
            .next()
            .unwrap_or(line)
            .replacen(" v", " ", 1)
    });
    let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 100, "{names:?}");
    names.into_iter().collect()
}

/// The files that a page links.
fn links(page: &Path) -> Vec<String> {
    let page = fs::read_to_string(page).expect("a page");
    let links = page
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
    links.map(str::to_owned).collect()
}

/// Standard output of a command that must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
