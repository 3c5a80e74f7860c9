//! `show`: one call's story.

mod text;

use super::admin_client::AdminClient;
use super::{CliError, ConfigArgs, Exit, OutputFormat, environment, print_line, refused, spool};
use crate::app;
use crate::clock::Clock;
use crate::config::{self, SpoolSettings, StoreUrl};
use crate::debugging::timeline::CallTimeline;
use crate::domain::outage::Outage;
use crate::store::{ReadStore as _, SqliteReader, State, StoredCall};
use crate::twilio::CallSid;

/// Show what became of one call: its callbacks, the attempts at Acquire, and what the plan makes
/// of it; or a request that was refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge show CA00000000000000000000000000000001
  twilio-acquire-bridge show 7

Exits with 1 if the store has no callback of that CallSid; if requests that
name it were refused, it says which.")]
pub struct Show {
    #[command(flatten)]
    config: ConfigArgs,
    /// The SID of the call or of one of its legs; or the number of a refused request, as
    /// `list --refused` tells it.
    #[arg(value_name = "CALLSID", value_parser = asked)]
    asked: ShowTarget,
    /// As JSON, with the raw forms.
    #[arg(long)]
    json: bool,
}

/// What is to be shown.
#[derive(Clone, Debug)]
enum ShowTarget {
    Call(CallSid),
    Refused(i64),
}

impl Show {
    pub fn run(self) -> Result<Exit, CliError> {
        match &self.asked {
            ShowTarget::Call(sid) => self.show_call(sid),
            ShowTarget::Refused(id) => {
                let (reader, _) = self.config.open_to_read()?;
                let form = if self.json {
                    OutputFormat::Json
                } else {
                    OutputFormat::Text
                };
                refused::show(&*reader, *id, form)?;
                Ok(Exit::Done)
            }
        }
    }

    fn show_call(&self, sid: &CallSid) -> Result<Exit, CliError> {
        let (url, rules) = self.config.load_for_reading()?;
        let spool = self.config.load_spool()?;
        let call = match (self.known(sid), in_spool(&url, &spool, sid)) {
            (Ok(Some(call)), _) | (_, Some(call)) => call,
            (Err(why), None) => return Err(why),
            (Ok(None), None) => {
                let refused = refused::naming(&*self.config.open_to_read()?.0, sid)?;
                return Err(CliError::Failed(anyhow::anyhow!(
                    "no callback of {sid} was recorded in {url}; {refused}"
                )));
            }
        };
        let outage = match call.summary.state {
            State::Pending => self.outage(call.summary.sid.as_str()),
            _ => None,
        };
        let story = CallTimeline::of(&call, &rules, outage, Clock::system().now());
        if self.json {
            print_line(serde_json::to_string_pretty(&story)?)?;
        } else {
            print_line(text::of(&story).trim_end())?;
        }
        Ok(Exit::Done)
    }

    fn known(&self, sid: &CallSid) -> Result<Option<StoredCall>, CliError> {
        let (reader, _) = self.config.open_to_read()?;
        Ok(reader.get(sid)?)
    }

    /// What a running bridge alone knows; a look needs neither it nor its secrets.
    fn outage(&self, sid: &str) -> Option<Outage> {
        let admin = config::load_part(
            self.config.config.as_deref(),
            environment(),
            config::partial::admin,
        )
        .ok()?;
        let path = format!("/api/calls/{sid}");
        let told = app::block_on(async { AdminClient::of(&admin).look(&path).await })?;
        serde_json::from_value(told.get("outage")?.clone()).ok()
    }
}

/// The call as it waits on this machine for the database.
fn in_spool(url: &StoreUrl, spool: &SpoolSettings, sid: &CallSid) -> Option<StoredCall> {
    let path = spool::path(url, spool)?;
    // A spool that is not there, or may not be read, has nothing to show.
    let reader = SqliteReader::open_read_only(path).ok()?;
    reader.get(sid).ok()?.map(crate::store::spool::in_spool)
}

fn asked(text: &str) -> Result<ShowTarget, String> {
    match text.parse() {
        Ok(id) => Ok(ShowTarget::Refused(id)),
        Err(_) => sid(text).map(ShowTarget::Call),
    }
}

pub fn sid(text: &str) -> Result<CallSid, String> {
    CallSid::parse(text).map_err(|why| format!("a CallSid {why}"))
}
