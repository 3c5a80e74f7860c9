//! What the shell and `man` know of the commands: completion scripts and manual pages.

use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory as _;
use twilio_acquire_bridge::cli::Cli;

const PROGRAM: &str = "twilio-acquire-bridge";

#[test]
fn each_completion_script_is_valid_and_has_every_command_and_option() {
    let folder = tempfile::tempdir().expect("a folder");
    for (shell, syntax_check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = printed(&["completions", shell]);
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(script.contains(name), "{shell}: {name}");
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(script.contains(option), "{shell}: {name} --{option}");
            }
        }
        let file = folder.path().join(shell);
        std::fs::write(&file, script).expect("a file");
        // No shell but bash is everywhere.
        if let Ok(checked) = Command::new(shell).arg(syntax_check).arg(&file).output() {
            assert!(checked.status.success(), "{shell}: {checked:?}");
        }
    }
}

#[test]
fn bash_completes_commands_and_options() {
    assert_eq!(completed(&["req"]), ["requeue"]);
    assert_eq!(completed(&["dismiss", "--rea"]), ["--reason"]);
    assert_eq!(completed(&["list", "--no-such"]), [""; 0]);
    assert_eq!(completed(&["completions", "f"]), ["fish"]);
}

#[test]
fn each_command_has_a_manual_page_that_man_can_show() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("share/man1");
    assert_eq!(printed(&["man", "--out", &pages.to_string_lossy()]), "");
    let program = read(&pages.join(format!("{PROGRAM}.1")));
    let mut count = 1;
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let path = pages.join(format!("{PROGRAM}-{name}.1"));
        let page = read(&path);
        let title = format!(
            ".TH {PROGRAM}-{name} 1  \"{PROGRAM} {}\"",
            env!("CARGO_PKG_VERSION")
        );
        assert!(page.contains(&title), "{page}");
        assert_eq!(printed(&["man", name]), page);
        let of_program = format!(r"{PROGRAM}-{name}(1)").replace('-', r"\-");
        assert!(program.contains(&of_program), "{name}: {program}");
        is_shown_without_warnings(&path);
        count += 1;
    }
    assert_eq!(std::fs::read_dir(&pages).expect("a folder").count(), count);
    assert_eq!(printed(&["man"]), program);
}

#[test]
fn a_manual_page_keeps_the_lines_of_its_examples() {
    let page = printed(&["man", "verify"]);
    let (_, notes) = page.split_once(".SH NOTES\n.nf\n").expect("the examples");
    assert!(
        notes.contains("\n  twilio\\-acquire\\-bridge verify refused.http\n"),
        "{notes}"
    );
}

#[test]
fn the_page_of_an_unknown_command_is_a_mistake_of_usage() {
    let output = bridge(&["man", "resend"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: no command \"resend\"; --help lists all\n"
    );
}

fn bridge(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twilio-acquire-bridge"))
        .args(args)
        .env_clear()
        .env("BRIDGE_CONFIG", "/dev/null")
        .output()
        .expect("the program runs")
}

fn printed(args: &[&str]) -> String {
    let output = bridge(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path);
    text.unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// What bash offers when Tab is pressed after these words.
fn completed(words: &[&str]) -> Vec<String> {
    let script = format!(
        r#"
        {}
        COMP_WORDS=({PROGRAM} "$@") COMP_CWORD=$#
        words=$(complete -p {PROGRAM}) && words=${{words##*-F }} && complete_words=${{words%% *}}
        "$complete_words" {PROGRAM} "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
        printf '%s\n' "${{COMPREPLY[@]}}"
        "#,
        printed(&["completions", "bash"])
    );
    let output = Command::new("bash")
        .args(["-c", &script, "bash"])
        .args(words)
        .output()
        .expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let offered = String::from_utf8(output.stdout).expect("text");
    offered.split_whitespace().map(str::to_owned).collect()
}

/// As far as there is a groff, which is what man formats pages with.
fn is_shown_without_warnings(page: &Path) {
    let groff = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-z"])
        .arg(page)
        .output();
    if let Ok(groff) = groff {
        let warnings = String::from_utf8_lossy(&groff.stderr);
        assert!(groff.status.success() && warnings.is_empty(), "{warnings}");
    }
}
