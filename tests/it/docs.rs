//! The documentation: README.md is short and shows promises that the tests check, every link leads to
//! something, every page is part of the book, and every command line is a valid one.
//!
//! `UPDATE_PAGES=1 cargo test --test it docs` rewrites the pages that come from the program.

mod generated;
mod links;

use std::path::Path;

use clap::Parser as _;
use twilio_acquire_bridge::cli::Cli;

use super::support::pages::{self, PROGRAM, root};

/// Words that readers outside the project do not know in the sense in which it used them.
const FORBIDDEN: [&str; 18] = [
    "told",
    "tell",
    "tells",
    "owed",
    "owes",
    "mend",
    "mended",
    "telephone",
    "telephones",
    "door",
    "doors",
    "nobody",
    "somebody",
    "whoever",
    "hasten",
    "stand-in",
    "throw-away",
    "at rest",
];

/// Sentences of the contract that have such a word, and the words of the page for contributors.
const ALLOWED: [&str; 6] = [
    "(not telephone)",
    "never told",
    "(not tell)",
    "(not owed)",
    "(not people, somebody, nobody)",
    "not at rest",
];

#[test]
fn the_readme_has_at_most_900_words_and_the_architecture_1500() {
    for (page, limit) in [("README.md", 900), ("docs/architecture.md", 1_500)] {
        let count = read(page).split_whitespace().count();
        assert!(count <= limit, "{page}: {count} words");
    }
}

#[test]
fn the_readme_names_the_oldest_rust_that_builds_the_program() {
    let oldest = concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"), " or newer");
    assert!(read("README.md").contains(oldest), "{oldest}");
}

#[test]
fn each_promise_names_tests_that_exist_and_the_readme_has_five_of_them() {
    let page = read("docs/promises.md");
    let (promises, _) = page.split_once("## Not promised").expect("their end");
    let tests = sources();
    let rows: Vec<&str> = promises
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .skip(2)
        .collect();
    assert!(rows.len() > 30, "the table has rows");
    for row in &rows {
        let (_, names) = row.rsplit_once(" | ").expect("two cells");
        names_tests(row, names, &tests);
    }
    let readme = read("README.md");
    let (_, section) = readme.split_once("## Five promises").expect("the promises");
    let numbered = section.lines().skip(2).take_while(|line| !line.is_empty());
    let five: Vec<&str> = numbered
        .map(|line| line.split_once(". ").expect("a number").1)
        .collect();
    assert_eq!(five.len(), 5);
    for promise in five {
        let is_in_table = rows.iter().any(|row| row.starts_with(promise));
        assert!(is_in_table, "docs/promises.md has no row: {promise}");
    }
}

#[test]
fn each_answer_of_acquire_names_a_test_that_exists() {
    let text = read("docs/reliability.md");
    let (_, table) = text.split_once("| outcome |").expect("the table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let tests = sources();
    let rows: Vec<&str> = table.lines().filter(|row| row.starts_with("| ")).collect();
    assert!(rows.len() > 15, "the table has rows");
    for row in rows.iter().skip(1) {
        let last = row.rsplit(" | ").next().expect("a cell");
        if !last.contains("as above") {
            names_tests(row, last, &tests);
        }
    }
}

#[test]
fn each_test_that_a_page_names_exists() {
    let tests = sources();
    let (mut count, mut missing) = (0, Vec::new());
    for page in pages::pages() {
        for name in pages::shown_lines(&page) {
            let is_name = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let is_sentence = name.matches('_').count() > 3 && !name.starts_with("bridge_");
            if is_name && is_sentence {
                count += 1;
                if !tests.contains(&format!("fn {name}(")) {
                    missing.push(format!("{}: {name}", page.path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(count > 200, "{count}");
}

/// At least one test in backquotes, and each exists.
fn names_tests(row: &str, cell: &str, tests: &str) {
    let mut names = cell.split('`').skip(1).step_by(2).peekable();
    assert!(names.peek().is_some(), "no test is named in: {row}");
    for name in names {
        let is_there = tests.contains(&format!("fn {name}("));
        assert!(is_there, "there is no test {name}");
    }
}

#[test]
fn each_command_line_of_the_pages_is_valid() {
    let mut count = 0;
    for page in pages::pages() {
        if page.path == Path::new("docs/commands.md") {
            // Written from the definition of the commands, where their examples are tested.
            continue;
        }
        for command in pages::commands(&page) {
            let words = [PROGRAM.to_owned()].into_iter().chain(command.arguments);
            if let Err(why) = Cli::try_parse_from(words) {
                assert!(!why.use_stderr(), "{}: {why}", command.page.display());
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn each_test_command_of_the_pages_has_a_test() {
    let mut count = 0;
    for page in pages::pages() {
        for line in pages::shown_lines(&page) {
            let words = pages::words(&line);
            let mut words = words.iter().map(String::as_str);
            let mut binary = "";
            if !words.any(|word| word == "cargo") || words.next() != Some("test") {
                continue;
            }
            while let Some(word) = words.next() {
                match word {
                    "--test" => binary = words.next().expect("a binary"),
                    word if word.starts_with('-') || word.contains('|') => {}
                    filter => {
                        let has_test = has_test(binary, filter);
                        assert!(has_test, "{}: {line}", page.path.display());
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// Whether a test binary (or the library, if it is empty) has a module or a function that a filter selects.
fn has_test(binary: &str, filter: &str) -> bool {
    let folder = match binary {
        "" => root().join("src"),
        binary => root().join("tests").join(binary),
    };
    let mut texts = Vec::new();
    gather(&folder, &["rs"], &mut texts);
    let last = filter.rsplit("::").next().unwrap_or(filter);
    let mut lines = texts.iter().flat_map(|(_, text)| text.lines());
    lines.any(|line| {
        let line = line.trim_start();
        let name = ["fn ", "mod ", "async fn "]
            .iter()
            .find_map(|start| line.strip_prefix(start));
        name.is_some_and(|name| {
            name.split('(')
                .next()
                .is_some_and(|name| name.contains(last))
        })
    })
}

#[test]
fn no_page_and_no_source_has_a_private_word() {
    let mut texts: Vec<(String, String)> = Vec::new();
    for page in pages::pages() {
        texts.push((page.path.display().to_string(), page.text));
    }
    gather(&root().join("src"), &["rs", "toml", "sql"], &mut texts);
    gather(&root().join("templates"), &["html", "js"], &mut texts);
    gather(
        &root().join("deploy"),
        &["toml", "yml", "yaml", "service", "conf"],
        &mut texts,
    );
    let mut found = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| path != "CHANGELOG.md") {
        for (number, line) in text.lines().enumerate() {
            let mut plain = line.to_lowercase();
            for allowed in ALLOWED {
                plain = plain.replace(allowed, "");
            }
            let padded = plain.replace(|c: char| !c.is_alphanumeric() && c != '-' && c != '_', " ");
            let padded = format!(" {padded} ");
            let word = FORBIDDEN
                .iter()
                .find(|word| padded.contains(&format!(" {word} ")));
            found.extend(word.map(|word| format!("{path}:{}: {word}", number + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("a page")
}

/// The text of all tests.
fn sources() -> String {
    let mut texts = Vec::new();
    for folder in ["tests", "src"] {
        gather(&root().join(folder), &["rs"], &mut texts);
    }
    texts.into_iter().map(|(_, text)| text).collect()
}

/// The files of a folder and those below it that have one of these extensions, with their texts.
fn gather(folder: &Path, extensions: &[&str], texts: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            gather(&path, extensions, texts);
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            let text = std::fs::read_to_string(&path).expect("a text");
            let name = path.strip_prefix(root()).expect("below the root");
            texts.push((name.display().to_string(), text));
        }
    }
}
