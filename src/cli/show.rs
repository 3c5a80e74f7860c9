//! `show`: one call's story.

use std::fmt::Write as _;

use super::{ConfigArgs, Exit, Failure, say};
use crate::clock::Clock;
use crate::store;
use crate::story::{Due, Story};
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
        let reader = store::open_to_read(&url)?;
        let Some(call) = reader.get(&self.sid)? else {
            return Err(Failure::Failed(anyhow::anyhow!(
                "no callback of {} was recorded in {url}",
                self.sid
            )));
        };
        let story = Story::of(&call, &rules, Clock::system().now());
        if self.json {
            say(serde_json::to_string_pretty(&story)?)?;
        } else {
            say(as_text(&story).trim_end())?;
        }
        Ok(Exit::Done)
    }
}

pub fn sid(text: &str) -> Result<CallSid, String> {
    CallSid::parse(text).map_err(|why| format!("a CallSid {why}"))
}

fn as_text(story: &Story) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, story);
    text
}

fn write(text: &mut String, story: &Story) -> std::fmt::Result {
    let line = &story.line;
    write!(text, "{}  {}", line.call_sid, line.state)?;
    match (&line.due, &line.reason) {
        (Some(due), _) => writeln!(text, ", due {due}")?,
        (None, Some(reason)) => writeln!(text, ": {reason}")?,
        (None, None) => writeln!(text)?,
    }
    writeln!(
        text,
        "account {}, last change {}",
        line.account_sid, line.changed
    )?;

    writeln!(text, "\ncallbacks from Twilio")?;
    for callback in &story.callbacks {
        let number = callback
            .sequence_number
            .map(|n| format!(" #{n}"))
            .unwrap_or_default();
        let what = match callback.kind {
            "recording" => "recording ",
            _ => "",
        };
        writeln!(
            text,
            "  {}  {what}{}{number}",
            callback.received, callback.call_status
        )?;
        if callback.kind == "recording" {
            writeln!(text, "    of leg {}", callback.leg)?;
        } else {
            writeln!(
                text,
                "    leg {}  {} -> {}",
                callback.leg, callback.from, callback.to
            )?;
        }
        if let Some(recording) = &callback.recording {
            writeln!(text, "    {recording}")?;
        }
        if let Some(parent) = &callback.parent {
            writeln!(text, "    dialled by {parent}")?;
        }
    }

    writeln!(text, "\nattempts at Acquire")?;
    if story.attempts.is_empty() {
        writeln!(text, "  none")?;
    }
    for attempt in &story.attempts {
        let status = attempt
            .status
            .map_or_else(|| "no answer".to_owned(), |s| s.to_string());
        let fault = attempt
            .fault
            .map(|fault| format!(" ({fault})"))
            .unwrap_or_default();
        let old = if attempt.before_requeue {
            ", before the requeue"
        } else {
            ""
        };
        writeln!(
            text,
            "  {}  {}{fault}, {status} in {} ms{old}",
            attempt.at, attempt.verdict, attempt.duration_ms
        )?;
        writeln!(text, "    sent   {}", attempt.sent)?;
        writeln!(text, "    answer {}", attempt.answer)?;
        if let Some(then) = &attempt.then {
            writeln!(text, "    then   {then}")?;
        }
    }

    writeln!(text, "\nwhat the plan makes of it")?;
    for due in &story.owed {
        match due {
            Due::Send {
                kind,
                request,
                because,
                waits,
                ..
            } => {
                writeln!(text, "  {kind} {request}")?;
                for why in because.iter().chain(waits) {
                    writeln!(text, "    {why}")?;
                }
            }
            Due::Undecided { why } => writeln!(text, "  not decided yet: {why}")?,
            Due::Nothing { why } => writeln!(text, "  nothing: {why}")?,
            Due::Unmappable { why } => writeln!(text, "  cannot be sent: {why}")?,
        }
    }
    Ok(())
}
