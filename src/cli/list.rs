//! `list`: prints the calls in the store, or the refused requests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::admin_client::{claimed_calls, outage_of};
use super::call_filter::{CallFilter, number};
use super::output::{OutputArgs, OutputFormat, note, paint_state, wrap};
use super::{CliError, ConfigArgs, Exit, refused};
use crate::config::duration;
use crate::debugging::search::{CallRow, CallSearch};
use crate::domain::plural::counted;
use crate::store::{Detail, ReadStore, State};

/// List the calls in the store, newest first.
///
/// Calls of one state are sorted by time: pending ones by the time at which they are due, others by the time
/// at which they reached it, the last first. A bridge may be running. With --json each line is one JSON
/// object.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twilio-acquire-bridge list --state parked --limit 20
  twilio-acquire-bridge list --number +12025550123 --since yesterday
  twilio-acquire-bridge list --state parked --count --by cause")]
pub struct List {
    #[command(flatten)]
    config: ConfigArgs,
    /// Maximum number of items.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = number::<usize>)]
    limit: usize,
    /// Print the number of calls that match instead.
    #[arg(long, conflicts_with = "refused")]
    count: bool,
    /// Key to count by (with --count).
    #[arg(long, value_name = "KEY", requires = "count")]
    by: Option<CountKey>,
    /// List the refused requests by cause instead; with --cause the latest of this cause. Their content
    /// is not verified.
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    filter: CallFilter,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CountKey {
    State,
    Cause,
}

impl List {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.refused {
            return self.list_refused();
        }
        let (reader, rules) = self.config.open_to_read()?;
        if self.filter.filter()?.state == Some(State::Claimed) {
            reader.note_claimed(&claimed_calls(&self.config))?;
        }
        let outage_of = outage_of(&self.config);
        let search = self.filter.search(&*reader, &rules, outage_of)?;
        if self.count {
            self.print_counts(&search, &*reader)?;
        } else {
            self.print_rows(&search, &*reader)?;
        }
        Ok(Exit::Done)
    }

    fn list_refused(&self) -> Result<Exit, CliError> {
        let mut calls = self.filter.clone();
        calls.cause = None;
        if !calls.is_empty()? {
            let why = "--refused lists requests, not calls; the only filter it accepts is --cause";
            return Err(CliError::Usage(why.to_owned()));
        }
        let (reader, _) = self.config.open_to_read()?;
        match &self.filter.cause {
            Some(cause) => refused::list_cause(&*reader, cause, self.limit, self.output)?,
            None => refused::list_causes(&*reader, self.limit, self.output)?,
        }
        Ok(Exit::Done)
    }

    fn print_rows(&self, search: &CallSearch, reader: &dyn ReadStore) -> Result<(), CliError> {
        let mut calls = Vec::new();
        search.each(reader, (Detail::Whole, self.limit), &mut |call| {
            calls.push(call);
        })?;
        for row in calls.iter().map(|call| search.row(call)) {
            self.output.print(&row, || as_text(&row))?;
        }
        if calls.is_empty() && self.output.format() == OutputFormat::Text {
            let is_all = self.filter.is_empty()?;
            note!("{}", if is_all { "no calls" } else { "no such calls" });
        }
        if calls.len() == self.limit {
            let mut all = 0;
            search.each(reader, (Detail::Summary, usize::MAX), &mut |_| all += 1)?;
            if all > calls.len() {
                note!(
                    "{} of {} shown (--limit)",
                    calls.len(),
                    counted(all, "call")
                );
            }
        }
        Ok(())
    }

    fn print_counts(&self, search: &CallSearch, reader: &dyn ReadStore) -> Result<(), CliError> {
        let (mut all, mut by) = (0_usize, BTreeMap::<String, usize>::new());
        search.each(reader, (Detail::Summary, usize::MAX), &mut |call| {
            all += 1;
            let key = match self.by {
                None => return,
                Some(CountKey::State) => call.summary.state.to_string(),
                Some(CountKey::Cause) => {
                    let cause = call.summary.cause.map(|cause| cause.to_string());
                    cause.unwrap_or_else(|| "none".to_owned())
                }
            };
            *by.entry(key).or_default() += 1;
        })?;
        let key = match self.by {
            None => {
                let json = serde_json::json!({ "count": all });
                return Ok(self.output.print(&json, || all)?);
            }
            Some(CountKey::State) => "state",
            Some(CountKey::Cause) => "cause",
        };
        // The most frequent first.
        let mut by: Vec<(String, usize)> = by.into_iter().collect();
        by.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (value, count) in by {
            let json = serde_json::json!({ key: value, "count": count });
            self.output
                .print(&json, || format!("{count:>9}  {value}"))?;
        }
        Ok(())
    }
}

/// When, which call, and its state; who called whom; the state in words.
fn as_text(row: &CallRow) -> String {
    let CallRow {
        line, words, facts, ..
    } = row;
    let state = paint_state(line.state);
    let mut text = format!("{}  {}  {state}", line.first_received, line.call_sid);
    if !(facts.caller.is_empty() && facts.callee.is_empty()) {
        let length = facts.duration.map(Duration::from_secs).map(duration::show);
        let more = [&facts.direction, &facts.email, &length];
        let more: Vec<&str> = more.into_iter().flatten().map(String::as_str).collect();
        let gap = if more.is_empty() { "" } else { ", " };
        let parties = format!(
            "{} -> {}{gap}{}",
            facts.caller,
            facts.callee,
            more.join(", ")
        );
        text = format!("{text}\n    {}", wrap(&parties, 4));
    }
    format!("{text}\n    {}", wrap(words, 4))
}
