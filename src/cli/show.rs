//! `show`: prints the timeline of one call, or a refused request.

mod text;

use super::admin_client::outage_of;
use super::output::{OutputArgs, OutputFormat, note, print_line, print_pretty_json, wrap};
use super::{CliError, ConfigArgs, Exit, refused, spool};
use crate::clock::Clock;
use crate::config::{SpoolSettings, StoreUrl, partial};
use crate::debugging::missing_call;
use crate::debugging::timeline::CallTimeline;
use crate::store::spool::with_spooled;
use crate::store::{ReadStore as _, SqliteReader, State, StoredCall};
use crate::twilio::CallSid;

/// Show one call: its callbacks, attempts, and what is sent and why.
///
/// With a number, shows a refused request. --json also prints the raw forms.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  twilio-acquire-bridge show CA00000000000000000000000000000001
  twilio-acquire-bridge show 7

Exits with 1 if the store has no callback of that CallSid; the error then names
a refused request for it, if one is kept.")]
pub struct Show {
    #[command(flatten)]
    config: ConfigArgs,
    /// SID of the call or of one of its legs; or number of a refused request, as printed by
    /// `list --refused`.
    #[arg(value_name = "CALLSID", value_parser = target)]
    target: ShowTarget,
    #[command(flatten)]
    output: OutputArgs,
}

/// The item to show.
#[derive(Clone, Debug)]
enum ShowTarget {
    Call(CallSid),
    Refused(i64),
}

impl Show {
    pub fn run(self) -> Result<Exit, CliError> {
        match &self.target {
            ShowTarget::Call(sid) => self.show_call(sid),
            ShowTarget::Refused(id) => {
                let (reader, _) = self.config.open_to_read()?;
                refused::show(&*reader, *id, self.output.format())?;
                Ok(Exit::Done)
            }
        }
    }

    fn show_call(&self, sid: &CallSid) -> Result<Exit, CliError> {
        let (url, rules) = self.config.load_part(partial::store_and_rules)?;
        let spool = self.config.load_part(partial::spool)?;
        // Both are read: during an outage only the spool may have the call.
        let calls = with_spooled(self.in_store(sid), in_spool(&url, &spool, sid))?;
        if calls.is_empty() {
            let reader = self.config.open_to_read()?.0;
            if let Some(removed) = reader.removed(sid)?.first() {
                return Err(CliError::Failed(anyhow::anyhow!(missing_call::fate(
                    sid, removed
                ))));
            }
            let hint = refused::hint(&*reader, sid)?;
            return Err(CliError::Failed(anyhow::anyhow!(
                "no callback of {sid} was recorded in {url}; {hint}"
            )));
        }
        let outage_of = outage_of(&self.config);
        let several = calls.len() > 1;
        for call in calls {
            if several {
                note!("call {sid} of account {}:", call.summary.account);
            }
            let outage = match call.summary.state {
                State::Pending => outage_of(&call.summary.account),
                _ => None,
            };
            let timeline = CallTimeline::of(&call, &rules, outage, Clock::system().now());
            match self.output.format() {
                OutputFormat::Json => print_pretty_json(&timeline)?,
                OutputFormat::Text => print_line(text::of(&timeline).trim_end())?,
            }
        }
        if self.output.format() == OutputFormat::Text {
            // A call may lack a callback that the bridge refused.
            let naming = self
                .config
                .open_to_read()
                .and_then(|(reader, _)| refused::naming(&*reader, sid));
            if let Some(summary) = naming.ok().as_deref().and_then(missing_call::summary) {
                print_line(format_args!("\n{}", wrap(&summary, 0)))?;
            }
        }
        Ok(Exit::Done)
    }

    /// One for each account.
    fn in_store(&self, sid: &CallSid) -> Result<Vec<StoredCall>, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        Ok(reader.get_all(sid)?)
    }
}

/// The calls in the spool of this machine. A spool that is missing or unreadable is no reason to fail: the
/// store may have the call.
fn in_spool(url: &StoreUrl, spool: &SpoolSettings, sid: &CallSid) -> Vec<StoredCall> {
    let reader = spool::path(url, spool).map(SqliteReader::open_read_only);
    let calls = reader.and_then(|reader| reader.ok()?.get_all(sid).ok());
    calls.unwrap_or_default()
}

fn target(text: &str) -> Result<ShowTarget, String> {
    match text.parse() {
        Ok(id) => Ok(ShowTarget::Refused(id)),
        Err(_) => sid(text).map(ShowTarget::Call),
    }
}

pub fn sid(text: &str) -> Result<CallSid, String> {
    CallSid::parse(text).map_err(|why| format!("a CallSid {why}"))
}
