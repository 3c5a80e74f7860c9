//! `replan`: compares what was sent for stored calls with what would be sent today.
//!
//! It changes and sends nothing.

use std::num::NonZeroU32;

use serde_json::json;

use super::act_target::OperatorArgs;
use super::call_filter::{CallFilter, number};
use super::output::{OutputArgs, note};
use super::replay::compare::difference;
use super::requeue::paced;
use super::watched::each_watched;
use super::{CliError, ConfigArgs, Exit, operate};
use crate::config::partial;
use crate::debugging::replan::{self, ReplanDiff};
use crate::domain::operation::OperationKind;
use crate::store::Detail;
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge replan --since 1d --config new.toml
  twilio-acquire-bridge replan --since 1d --send

Plans each stored call again with the given configuration and this version, and
prints the differences to the requests that Acquire received. Use it before an
upgrade or a change of settings, and after a mistake. Pending calls are left
out. --send requeues each call that differs, with all its requests, after a
confirmation; Acquire does not document how it handles repeats. With --json each
call that differs is a line, and --send adds one with the number of calls.
Exits with 3 if calls differ and were not requeued.";

/// Show what would be sent differently today for stored calls.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Replan {
    #[command(flatten)]
    config: ConfigArgs,
    /// Maximum number of items.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = number::<usize>)]
    limit: usize,
    /// Requeue the calls that differ.
    #[arg(long)]
    send: bool,
    /// Calls requeued per second.
    #[arg(long, value_name = "N/s", default_value = "50/s", value_parser = operate::rate)]
    rate: NonZeroU32,
    /// Do not ask for confirmation.
    #[arg(long, requires = "send")]
    yes: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    filter: CallFilter,
}

impl Replan {
    pub fn run(self) -> Result<Exit, CliError> {
        let (reader, rules) = self.config.open_to_read()?;
        let calls = self
            .filter
            .find(&*reader, &rules, (Detail::Whole, self.limit))?;
        let mut differing: Vec<CallSid> = Vec::new();
        // A leg that was merged into another call has no callbacks; that call is compared by itself.
        each_watched(&calls, "calls are compared", |call, bar| {
            let sid = &call.summary.sid;
            if call.callbacks.is_empty() {
                return Ok(());
            }
            match replan::difference(call, &rules) {
                Ok(None) => {}
                Ok(Some(difference)) => {
                    bar.suspend(|| self.print(&difference))?;
                    differing.push(sid.clone());
                }
                Err(why) => bar.suspend(|| note!("{sid}: cannot be planned: {why}")),
            }
            Ok::<_, CliError>(())
        })?;
        // Requeueing opens the store again, for writing.
        drop(reader);
        note!("{} of {} calls differ", differing.len(), calls.len());
        if calls.len() == self.limit {
            note!(
                "note: stopped at --limit {}; more calls may match",
                self.limit
            );
        }
        if differing.is_empty() {
            return Ok(Exit::Done);
        }
        if !self.send || !(self.yes || operate::confirm(OperationKind::Requeue, differing.len())?) {
            return Ok(Exit::Partial);
        }
        let act = self.config.load_part(partial::act)?;
        paced::run(&act, &differing, self.rate, (&self.operator, self.output))
    }

    fn print(&self, diff: &ReplanDiff) -> Result<(), CliError> {
        let ReplanDiff { call, sent, today } = diff;
        let json = json!({ "call_sid": call, "sent": sent, "today": today });
        let text = || format!("{call}\n{}", difference(&json["sent"], &json["today"]));
        Ok(self.output.print(&json, text)?)
    }
}
