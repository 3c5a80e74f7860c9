//! `replan`: what today's plan would send otherwise.

use std::num::NonZeroU32;

use serde_json::json;

use super::call_filter::CallFilter;
use super::replay::compare::difference;
use super::requeue;
use super::{CliError, ConfigArgs, Exit, print_line};
use crate::debugging::replan::{self, ReplanDiff};
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge replan --since 1d --config new.toml
  twilio-acquire-bridge replan --since 1d --send

Plans the callbacks of each stored call anew, by the configuration and the
version at hand, and shows what would be sent otherwise than Acquire got it:
before an upgrade or a change of settings, and after a mistake. Calls that are
pending are left out. --send has what differs sent again, all requests of each
call, after it has told how many and was answered yes; Acquire promises nothing
about repeats. Exits with 3 if something differs and was not sent.";

/// Show what today's plan would send for stored calls otherwise than it was sent.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Replan {
    #[command(flatten)]
    config: ConfigArgs,
    /// At most this many calls are looked at.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    limit: usize,
    /// Requeue the calls that differ.
    #[arg(long)]
    send: bool,
    /// Calls requeued per second.
    #[arg(long, value_name = "N/s", default_value = "50/s", value_parser = requeue::rate)]
    rate: NonZeroU32,
    /// Do not ask.
    #[arg(long, requires = "send")]
    yes: bool,
    /// One JSON object for each call that differs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: CallFilter,
}

impl Replan {
    pub fn run(self) -> Result<Exit, CliError> {
        let (reader, rules) = self.config.open_to_read()?;
        let calls = self.which.search().run(&*reader, self.limit)?;
        let mut differing: Vec<CallSid> = Vec::new();
        for summary in &calls {
            let Some(call) = reader
                .get(&summary.sid)?
                .filter(|call| call.summary.sid == summary.sid)
            else {
                continue;
            };
            match replan::difference(&call, &rules) {
                Ok(None) => {}
                Ok(Some(difference)) => {
                    self.print(&difference)?;
                    differing.push(summary.sid.clone());
                }
                Err(why) => eprintln!("{}: cannot be planned: {why}", summary.sid),
            }
        }
        drop(reader);
        eprintln!("{} of {} calls differ", differing.len(), calls.len());
        if calls.len() == self.limit {
            eprintln!("note: ended at --limit {}; there may be more", self.limit);
        }
        if differing.is_empty() {
            return Ok(Exit::Done);
        }
        if !self.send || !(self.yes || requeue::confirm(differing.len())?) {
            return Ok(Exit::Partial);
        }
        requeue::requeue(&self.config.load()?, &differing, self.rate)
    }

    fn print(&self, found: &ReplanDiff) -> Result<(), CliError> {
        if self.json {
            let ReplanDiff { call, sent, today } = found;
            print_line(json!({ "call_sid": call, "sent": sent, "today": today }))?;
            return Ok(());
        }
        print_line(&found.call)?;
        let (sent, today) = (found.sent.clone().into(), found.today.clone().into());
        print_line(difference(&sent, &today))?;
        Ok(())
    }
}
