//! `show`: one call's story.

mod text;

use super::running::Running;
use super::{ConfigArgs, Exit, Failure, say};
use crate::app;
use crate::clock::Clock;
use crate::config::{Spool, StoreUrl};
use crate::outage::Outage;
use crate::store::{self, SqliteReader, State, StoredCall, spooled};
use crate::story::Story;
use crate::twilio::CallSid;

/// Show what became of one call: its callbacks, the attempts at Acquire, and what the plan makes
/// of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  twilio-acquire-bridge show CA00000000000000000000000000000001

Exits with 1 if the store has no callback of that CallSid.")]
pub struct Show {
    #[command(flatten)]
    config: ConfigArgs,
    /// The SID of the call or of one of its legs.
    #[arg(value_name = "CALLSID", value_parser = sid)]
    sid: CallSid,
    /// As JSON, with the raw forms.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub fn run(self) -> Result<Exit, Failure> {
        let (url, rules) = self.config.load_for_reading()?;
        let spool = self.config.load_spool()?;
        let call = match (known(&url, &self.sid), in_spool(&url, &spool, &self.sid)) {
            (Ok(Some(call)), _) | (_, Some(call)) => call,
            (Err(why), None) => return Err(why),
            (Ok(None), None) => {
                return Err(Failure::Failed(anyhow::anyhow!(
                    "no callback of {} was recorded in {url}",
                    self.sid
                )));
            }
        };
        let outage = match call.summary.state {
            State::Pending => self.outage(call.summary.sid.as_str()),
            _ => None,
        };
        let story = Story::of(&call, &rules, outage, Clock::system().now());
        if self.json {
            say(serde_json::to_string_pretty(&story)?)?;
        } else {
            say(text::of(&story).trim_end())?;
        }
        Ok(Exit::Done)
    }

    /// What a running bridge alone knows; a look needs neither it nor its secrets.
    fn outage(&self, sid: &str) -> Option<Outage> {
        let config = self.config.load().ok()?;
        let path = format!("/api/calls/{sid}");
        let told = app::block_on(async { Running::of(&config).look(&path).await })?;
        serde_json::from_value(told.get("outage")?.clone()).ok()
    }
}

fn known(url: &StoreUrl, sid: &CallSid) -> Result<Option<StoredCall>, Failure> {
    Ok(store::open_to_read(url)?.get(sid)?)
}

/// The call as it waits on this machine for the database.
fn in_spool(url: &StoreUrl, spool: &Spool, sid: &CallSid) -> Option<StoredCall> {
    let (StoreUrl::Postgres(_), Spool::At(path)) = (url, spool) else {
        return None;
    };
    // A spool that is not there, or may not be read, has nothing to show.
    let reader = SqliteReader::open_read_only(path).ok()?;
    reader.get(sid).ok()?.map(spooled::in_spool)
}

pub fn sid(text: &str) -> Result<CallSid, String> {
    CallSid::parse(text).map_err(|why| format!("a CallSid {why}"))
}
