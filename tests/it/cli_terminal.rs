//! Colours and progress on a terminal, and output whose reader has gone.

use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_twilio-acquire-bridge");

/// The output on a terminal of 80 columns, which `script` makes.
fn on_a_terminal(command: &str, settings: &[(&str, &str)]) -> String {
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("stty cols 80 rows 24; exec {PROGRAM} {command}"))
        .arg("/dev/null")
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("script is a part of every Debian");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn only_a_terminal_gets_colours_and_no_color_and_dumb_ones_get_none() {
    const COLOUR: &str = "\u{1b}[31m";
    let doctor = "doctor --offline";
    assert!(on_a_terminal(doctor, &[]).contains(COLOUR));
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let printed = on_a_terminal(doctor, &[plain]);
        assert!(printed.contains("PROBLEM"), "{printed}");
        assert!(!printed.contains('\u{1b}'), "{plain:?}: {printed}");
    }
    let mut piped = Command::new(PROGRAM);
    let output = piped
        .args(["doctor", "--offline"])
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .output();
    let printed = String::from_utf8(output.expect("it runs").stdout).expect("text");
    assert!(
        printed.contains("PROBLEM") && !printed.contains('\u{1b}'),
        "{printed}"
    );
}

#[test]
fn no_help_is_wider_than_80_columns_on_a_terminal() {
    for command in ["--help", "replay --help", "list --help"] {
        let printed = on_a_terminal(command, &[("NO_COLOR", "1")]);
        let wide = printed
            .lines()
            .find(|line| line.trim_end().chars().count() > 80);
        assert_eq!(wide, None, "{command}");
    }
}

/// Runs with a pipe that has no reader.
fn without_reader(arguments: &[&str], is_closed: [bool; 2]) -> (Option<i32>, String) {
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let mut command = Command::new(PROGRAM);
    command
        .args(arguments)
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null");
    command.stdout(if is_closed[0] {
        closed()
    } else {
        Stdio::null()
    });
    command.stderr(if is_closed[1] {
        closed()
    } else {
        Stdio::piped()
    });
    let output = command.spawn().expect("it starts").wait_with_output();
    let output = output.expect("it ends");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [
        &["check", "--schema"][..],
        &["completions", "bash"],
        &["man"],
        &["replay", "fixtures/twilio", "--dry-run"],
        &["--help"],
    ] {
        let ended = without_reader(arguments, [true, false]);
        assert_eq!(ended, (Some(0), String::new()), "{arguments:?}");
    }
    // The errors of a wrong configuration and of doctor's findings have no reader.
    assert_eq!(without_reader(&["check"], [false, true]).0, Some(2));
    assert_eq!(without_reader(&["show", "CA1"], [false, true]).0, Some(2));
    assert_eq!(
        without_reader(
            &["export", "--since", "1d", "--out", "/tmp/x"],
            [true, true]
        )
        .0,
        Some(1)
    );
}
