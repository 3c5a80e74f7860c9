//! All printing of the commands: lines, JSON, errors and the progress bar.
//!
//! Data goes to stdout, everything else to stderr. All of it passes `domain::plain_text`.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::domain::call_state::State;
use crate::domain::plain_text::{plain, plain_json, plain_lines};
use crate::telemetry::terminal::Terminal;

/// Columns of a terminal. A word that cannot be broken, such as a URL, may be longer.
pub const COLUMNS: usize = 80;

/// The option `--json`, with one text for all commands.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Print JSON: one object, or one on each line. What the API has too has the same fields
    /// (docs/openapi.json).
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
/// No character of it acts on a terminal, except the colours of [`paint`]. A value from outside must also
/// have passed [`plain`] or [`wrap`], so that it adds no lines.
pub fn print_line(line: impl Display) -> io::Result<()> {
    let line = line.to_string();
    let line = coloured(&plain_lines(&line), Terminal::of_stdout());
    writeln!(stdout().lock(), "{line}")
}

/// The meaning of a coloured label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    /// Needs an operator.
    Bad,
    /// Not finished yet.
    Waiting,
}

/// Marks in texts, which [`coloured`] replaces. They are no characters, and [`plain`] removes them from
/// values.
const TONES: [(Tone, char, &str); 3] = [
    (Tone::Good, '\u{fdd0}', "\u{1b}[32m"),
    (Tone::Bad, '\u{fdd1}', "\u{1b}[31m"),
    (Tone::Waiting, '\u{fdd2}', "\u{1b}[33m"),
];
const TONE_END: (char, &str) = ('\u{fdd3}', "\u{1b}[0m");

/// A label in colour, where the terminal shows colours. It must not be wrapped or padded afterwards.
pub fn paint(tone: Tone, label: impl Display) -> String {
    let mark = TONES.iter().find(|(of, ..)| *of == tone);
    let mark = mark.map_or(TONE_END.0, |(_, mark, _)| *mark);
    format!("{mark}{label}{}", TONE_END.0)
}

/// The state of a call, in colour.
pub fn paint_state(state: &str) -> String {
    let tone = match State::ALL.into_iter().find(|of| of.as_str() == state) {
        Some(State::Delivered) => Tone::Good,
        Some(State::Parked) => Tone::Bad,
        Some(State::Pending | State::Claimed) => Tone::Waiting,
        Some(State::Skipped) | None => return state.to_owned(),
    };
    paint(tone, state)
}

fn coloured(text: &str, terminal: Terminal) -> String {
    let tones = TONES.iter().map(|(_, mark, code)| (*mark, *code));
    tones
        .chain([TONE_END])
        .fold(text.to_owned(), |text, (mark, code)| {
            let code = if terminal == Terminal::Coloured {
                code
            } else {
                ""
            };
            text.replace(mark, code)
        })
}

/// As [`print_line`]; see [`wrapped`].
pub fn print_wrapped(text: impl Display) -> io::Result<()> {
    print_line(wrapped(text))
}

/// The text for stdout: a terminal gets each line wrapped, and a pipe gets it whole.
pub fn wrapped(text: impl Display) -> String {
    let text = text.to_string();
    if !stdout().is_terminal() {
        return text;
    }
    let lines: Vec<String> = text.lines().map(|line| wrap(line, 4)).collect();
    lines.join("\n")
}

/// Prints one JSON value as one line.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string(value)?;
    writeln!(stdout().lock(), "{}", plain_json(&json))
}

/// Prints one JSON value over several indented lines.
pub fn print_pretty_json(value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    writeln!(stdout().lock(), "{}", plain_json(&json))
}

/// Prints an error to stderr. Only a terminal gets it wrapped: in a log an error is one line.
pub fn print_error(error: &str) {
    let label = paint(Tone::Bad, "error:");
    if stderr().is_terminal() {
        print_note(&format!("{label} {}", wrap(error, 7)));
    } else {
        print_note(&format!("{label} {}", plain(error)));
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
    let note = coloured(&plain_lines(note), Terminal::of_stderr());
    // Nothing is left to say to a reader that closed stderr.
    let _ = writeln!(stderr().lock(), "{note}");
}

/// The text with spaces up to this width; wide characters take two columns.
pub fn pad(text: &str, columns: usize) -> String {
    let gap = columns.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(gap))
}

/// Breaks a text into lines of at most [`COLUMNS`]; all lines but the first are indented by `indent`
/// spaces. Makes the text harmless, because parts of it often come from outside.
pub fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut width = indent;
    for word in plain(text).split(' ') {
        let length = word.width();
        if width > indent && width + 1 + length > COLUMNS {
            lines.truncate(lines.trim_end().len());
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

/// Between two updates of a bar.
pub const TICK: Duration = Duration::from_millis(100);

/// A progress bar on stderr; hidden unless stderr is a terminal, so that logs contain no bars.
pub fn progress_bar(length: u64) -> ProgressBar {
    bar(length, "{bar:30} {pos}/{len} {per_sec}, {eta} left")
}

/// As [`progress_bar`], for bytes.
pub fn bytes_bar(length: u64) -> ProgressBar {
    bar(
        length,
        "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
    )
}

/// As [`progress_bar`], for work of unknown length.
pub fn time_bar(about: &'static str) -> ProgressBar {
    let bar = bar(0, "{spinner} {msg}, {elapsed}").with_message(about);
    bar.enable_steady_tick(TICK);
    bar
}

fn bar(length: u64, template: &str) -> ProgressBar {
    if let Terminal::None | Terminal::Dumb = Terminal::of_stderr() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
