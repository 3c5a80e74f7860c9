//! `replay --offline`: through a whole bridge inside the command.

use super::*;

#[test]
fn every_scenario_comes_out_as_expected_through_a_whole_bridge() {
    let folders = std::fs::read_dir("fixtures/scenarios").expect("a folder");
    let folders: Vec<String> = folders
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect();
    assert!(folders.len() >= 40, "{folders:?}");
    // Each waits for its bridge to end rather than works.
    std::thread::scope(|scope| {
        for some in folders.chunks(6) {
            scope.spawn(move || {
                let mut arguments = vec!["--offline", "--json"];
                arguments.extend(some.iter().map(String::as_str));
                let (out, err, code) = replay(&arguments);
                assert_eq!((code, err.as_str()), (0, ""), "{out}");
                let as_expected = out.matches(r#""expected":true"#).count();
                assert_eq!(as_expected, some.len(), "{out}");
            });
        }
    });
}

/// Runs `replay --offline` on a copy of scenarios as if on another machine.
fn offline_elsewhere(
    folder: &std::path::Path,
    variables: &[(&str, &str)],
) -> (String, String, Option<i32>) {
    let place = folder.join("incident");
    for scenario in ["transfer", "recording-never-comes", "child-never-ends"] {
        let from = std::path::Path::new("fixtures/scenarios").join(scenario);
        let to = place.join(scenario);
        std::fs::create_dir_all(&to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let path = entry.expect("an entry").path();
            std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
    // A host name of its own where the kernel lets us have one, as it does in the image of CI.
    let program = env!("CARGO_BIN_EXE_twilio-acquire-bridge");
    let script = "hostname \"$HOSTNAME\" 2>/dev/null; exec \"$0\" \"$@\"";
    let has_unshare = std::process::Command::new("unshare")
        .args(["--uts", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    let mut command = std::process::Command::new(if has_unshare { "unshare" } else { program });
    if has_unshare {
        command.args(["--uts", "sh", "-c", script, program]);
    }
    command
        .args(["replay", "--offline"])
        .arg(&place)
        .current_dir(folder)
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null");
    if let Some(path) = option_env!("PATH") {
        command.env("PATH", path);
    }
    let output = command
        .envs(variables.iter().copied())
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

#[test]
fn an_offline_replay_is_the_same_byte_for_byte_on_another_machine() {
    let (here, there) = (
        tempfile::tempdir().expect("one"),
        tempfile::tempdir().expect("other"),
    );
    let one = offline_elsewhere(
        here.path(),
        &[
            ("TZ", "UTC"),
            ("LC_ALL", "C"),
            ("HOSTNAME", "one"),
            ("HOME", "/"),
        ],
    );
    let other = offline_elsewhere(
        there.path(),
        &[
            ("TZ", "Pacific/Chatham"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("LANG", "tr_TR.UTF-8"),
            ("HOSTNAME", "other"),
            ("TMPDIR", "/var/tmp"),
        ],
    );
    assert_eq!(one, other);
    assert_eq!(one.2, Some(0), "{one:?}");
    assert!(
        one.0.contains("incident/transfer: {\"call-end\""),
        "{one:?}"
    );
}
