//! The examples of the help texts, pasted into a shell beside a bridge.

use std::path::Path;

use twilio_acquire_bridge::debugging::fake_acquire::Reply;

use crate::support::harness::Bridge;
use crate::support::twilio::sid;

/// Commands that run until they are stopped, or that need more than a test has: root, Twilio's API, a
/// shell's own folders, or a store without a bridge.
const NOT_RUN: [&str; 5] = ["serve", "sink", "reconcile", "man", "migrate"];

/// Each example of a help text as one line of a shell, after the `export` lines before it.
fn examples(help: &str) -> Vec<String> {
    let start = help.lines().skip_while(|line| !line.starts_with("Example"));
    let lines = start.skip(1).take_while(|line| !line.is_empty());
    let text = lines.map(str::trim_end).collect::<Vec<_>>().join("\n");
    let joined = text.replace("\\\n", " ").replace("|\n", "| ");
    let mut exports = String::new();
    let mut examples = Vec::new();
    for line in joined.lines() {
        match line.trim() {
            export if export.starts_with("export ") => exports = format!("{exports}{export}\n"),
            example => examples.push(format!("{exports}{example}")),
        }
    }
    examples
}

#[test]
fn each_example_that_needs_no_network_runs_as_it_is_printed() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.settles();
    bridge.acquire_replies(Reply::Status(422));
    bridge.twilio.ends(&sid(2), "completed");
    bridge.settles();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::os::unix::fs::symlink(
        std::fs::canonicalize("fixtures").expect("it"),
        path.join("fixtures"),
    )
    .expect("a link");
    // The files that examples read.
    for (name, text) in [
        ("body.txt", "CallSid=CA00000000000000000000000000000001"),
        (
            "capture.txt",
            "POST /twilio/voice/status HTTP/1.1\nHost: bridge.example.com\n\nCallSid=CA1\n",
        ),
        (
            "refused.http",
            "POST https://bridge.example.com/twilio/voice/status HTTP/1.1\n",
        ),
        ("new.toml", ""),
    ] {
        std::fs::write(path.join(name), text).expect("a file");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"));
    let programs = program.parent().expect("a folder").display().to_string();
    let listed = bridge.runs(&["--help"]).out;
    let names = listed
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help");
    let mut run = 0;
    for name in names.filter(|name| !NOT_RUN.contains(name)) {
        for example in examples(&bridge.runs(&[name, "--help"]).out) {
            if ["sudo ", "--to ", "/etc/", "/usr/", "fish"]
                .iter()
                .any(|part| example.contains(part))
            {
                continue;
            }
            // An export writes into no folder that is there.
            if let Some((_, made)) = example.split_once(" --out ") {
                let _ = std::fs::remove_dir_all(path.join(made));
            }
            let script = example.replace("/var/backups", &path.display().to_string());
            let mut command = bridge.command(&[]);
            let settings: Vec<_> = command
                .get_envs()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect();
            command = std::process::Command::new("sh");
            let output = command
                .args(["-c", &script])
                .env_clear()
                .envs(settings)
                .env("PATH", format!("{programs}:/usr/bin:/bin"))
                .current_dir(path)
                .output()
                .expect("a shell");
            let printed = [&output.stdout[..], &output.stderr[..]].concat();
            let printed = String::from_utf8_lossy(&printed);
            let code = output.status.code();
            // 1: a problem was found, as `verify` and `doctor` do; 3: nothing of this name is in the store.
            let is_good = matches!(code, Some(0 | 3))
                || code == Some(1) && !printed.contains("error:")
                || printed.contains("pass --yes")
                || printed.contains("no refused request");
            assert!(is_good, "{name}: {script}: {code:?}: {printed}");
            run += 1;
        }
    }
    assert!(run > 25, "{run} examples");
}
