//! The pages that are written from the program: settings, commands, exit codes and the routes of the API.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use twilio_acquire_bridge::cli::Cli;

use crate::support::pages::{PROGRAM, root};

#[test]
fn the_page_of_settings_is_the_default_configuration() {
    let settings =
        std::fs::read_to_string(root().join("src/config.default.toml")).expect("settings");
    let page = settings_page(&settings);
    assert!(
        page.contains(
            "\n### server.listen\n\n```toml\nlisten = \"0.0.0.0:8080\"\n```\n\nAddress of"
        )
    );
    assert!(page.contains("\n## [[accounts]]\n"));
    is_current("docs/settings.md", &page);
}

#[test]
fn the_page_of_commands_has_the_help_of_each_command() {
    let mut program = Cli::command().term_width(80);
    program.build();
    let mut page = String::from(
        "# Commands\n\nThis page is generated from the program: `--help` prints the same.\n\n\
         | command | |\n| --- | --- |\n",
    );
    let mut help = String::new();
    for command in program
        .get_subcommands_mut()
        .filter(|command| command.get_name() != "help")
    {
        let name = command.get_name().to_owned();
        let about = command.get_about().expect("a summary").to_string();
        let about = about.replace('<', "&lt;");
        let _ = writeln!(page, "| [`{name}`](#{name}) | {about} |");
        let text = command.render_long_help().to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let _ = write!(
            help,
            "\n## {name}\n\n```text\n{}\n```\n",
            lines.join("\n").trim_end()
        );
    }
    let _ = writeln!(
        page,
        "\n[Exit codes](exit-codes.md) are the same for all commands. [Settings](settings.md) \
         lists the keys of the configuration."
    );
    assert!(help.contains(&format!("Usage: {PROGRAM} serve")), "{help}");
    is_current("docs/commands.md", &(page + &help));
}

#[test]
fn the_page_of_exit_codes_has_those_of_the_program() {
    let help = Cli::command()
        .get_after_help()
        .expect("the codes")
        .to_string();
    let joined = help.replace("\n     ", " ");
    let codes = joined
        .lines()
        .filter_map(|line| line.trim_start().split_once("  "));
    let rows = codes.map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    has_table(
        "docs/exit-codes.md",
        "| code | meaning |",
        &rows.collect::<String>(),
    );
}

#[test]
fn the_page_of_the_api_has_each_route() {
    let text = std::fs::read_to_string(root().join("docs/openapi.json")).expect("the description");
    let description: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut rows = String::new();
    for (path, methods) in description["paths"].as_object().expect("the paths") {
        for (method, route) in methods.as_object().expect("the methods") {
            if let Some(summary) = route["summary"].as_str() {
                let _ = writeln!(rows, "| `{} {path}` | {summary} |", method.to_uppercase());
            }
        }
    }
    has_table("docs/api.md", "| route | answer |", &rows);
}

/// The page has these rows below the header of its table.
fn has_table(path: &str, header: &str, rows: &str) {
    let page = std::fs::read_to_string(root().join(path)).expect("the page");
    let header = format!("{header}\n| --- | --- |\n");
    let (head, table) = page.split_once(&header).expect("a table");
    let rest = table.find("\n\n").map_or("", |end| &table[end + 1..]);
    is_current(path, &format!("{head}{header}{rows}{rest}"));
}

/// Compares a page with its text, or with `UPDATE_PAGES` writes it.
fn is_current(path: &str, expected: &str) {
    let file = root().join(path);
    #[expect(clippy::disallowed_methods, reason = "a switch of these tests alone")]
    if std::env::var("UPDATE_PAGES").is_ok() {
        std::fs::write(&file, expected).expect("the page");
        return;
    }
    let page = std::fs::read_to_string(&file).expect("the page");
    assert!(
        page == expected,
        "{path} is old: run `UPDATE_PAGES=1 cargo test --test it docs`"
    );
}

/// The configuration file as a page: a heading for each section and key, then the value and the comment.
fn settings_page(settings: &str) -> String {
    let mut page =
        String::from("# Settings\n\nThis page is generated from `src/config.default.toml`.\n");
    let mut section = String::new();
    let (mut comment, mut keys): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in settings.lines().chain([""]) {
        let plain = line.strip_prefix("# ").unwrap_or(line);
        if is_key(line) {
            keys.push(line);
            continue;
        }
        if !keys.is_empty() {
            let names = keys.iter().map(|key| {
                let name = key
                    .trim_start_matches("# ")
                    .split(' ')
                    .next()
                    .unwrap_or_default();
                format!("{section}.{name}")
            });
            let names: Vec<String> = names.collect();
            let _ = write!(
                page,
                "\n### {}\n\n```toml\n{}\n```\n",
                names.join(", "),
                keys.join("\n")
            );
            page.push_str(&prose(&comment));
            (comment, keys) = (Vec::new(), Vec::new());
        }
        if plain.starts_with('[') && plain.ends_with(']') {
            plain.trim_matches(['[', ']']).clone_into(&mut section);
            let _ = write!(page, "\n## {plain}\n{}", prose(&comment));
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
        } else if section.is_empty() {
            page.push_str(&prose(&comment));
            comment.clear();
        }
    }
    page
}

/// Whether a line sets a key, or shows one that has no default (after `# `).
fn is_key(line: &str) -> bool {
    let line = line.strip_prefix("# ").unwrap_or(line);
    let name = line.split_once(" = ").map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// A comment as Markdown: indented lines become a block.
fn prose(comment: &[&str]) -> String {
    let mut text = String::new();
    for lines in comment.chunk_by(|one, other| one.starts_with("  ") == other.starts_with("  ")) {
        if lines.first().is_some_and(|line| line.starts_with("  ")) {
            let _ = write!(text, "\n```text\n{}\n```\n", lines.join("\n"));
        } else {
            let escaped = lines.join("\n").replace('*', "\\*").replace('<', "&lt;");
            let _ = writeln!(text, "\n{}", escaped.trim());
        }
    }
    text
}
