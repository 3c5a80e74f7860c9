//! `list`: the calls in the store.

use super::{ConfigArgs, Exit, Failure, say};
use crate::store::{self, Filter, State};
use crate::story::Line;

/// List the calls in the store, whether a bridge runs or not: the newest first, pending ones by when
/// they are due.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge list --state parked --limit 20")]
pub struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only calls in this state: pending, delivered, skipped or parked.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(self) -> Result<Exit, Failure> {
        let (url, _) = self.config.load_for_reading()?;
        let reader = store::open_to_read(&url)?;
        let filter = Filter {
            state: self.state,
            limit: self.limit,
        };
        let calls = reader.list(filter)?;
        for line in calls.iter().map(Line::of) {
            if self.json {
                say(serde_json::to_string(&line)?)?;
            } else {
                say(as_text(&line))?;
            }
        }
        if calls.is_empty() && !self.json {
            eprintln!(
                "no calls{}",
                self.state.map(|s| format!(" are {s}")).unwrap_or_default()
            );
        }
        Ok(Exit::Done)
    }
}

fn as_text(line: &Line) -> String {
    let about = match (&line.due, &line.reason) {
        (Some(due), _) => format!("due {due}"),
        (None, Some(reason)) => reason.clone(),
        (None, None) => String::new(),
    };
    let text = format!(
        "{}  {}  {:<9}  {about}",
        line.first_received, line.call_sid, line.state
    );
    text.trim_end().to_owned()
}

/// A claim lives in the memory of the bridge; beside it a claimed call is seen as pending.
fn state(text: &str) -> Result<State, String> {
    let listed = State::ALL
        .into_iter()
        .filter(|state| *state != State::Claimed);
    let words: Vec<&str> = listed.clone().map(State::as_str).collect();
    let mut listed = listed.filter(|state| state.as_str() == text);
    listed
        .next()
        .ok_or_else(|| format!("the states are {}", words.join(", ")))
}
