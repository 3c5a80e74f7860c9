//! `requeue`: queues calls for delivery again.

mod paced;

use std::io::{IsTerminal as _, stderr, stdin};
use std::num::NonZeroU32;

use self::paced::RequeueReport;
use super::act_target::{ActTarget, OperatorArgs};
use super::call_filter::{CallFilter, time};
use super::dismiss::reason;
use super::output::{note, print_line};
use super::{CliError, ConfigArgs, Exit, serve};
use crate::app;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::domain::audit::Reason;
use crate::domain::plural::counted;
use crate::store::{CallSummary, Detail, State};
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge requeue CA00000000000000000000000000000001
  twilio-acquire-bridge requeue --state parked --call-reason 401 --rate 20/s

With filters the command prints the number of calls and asks for confirmation.
It leaves out pending calls, which will be sent anyway, unless --state pending
is given. New calls are sent before requeued ones. If the bridge restarts, the
command waits for it, up to a minute. Ctrl-C stops it; calls that are requeued
stay requeued. To resume, run the same command with the --rested-before that it
printed: this leaves out the calls that were finished again meanwhile. Exits
with 3 if some calls are not in the store, or if it was stopped.";

/// Queue calls for delivery again, with a fresh retry schedule.
///
/// All requests of a call are sent again, including those that Acquire accepted. The command writes to
/// the store, or sends the request to the bridge that owns it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, mut_arg("reason", |arg| arg.long("call-reason")))]
pub struct Requeue {
    #[command(flatten)]
    config: ConfigArgs,
    /// SIDs of calls or of their legs; without any, all calls that match the filters.
    #[arg(value_name = "CALLSID", value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// Calls requeued per second.
    #[arg(long, value_name = "N/s", default_value = "50/s", value_parser = rate)]
    rate: NonZeroU32,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
    /// Only calls that were finished (delivered, skipped or parked) before this time (UTC); by default
    /// before the start of the command.
    #[arg(long, value_name = "TIME", value_parser = time)]
    rested_before: Option<Millis>,
    /// Why, for the audit log, without a name or number.
    #[arg(long = "reason", value_name = "TEXT", value_parser = reason)]
    why: Option<Reason>,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    filter: CallFilter,
}

impl Requeue {
    pub fn run(self) -> Result<Exit, CliError> {
        let is_filter = !self.filter.is_empty()? || self.rested_before.is_some();
        if self.sids.is_empty() != is_filter {
            return Err(CliError::Usage(
                "choose calls: pass either CALLSIDs or a filter such as --state parked".to_owned(),
            ));
        }
        let config = self.config.load()?;
        if is_filter {
            self.requeue_many(&config)
        } else {
            self.requeue_these(&config)
        }
    }

    fn requeue_these(&self, config: &Config) -> Result<Exit, CliError> {
        // Fails if there is no store: opening it for writing would create a file.
        self.config.open_to_read()?;
        let mut exit = Exit::Done;
        app::block_on(async {
            let target = ActTarget::open(config, &self.operator)?;
            for sid in &self.sids {
                if target
                    .requeue(sid, self.why.as_ref())
                    .await
                    .map_err(anyhow::Error::from)?
                {
                    print_line(format_args!("{sid}  requeued"))?;
                } else {
                    note!("{sid}  not in the store");
                    exit = Exit::Partial;
                }
            }
            Ok::<_, CliError>(())
        })?;
        Ok(exit)
    }

    fn requeue_many(&self, config: &Config) -> Result<Exit, CliError> {
        // Calls that finish later are left out, so that a repeated command ends.
        let before = self.rested_before.unwrap_or(Clock::system().now());
        let calls = self.find(before)?;
        if calls.is_empty() {
            note!("no such calls");
            return Ok(Exit::Done);
        }
        note!("{}", summary(&calls));
        if !self.yes && !confirm(calls.len())? {
            note!("no call was requeued");
            return Ok(Exit::Done);
        }
        // Printed before the work, so that it is known even if the command is killed.
        note!("to resume, run the same command with --rested-before {before}");
        let sids: Vec<CallSid> = calls.into_iter().map(|call| call.sid).collect();
        requeue(config, &sids, self.rate, &self.operator, self.why.as_ref())
    }

    fn find(&self, before: Millis) -> Result<Vec<CallSummary>, CliError> {
        let (reader, rules) = self.config.open_to_read()?;
        let every = (Detail::Summary, usize::MAX);
        let found = self.filter.find(&*reader, &rules, every)?.into_iter();
        let state = self.filter.filter()?.state;
        let matching = found.map(|call| call.summary).filter(|call| {
            // A pending call will be sent anyway; requeueing it would only repeat what was accepted.
            let is_finished = !matches!(call.state, State::Pending | State::Claimed);
            call.changed < before && (is_finished || state == Some(call.state))
        });
        Ok(matching.collect())
    }
}

/// Requeues calls at a rate per second, until all are done or a signal stops it.
pub fn requeue(
    config: &Config,
    sids: &[CallSid],
    rate: NonZeroU32,
    operator: &OperatorArgs,
    reason: Option<&Reason>,
) -> Result<Exit, CliError> {
    let report = app::block_on(async {
        let target = ActTarget::open(config, operator)?;
        let stop = serve::stop_on_signals()?;
        let report = paced::requeue(&target, (sids, reason), rate, &stop).await?;
        Ok::<_, CliError>(report)
    })?;
    print_report(report, sids.len())
}

fn print_report(report: RequeueReport, all: usize) -> Result<Exit, CliError> {
    print_line(format_args!("{} of {all} calls requeued", report.requeued))?;
    if report.missing > 0 {
        note!(
            "no longer in the store: {}",
            counted(report.missing, "call")
        );
    }
    if report.is_stopped {
        note!("stopped; the other calls are unchanged");
    }
    Ok(if report.requeued == all {
        Exit::Done
    } else {
        Exit::Partial
    })
}

/// The number of calls, in total and per state.
fn summary(calls: &[CallSummary]) -> String {
    let in_state = |state| calls.iter().filter(|call| call.state == state).count();
    let states = State::ALL.into_iter().map(|state| (in_state(state), state));
    let states: Vec<String> = states
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let mut summary = format!("{}: {}", counted(calls.len(), "call"), states.join(", "));
    if in_state(State::Delivered) > 0 {
        summary.push_str("; Acquire receives the delivered calls again");
    }
    summary
}

/// Asks on the terminal for confirmation.
pub fn confirm(count: usize) -> Result<bool, CliError> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(CliError::Usage(
            "standard input is not a terminal; pass --yes to requeue without confirmation"
                .to_owned(),
        ));
    }
    eprint!("requeue {}? [y/N] ", counted(count, "call"));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `20` or `20/s`.
pub fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .map_err(|_| "must be a number of calls per second, such as 20/s".to_owned())
}
