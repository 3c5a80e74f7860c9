//! Each command line of the documentation runs beside a bridge with a delivered, a parked and a refused
//! call.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::harness::Bridge;
use crate::support::pages::{commands, pages, root};
use crate::support::twilio::sid;

/// Commands that run until they are stopped, or that other tests run: `serve`, `sink` and `demo` are
/// servers, and the pages of `debugging` and `reconcile` have tests of their own.
const LEFT_TO_OTHERS: [&str; 4] = ["serve", "sink", "demo", "reconcile"];

#[test]
fn each_command_of_the_pages_runs() {
    let bridge = Bridge::start();
    bridge.twilio.ends(&sid(1), "completed");
    bridge.twilio.ends(&sid(2), "transferred");
    bridge.settles();
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(root().join("fixtures"), folder.path().join("fixtures"))
        .expect("a link");
    let fixture = root().join("fixtures/twilio/inbound-completed.http");
    fs::copy(&fixture, folder.path().join("refused.http")).expect("a copy");
    for name in ["file", "body.txt"] {
        fs::write(folder.path().join(name), "CallSid=CA1").expect("a file");
    }
    fs::write(
        folder.path().join("new.toml"),
        "[calls]\nclient = \"outgoing\"\n",
    )
    .expect("a file");

    let shown: BTreeSet<Vec<String>> = pages()
        .iter()
        // The examples of the help texts need files of their own.
        .filter(|page| page.path != Path::new("docs/commands.md"))
        .flat_map(commands)
        .map(|command| command.arguments)
        .filter(|arguments| !LEFT_TO_OTHERS.contains(&arguments[0].as_str()))
        .collect();
    assert!(shown.len() > 40, "{}", shown.len());
    let public = format!("http://{}", bridge.public());
    let mut wrong = Vec::new();
    for arguments in shown {
        let arguments = arguments
            .iter()
            .map(|word| word.replace("http://127.0.0.1:8080", &public));
        let arguments: Vec<String> = arguments.collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = bridge.command(&words);
        let output = command
            .current_dir(&folder)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        // Without a terminal, a command that asks first does nothing.
        let is_usage = output.status.code() == Some(2) && !said.contains("--yes");
        if is_usage || output.status.code().is_none() {
            wrong.push(format!("{words:?}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
