//! What came of fixtures beside what must come of them.

use serde_json::Value;
use similar::TextDiff;

use super::super::{CliError, Exit, OutputFormat, print_line};

/// What came of a group or of one fixture.
pub(super) struct Comparison<'a> {
    pub name: &'a str,
    /// Requests, or one line of what became of it.
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

    /// Prints it, with a difference where there is one; then it is not what was expected.
    pub fn print(&self, form: OutputFormat) -> Result<Exit, CliError> {
        let is_expected = self.expected.as_ref().map(|expected| *expected == self.got);
        match form {
            OutputFormat::Json => {
                let file = Value::from(self.name);
                let got = &self.got;
                let told = is_expected
                    .map(|is_expected| format!(r#","expected":{is_expected}"#))
                    .unwrap_or_default();
                print_line(format_args!(r#"{{"file":{file},"acquire":{got}{told}}}"#))?;
            }
            OutputFormat::Text => {
                for line in &self.lines {
                    print_line(format_args!("{}: {line}", self.name))?;
                }
                if let Some(expected) = self
                    .expected
                    .as_ref()
                    .filter(|_| is_expected == Some(false))
                {
                    print_line(format_args!(
                        "{}: differs from what is expected:",
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

/// A unified diff, `-` what was `before`.
pub fn difference(before: &Value, after: &Value) -> String {
    let (before, after) = (format!("{before:#}\n"), format!("{after:#}\n"));
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    let text = unified.context_radius(3).to_string();
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
