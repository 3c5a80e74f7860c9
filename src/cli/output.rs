//! All printing of the commands: lines, JSON, errors and the progress bar.
//!
//! Data goes to stdout, everything else to stderr. All of it passes `domain::plain_text`.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::domain::plain_text::{plain, plain_json, plain_lines};
use crate::telemetry::terminal::Terminal;

/// Columns of a terminal. A word that cannot be broken, such as a URL, may be longer.
pub const COLUMNS: usize = 80;

/// The option `--json`, with one text for all commands.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl OutputArgs {
    pub fn format(self) -> OutputFormat {
        if self.json {
            OutputFormat::Json
        } else {
            OutputFormat::Text
        }
    }

    /// Prints one JSON value as one line, or the text for it.
    pub fn print<T: Display>(
        self,
        json: &impl Serialize,
        text: impl FnOnce() -> T,
    ) -> io::Result<()> {
        match self.format() {
            OutputFormat::Json => print_json(json),
            OutputFormat::Text => print_line(text()),
        }
    }
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    Text,
    Json,
}

/// Prints one line of data; fails with `BrokenPipe` once the reader has closed stdout (`list | head`).
///
/// No character of it acts on a terminal. A value from outside must also have passed [`plain`] or
/// [`wrap`], so that it adds no lines.
pub fn print_line(line: impl Display) -> io::Result<()> {
    writeln!(stdout().lock(), "{}", plain_lines(&line.to_string()))
}

/// Prints one JSON value as one line.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print_line(plain_json(&serde_json::to_string(value)?))
}

/// Prints one JSON value over several indented lines.
pub fn print_pretty_json(value: &impl Serialize) -> io::Result<()> {
    print_line(plain_json(&serde_json::to_string_pretty(value)?))
}

/// Prints an error to stderr. Only a terminal gets it wrapped: in a log an error is one line.
pub fn print_error(error: &str) {
    if stderr().is_terminal() {
        eprintln!("error: {}", wrap(error, 7));
    } else {
        eprintln!("error: {}", plain(error));
    }
}

/// Prints to stderr what is not data, with the arguments of `format!`.
macro_rules! note {
    ($($argument:tt)*) => {
        $crate::cli::output::print_note(&format!($($argument)*))
    };
}
pub(crate) use note;

/// As [`print_line`], on stderr; see [`note`].
pub fn print_note(note: &str) {
    eprintln!("{}", plain_lines(note));
}

/// Breaks a text into lines of at most [`COLUMNS`]; all lines but the first are indented by `indent`
/// spaces. Makes the text harmless, because parts of it often come from outside.
pub fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut width = indent;
    for word in plain(text).split(' ') {
        let length = word.chars().count();
        if width > indent && width + 1 + length > COLUMNS {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            width = indent;
        } else if width > indent {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

/// A progress bar on stderr; hidden unless stderr is a terminal, so that logs contain no bars.
pub fn progress_bar(length: u64) -> ProgressBar {
    if let Terminal::None | Terminal::Dumb = Terminal::of_stderr() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec}, {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
