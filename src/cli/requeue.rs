//! `requeue`: makes all requests of calls owed again.

mod paced;
mod target;

use std::io::{IsTerminal as _, stderr, stdin};
use std::num::NonZeroU32;

use self::paced::RequeueReport;
use self::target::RequeueTarget;
use super::call_filter::{CallFilter, time};
use super::{CliError, ConfigArgs, Exit, print_line, serve};
use crate::app;
use crate::clock::{Clock, Millis};
use crate::config::Config;
use crate::domain::plural::counted;
use crate::store::{CallSummary, State};
use crate::twilio::CallSid;

const EXAMPLE: &str = "Examples:
  twilio-acquire-bridge requeue CA00000000000000000000000000000001
  twilio-acquire-bridge requeue --state parked --reason 401 --rate 20/s

With filters it says how many calls they are and asks. Calls that are pending
are owed anyway and left alone, unless --state pending asks for them. New calls
are sent before requeued ones. A bridge that restarts meanwhile is waited for,
up to a minute. Ctrl-C stops it, and what is done stays done; the same command
goes on, with --rested-before where it is to leave out what was delivered,
skipped or parked again meanwhile. Exits with 3 if some of the calls are not in
the store, or it was stopped.";

/// Make all requests of calls owed again, also those that Acquire took, on a fresh schedule.
///
/// Asks the bridge that owns the store to do it; where none runs, the store itself is written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Requeue {
    #[command(flatten)]
    config: ConfigArgs,
    /// The SIDs of calls, or of legs of them; without any, all calls that the filters admit.
    #[arg(value_name = "CALLSID", value_parser = super::show::sid)]
    sids: Vec<CallSid>,
    /// Calls requeued per second while a bridge may send them.
    #[arg(long, value_name = "N/s", default_value = "50/s", value_parser = rate)]
    rate: NonZeroU32,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only calls that came to rest before this time; without it, before the command began.
    #[arg(long, value_name = "TIME", value_parser = time)]
    rested_before: Option<Millis>,
    #[command(flatten)]
    which: CallFilter,
}

impl Requeue {
    pub fn run(self) -> Result<Exit, CliError> {
        let is_filter = !self.which.search().is_empty() || self.rested_before.is_some();
        if self.sids.is_empty() != is_filter {
            return Err(CliError::Usage(
                "say which calls: either their CALLSIDs, or a filter such as --state parked"
                    .to_owned(),
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
        // A store that is not there must not be made: the answer would be wrong, and so its owner.
        self.config.open_to_read()?;
        let mut exit = Exit::Done;
        app::block_on(async {
            let door = RequeueTarget::open(config)?;
            for sid in &self.sids {
                if door.requeue(sid).await.map_err(anyhow::Error::from)? {
                    print_line(format_args!("{sid}  requeued"))?;
                } else {
                    eprintln!("{sid}  not in the store");
                    exit = Exit::Partial;
                }
            }
            Ok::<_, CliError>(())
        })?;
        Ok(exit)
    }

    fn requeue_many(&self, config: &Config) -> Result<Exit, CliError> {
        let before = self.rested_before.unwrap_or(Clock::system().now());
        let calls = self.find(before)?;
        if calls.is_empty() {
            eprintln!("no such calls");
            return Ok(Exit::Done);
        }
        eprintln!("{}", summary(&calls));
        if !self.yes && !confirm(calls.len())? {
            eprintln!("nothing is requeued");
            return Ok(Exit::Done);
        }
        eprintln!("to go on if cut short: the same with --rested-before {before}");
        let sids: Vec<CallSid> = calls.into_iter().map(|call| call.sid).collect();
        requeue(config, &sids, self.rate)
    }

    fn find(&self, before: Millis) -> Result<Vec<CallSummary>, CliError> {
        let search = self.which.search();
        let (reader, _) = self.config.open_to_read()?;
        let found = search.run(&*reader, usize::MAX)?;
        let admitted = found.into_iter().filter(|call| {
            let is_at_rest = !matches!(call.state, State::Pending | State::Claimed);
            call.changed < before && (is_at_rest || search.state == Some(call.state))
        });
        Ok(admitted.collect())
    }
}

/// At a rate per second, until all are done or it is stopped.
pub fn requeue(config: &Config, sids: &[CallSid], rate: NonZeroU32) -> Result<Exit, CliError> {
    let done = app::block_on(async {
        let door = RequeueTarget::open(config)?;
        let stop = serve::stop_on_signals()?;
        let done = paced::requeue(&door, sids, rate, &stop).await?;
        Ok::<_, CliError>(done)
    })?;
    report(done, sids.len())
}

fn report(done: RequeueReport, all: usize) -> Result<Exit, CliError> {
    print_line(format_args!("{} of {all} calls requeued", done.requeued))?;
    if done.missing > 0 {
        eprintln!("purged meanwhile: {}", counted(done.missing, "call"));
    }
    if done.is_stopped {
        eprintln!("stopped; the others are as they were");
    }
    Ok(if done.requeued == all {
        Exit::Done
    } else {
        Exit::Partial
    })
}

/// How many there are, and in which states.
fn summary(calls: &[CallSummary]) -> String {
    let of = |state| calls.iter().filter(|call| call.state == state).count();
    let states = State::ALL.into_iter().map(|state| (of(state), state));
    let states: Vec<String> = states
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    let mut told = format!("{}: {}", counted(calls.len(), "call"), states.join(", "));
    if of(State::Delivered) > 0 {
        told.push_str("; Acquire gets again what it took");
    }
    told
}

/// Whether somebody at the terminal wants it.
pub fn confirm(count: usize) -> Result<bool, CliError> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(CliError::Usage(
            "nobody is there to be asked; say --yes to requeue them".to_owned(),
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
