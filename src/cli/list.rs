//! `list`: prints the calls in the store, or the refused requests.

use super::call_filter::CallFilter;
use super::output::{OutputArgs, OutputFormat, note, print_json, print_line, wrap};
use super::{CliError, ConfigArgs, Exit, refused};
use crate::debugging::timeline::CallLine;
use crate::store::Detail;

/// List the calls in the store, newest first.
///
/// Pending calls are sorted by the time at which they are due. A bridge may be running. With --json
/// each line is one JSON object.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge list --state parked --limit 20")]
pub struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// Maximum number of items.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// List the refused requests by cause instead. Their content is not verified.
    #[arg(long, conflicts_with = "CallFilter")]
    refused: bool,
    /// List the latest refused requests of this cause (with --refused).
    #[arg(long, value_name = "CAUSE", requires = "refused")]
    cause: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    filter: CallFilter,
}

impl List {
    pub fn run(self) -> Result<Exit, CliError> {
        let (reader, rules) = self.config.open_to_read()?;
        let format = self.output.format();
        if self.refused {
            match &self.cause {
                Some(cause) => refused::list_cause(&*reader, cause, self.limit, format)?,
                None => refused::list_causes(&*reader, format)?,
            }
            return Ok(Exit::Done);
        }
        let wanted = (Detail::Summary, self.limit);
        let calls = self.filter.find(&*reader, &rules, wanted)?;
        for line in calls.iter().map(|call| CallLine::of(&call.summary)) {
            match format {
                OutputFormat::Json => print_json(&line)?,
                OutputFormat::Text => print_line(as_text(&line))?,
            }
        }
        if calls.is_empty() && format == OutputFormat::Text {
            note!(
                "{}",
                if self.filter.is_empty() {
                    "no calls"
                } else {
                    "no such calls"
                }
            );
        }
        Ok(Exit::Done)
    }
}

fn as_text(line: &CallLine) -> String {
    let head = format!("{}  {}  {}", line.first_received, line.call_sid, line.state);
    let about = match (&line.due, &line.reason) {
        (Some(due), _) => format!("due {due}"),
        (None, Some(reason)) => reason.clone(),
        (None, None) => return head,
    };
    format!("{head}\n    {}", wrap(&about, 4))
}
