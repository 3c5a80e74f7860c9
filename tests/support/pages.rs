//! The pages of the documentation, and the command lines that they show.

use std::path::{Path, PathBuf};

pub const PROGRAM: &str = "twilio-acquire-bridge";

/// Words of the pages that stand for a value, and the value that tests use.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("CA...", "CA00000000000000000000000000000001"),
    ("CALLSID", "CA00000000000000000000000000000001"),
    ("URL", "https://bridge.example.com/twilio/voice/status"),
    ("FILE", "file"),
    ("DIR", "folder"),
    ("S", "AO2N9b/wjwJMg11X2FDugFZVWPk="),
    ("OLD_TOKEN", "0123456789abcdef0123456789abcdef"),
    ("TEXT", "text"),
];

/// A page of the documentation.
pub struct Page {
    /// From the root of the repository.
    pub path: PathBuf,
    pub text: String,
}

/// A command line of the program that a page shows.
pub struct ShownCommand {
    pub page: PathBuf,
    /// The words after the name of the program; placeholders are replaced.
    pub arguments: Vec<String>,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the repository's root and of `docs` and `deploy`, in the order of their paths.
pub fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = ["docs", "docs/runbooks", "deploy", ""]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort_unstable();
    let page = |path: PathBuf| Page {
        text: std::fs::read_to_string(&path).expect("a page"),
        path: path
            .strip_prefix(root())
            .expect("below the root")
            .to_owned(),
    };
    paths.into_iter().map(page).collect()
}

/// The command lines of the program that a page shows.
pub fn commands(page: &Page) -> Vec<ShownCommand> {
    let lines = shown_lines(page).into_iter();
    let commands = lines.flat_map(|line| of_line(&line));
    commands
        .map(|arguments| ShownCommand {
            page: page.path.clone(),
            arguments,
        })
        .collect()
}

/// The lines of fenced blocks, and the texts in backquotes.
pub fn shown_lines(page: &Page) -> Vec<String> {
    let mut lines = Vec::new();
    for (place, part) in page.text.split("\n```").enumerate() {
        if place % 2 == 0 {
            let texts = part.split('`').skip(1).step_by(2);
            lines.extend(texts.map(|text| text.replace('\n', " ")));
        } else {
            let joined = part.replace("\\\n", " ");
            lines.extend(joined.lines().skip(1).map(str::to_owned));
        }
    }
    lines
}

/// The arguments of each run of the program in a line of a shell.
fn of_line(line: &str) -> Vec<Vec<String>> {
    // A test writes into its own folder.
    let line = line
        .replace("$(date +%F)", "2026-11-30")
        .replace("/var/backups/", "");
    let words = words(line.strip_prefix("$ ").unwrap_or(&line));
    let runs = words.split(|word| ["&&", "||", "|", ">", "<", ";"].contains(&word.as_str()));
    let arguments = runs.filter_map(|run| match run {
        [program, arguments @ ..] if program == PROGRAM => Some(arguments),
        [cargo, run, options @ ..] if cargo == "cargo" && run == "run" => {
            let at = options.iter().position(|word| word == "--")?;
            Some(&options[at + 1..])
        }
        _ => None,
    });
    arguments
        .map(|arguments| arguments.iter().map(|word| replaced(word)).collect())
        .filter(|arguments: &Vec<String>| !arguments.is_empty())
        .collect()
}

fn replaced(word: &str) -> String {
    let value = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
    let value = value.map_or(word, |(_, value)| value);
    let is_placeholder = value.contains("...") || value.chars().all(|c| c.is_ascii_uppercase());
    assert!(!is_placeholder, "{word} is no placeholder that tests know");
    value.to_owned()
}

/// Splits a line as a shell does, as far as the pages need it: quotes, and comments after `#`.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(end), c) if c == end => quote = None,
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
