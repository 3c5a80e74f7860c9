//! The units of `deploy/systemd`, checked by systemd's own tools.

use std::process::{Command, Output};

use crate::{deploy, left_out, text};

const SERVICE: &str = "twilio-acquire-bridge.service";
const UNITS: [&str; 3] = [
    SERVICE,
    "twilio-acquire-bridge.socket",
    "twilio-acquire-bridge-admin.socket",
];

/// The units in a folder, with the program of this build as what they start.
fn units() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in UNITS {
        let program = concat!(
            "=",
            env!("CARGO_BIN_EXE_twilio-acquire-bridge"),
            " serve --config "
        );
        let unit_text = text(&format!("systemd/{unit}"));
        let unit_text = unit_text.replace("=twilio-acquire-bridge serve --config ", program);
        std::fs::write(folder.path().join(unit), unit_text).expect("written");
    }
    folder
}

/// The output of a tool of systemd; `None`, with a note on stderr, where it is not installed.
fn runs(command: &mut Command) -> Option<Output> {
    let output = command.output();
    if output.is_err() {
        let name = command.get_program().display();
        left_out(&format!("{name} is not installed"));
    }
    output.ok()
}

fn assert_content(output: &Output) {
    let printed = [&output.stdout[..], &output.stderr[..]].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{printed}");
    assert!(output.stderr.is_empty(), "{printed}");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = units();
    let files = UNITS.map(|unit| folder.path().join(unit));
    let mut verify = Command::new("systemd-analyze");
    if let Some(output) = runs(verify.args(["verify", "--man=no"]).args(files)) {
        assert_content(&output);
    }
}

#[test]
fn the_service_is_exposed_at_most_2_0_of_10() {
    let folder = units();
    let mut security = Command::new("systemd-analyze");
    security
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(folder.path().join(SERVICE));
    if let Some(output) = runs(&mut security) {
        assert_content(&output);
    }
}

#[test]
fn the_user_and_the_folders_can_be_made() {
    let root = tempfile::tempdir().expect("a folder");
    let place = |tool: &str| {
        let mut command = Command::new(tool);
        command.arg(format!("--root={}", root.path().display()));
        command
    };
    std::fs::create_dir(root.path().join("etc")).expect("a folder");
    let systemd = deploy().join("systemd");
    let mut users = place("systemd-sysusers");
    let Some(output) = runs(users.arg(systemd.join("sysusers.conf"))) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let users = std::fs::read_to_string(root.path().join("etc/passwd")).expect("users");
    assert!(users.contains("twilio-acquire-bridge"), "{users}");
    let mut folders = place("systemd-tmpfiles");
    folders.arg("--create").arg(systemd.join("tmpfiles.conf"));
    let Some(output) = runs(&mut folders) else {
        return;
    };
    let made = root.path().join("var/lib/twilio-acquire-bridge");
    assert!(made.is_dir(), "{output:?}");
}

#[test]
fn the_sockets_are_named_and_placed_as_the_bridge_expects() {
    let sample = text("bridge.toml");
    for (unit, name) in [(UNITS[1], "public"), (UNITS[2], "admin")] {
        let unit = text(&format!("systemd/{unit}"));
        let value = |key: &str| {
            let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key));
            lines.next().expect("the key is there")
        };
        assert_eq!(value("FileDescriptorName="), name);
        let listen = format!("listen = \"{}\"", value("ListenStream="));
        assert!(sample.contains(&listen), "{listen}");
    }
}
