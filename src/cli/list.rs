//! `list`: the calls in the store.

use super::call_filter::CallFilter;
use super::{CliError, ConfigArgs, Exit, OutputFormat, print_line, refused, wrapped};
use crate::debugging::timeline::CallLine;

/// List the calls in the store, whether a bridge runs or not: the newest first, pending ones by when
/// they are due.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge list --state parked --limit 20")]
pub struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// The requests that were refused, by cause; nothing of them is verified.
    #[arg(long, conflicts_with = "CallFilter")]
    refused: bool,
    /// With --refused: the latest requests of this cause.
    #[arg(long, value_name = "CAUSE", requires = "refused")]
    cause: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: CallFilter,
}

impl List {
    pub fn run(self) -> Result<Exit, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        if self.refused {
            match &self.cause {
                Some(cause) => refused::list_cause(&*reader, cause, self.limit, self.form())?,
                None => refused::list_causes(&*reader, self.form())?,
            }
            return Ok(Exit::Done);
        }
        let search = self.which.search();
        let calls = search.run(&*reader, self.limit)?;
        for line in calls.iter().map(CallLine::of) {
            if self.json {
                print_line(serde_json::to_string(&line)?)?;
            } else {
                print_line(as_text(&line))?;
            }
        }
        if calls.is_empty() && !self.json {
            eprintln!(
                "{}",
                if search.is_empty() {
                    "no calls"
                } else {
                    "no such calls"
                }
            );
        }
        Ok(Exit::Done)
    }

    fn form(&self) -> OutputFormat {
        if self.json {
            OutputFormat::Json
        } else {
            OutputFormat::Text
        }
    }
}

fn as_text(line: &CallLine) -> String {
    let head = format!("{}  {}  {}", line.first_received, line.call_sid, line.state);
    let about = match (&line.due, &line.reason) {
        (Some(due), _) => format!("due {due}"),
        (None, Some(reason)) => reason.clone(),
        (None, None) => return head,
    };
    format!("{head}\n    {}", wrapped(&about, 4))
}
