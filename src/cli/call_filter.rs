//! The options that choose calls of the store.
//!
//! The search itself is in `debugging/search.rs`.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::{Clock, Millis};
use crate::config::duration;
use crate::debugging::search::CallSearch;
use crate::store::State;
use crate::twilio::{AccountSid, CallStatus};

/// Filters; a call must match all of them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which calls")]
pub struct CallFilter {
    /// Only calls in this state: pending, delivered, skipped or parked.
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// Only calls with a first callback at or after this time (UTC): 2026-01-31,
    /// 2026-01-31T09:30:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Millis>,
    /// Only calls with a first callback before this time (UTC).
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Millis>,
    /// Only calls of this Twilio account.
    #[arg(long, value_name = "ACCOUNTSID", value_parser = account)]
    account: Option<AccountSid>,
    /// Only calls from or to this number, in full (+12025550123), or address (client:jane).
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// Only calls with a leg for which Twilio reported this status, such as no-answer.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<CallStatus>,
    /// Only calls that are skipped or parked for a reason that contains this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl CallFilter {
    pub fn search(&self) -> CallSearch {
        CallSearch {
            state: self.state,
            since: self.since,
            until: self.until,
            account: self.account.clone(),
            number: self.number.clone(),
            status: self.status.clone(),
            reason: self.reason.clone(),
        }
    }
}

/// `claimed` is not offered: a claim exists only in the memory of a bridge, so a command reads a claimed
/// call as pending.
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

fn account(text: &str) -> Result<AccountSid, String> {
    AccountSid::parse(text).map_err(|why| format!("an AccountSid {why}"))
}

fn status(text: &str) -> Result<CallStatus, String> {
    match CallStatus::parse(text) {
        CallStatus::Unknown(_) => Err(
            "Twilio's statuses are queued, initiated, ringing, in-progress, completed, busy, \
             no-answer, canceled and failed"
                .to_owned(),
        ),
        known => Ok(known),
    }
}

/// A time, a day, or a duration before now.
pub fn time(text: &str) -> Result<Millis, String> {
    if let Some(ago) = duration::parse(text) {
        return Ok(Clock::system().now().minus(ago));
    }
    let moment = text.parse::<jiff::Timestamp>().ok();
    let day = || {
        let day = text.parse::<Date>().ok()?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let moment = moment.or_else(day);
    moment
        .map(|moment| Millis(moment.as_millisecond()))
        .ok_or_else(|| {
            "a time is 2026-01-31, 2026-01-31T09:30:00Z, or how long ago: 30m, 2h, 7d".to_owned()
        })
}
