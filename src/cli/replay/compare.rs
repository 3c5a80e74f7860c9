//! Compares the requests for a fixture with the expected ones, and prints both.

use serde_json::Value;
use similar::TextDiff;

use crate::cli::output::{OutputFormat, print_line};
use crate::cli::{CliError, Exit};
use crate::domain::plain_text::{plain, plain_json};

/// The result of a group or of one fixture, and the expected result.
pub(super) struct Comparison<'a> {
    pub name: &'a str,
    /// The result as text: one request per line, or why there is none.
    pub lines: Vec<String>,
    pub got: Value,
    pub expected: Option<Value>,
}

impl Comparison<'_> {
    pub fn of_requests(
        name: &str,
        got: Vec<Value>,
        expected: Option<Vec<Value>>,
    ) -> Comparison<'_> {
        let mut lines: Vec<String> = got.iter().map(ToString::to_string).collect();
        if lines.is_empty() {
            lines.push("nothing is sent".to_owned());
        }
        Comparison {
            name,
            lines,
            got: got.into(),
            expected: expected.map(Value::from),
        }
    }

    /// Prints the result, and the difference if it is not the expected one.
    pub fn print(&self, format: OutputFormat) -> Result<Exit, CliError> {
        let is_expected = self.expected.as_ref().map(|expected| *expected == self.got);
        match format {
            OutputFormat::Json => {
                let file = Value::from(self.name);
                let got = &self.got;
                let expected = is_expected
                    .map(|is_expected| format!(r#","expected":{is_expected}"#))
                    .unwrap_or_default();
                let json = format!(r#"{{"file":{file},"acquire":{got}{expected}}}"#);
                print_line(plain_json(&json))?;
            }
            OutputFormat::Text => {
                for line in &self.lines {
                    print_line(format_args!("{}: {}", self.name, plain(line)))?;
                }
                if let Some(expected) = self
                    .expected
                    .as_ref()
                    .filter(|_| is_expected == Some(false))
                {
                    print_line(format_args!(
                        "{}: differs from the expected result:",
                        self.name
                    ))?;
                    print_line(difference(expected, &self.got))?;
                }
            }
        }
        Ok(match is_expected {
            Some(false) => Exit::Partial,
            Some(true) | None => Exit::Done,
        })
    }
}

/// A unified diff; lines of `before` only start with `-`.
pub fn difference(before: &Value, after: &Value) -> String {
    let (before, after) = (format!("{before:#}\n"), format!("{after:#}\n"));
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    let text = unified.context_radius(3).to_string();
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
