//! Bounds each line of the log and makes it harmless, whatever an event contains.

use std::borrow::Cow;
use std::io::{self, stderr};

use serde_json::{Map, Value};
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;
use crate::domain::plain_text::{cut, plain, plain_json};
use crate::telemetry::terminal::Terminal;

/// The longest line of the log, in bytes, with its line end.
const MAX_LINE: usize = 4096;

/// Ends a line or a value that was cut.
const CUT: &str = "... (cut)";

/// Lengths to which the texts of a JSON line are cut, until it fits.
const CUTS: [usize; 3] = [1024, 256, 64];

/// The start of a control sequence that sets a colour.
const COLOUR: &str = "\u{1b}[";

/// Writes the lines of the log to stderr.
#[derive(Clone, Copy, Debug)]
pub struct LogLines {
    pub format: LogFormat,
    pub terminal: Terminal,
}

impl MakeWriter<'_> for LogLines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl io::Write for LogLines {
    /// The formatter writes each event at once, as one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        stderr().write_all(self.bounded(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        stderr().flush()
    }
}

impl LogLines {
    fn bounded(self, line: &str) -> Cow<'_, str> {
        let content = line.trim_end_matches('\n');
        let bounded = match (self.format, self.terminal) {
            (LogFormat::Json, _) => bounded_json(content),
            (LogFormat::Text, Terminal::Coloured) => bounded_text(coloured(content)),
            (LogFormat::Text, _) => bounded_text(plain(content)),
        };
        match bounded {
            Cow::Borrowed(same) if same.len() + 1 == line.len() => line.into(),
            changed => format!("{changed}\n").into(),
        }
    }
}

fn bounded_text(content: Cow<'_, str>) -> Cow<'_, str> {
    if content.len() < MAX_LINE {
        return content;
    }
    let room = MAX_LINE - 1 - CUT.len();
    format!("{}{CUT}", cut(&content, room)).into()
}

/// As [`plain`], but keeps the colours. The formatter escapes this sequence in the values of an event.
fn coloured(content: &str) -> Cow<'_, str> {
    let mut parts = content.split(COLOUR);
    let mut line = plain(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';');
        let is_colour = end.is_some_and(|end| part[end..].starts_with('m'));
        line.push_str(if is_colour { COLOUR } else { "\u{fffd}[" });
        line.push_str(&plain(part));
    }
    line.into()
}

/// Cuts the texts of an object, so that the line stays JSON.
fn bounded_json(content: &str) -> Cow<'_, str> {
    let escaped = plain_json(content);
    if escaped.len() < MAX_LINE {
        return escaped;
    }
    let object: Map<String, Value> = serde_json::from_str(content).unwrap_or_default();
    let mut shortened = CUTS.iter().map(|bytes| {
        let fields = object.iter().map(|(name, value)| match value {
            Value::String(text) if text.len() > *bytes => {
                (name.clone(), format!("{}{CUT}", cut(text, *bytes)).into())
            }
            other => (name.clone(), other.clone()),
        });
        let line = Value::Object(fields.collect()).to_string();
        plain_json(&line).into_owned()
    });
    let fitting = shortened.find(|line| line.len() < MAX_LINE);
    fitting
        .unwrap_or_else(|| {
            r#"{"level":"WARN","message":"an event was too long to be logged"}"#.to_owned()
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, terminal: Terminal, content: &str) -> String {
        LogLines { format, terminal }
            .bounded(&format!("{content}\n"))
            .into_owned()
    }

    #[test]
    fn no_line_of_the_log_is_longer_than_4_kib_or_more_than_one_line() {
        let long = format!("a\nforged \u{1b}[2J{}", "\u{e9}\u{202e}".repeat(30_000));
        for terminal in [Terminal::None, Terminal::Coloured] {
            let text = line(LogFormat::Text, terminal, &long);
            assert!(
                text.len() <= MAX_LINE && text.ends_with("... (cut)\n"),
                "{}",
                text.len()
            );
            assert_eq!(text.lines().count(), 1);
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        }
        let event =
            serde_json::json!({ "level": "WARN", "message": long, "path": long, "line": 7 });
        let json = line(LogFormat::Json, Terminal::None, &event.to_string());
        assert!(
            json.len() <= MAX_LINE && json.lines().count() == 1,
            "{}",
            json.len()
        );
        let read: Value = serde_json::from_str(&json).expect("it stays JSON");
        assert_eq!((&read["level"], &read["line"]), (&"WARN".into(), &7.into()));
        let many = serde_json::json!({ "fields": vec![long; 3] });
        let json = line(LogFormat::Json, Terminal::None, &many.to_string());
        assert!(serde_json::from_str::<Value>(&json).is_ok() && json.len() <= MAX_LINE);
    }

    #[test]
    fn a_usual_line_is_written_as_it_is() {
        let text = "2026-11-29T10:00:00Z  INFO a: stopped";
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(line(format, Terminal::None, text), format!("{text}\n"));
        }
        let coloured = "\u{1b}[2m2026\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m a";
        assert_eq!(
            line(LogFormat::Text, Terminal::Coloured, coloured),
            format!("{coloured}\n")
        );
        assert!(!line(LogFormat::Text, Terminal::None, coloured).contains('\u{1b}'));
    }
}
