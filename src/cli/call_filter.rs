//! The options that choose calls of the store. Their values are read in `domain/call_filter.rs`.

use std::str::FromStr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::CliError;
use super::output::time_bar;
use super::watched::{not_all_read, watched};
use crate::clock::{Clock, Millis};
use crate::debugging::search::{CallSearch, OutageOf};
use crate::domain::call_filter::{self, FilterKey, FilterSource};
use crate::domain::plan::Rules;
use crate::domain::subject::Subject;
use crate::store::{Detail, ReadStore, StoredCall};

/// Filters; a call must match all of them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which calls")]
pub struct CallFilter {
    /// Only calls in this state: pending, claimed (being sent), delivered, skipped or parked.
    #[arg(long, value_name = "STATE", value_parser = reads(FilterKey::State))]
    state: Option<String>,
    /// Only calls that are skipped or parked for this cause, such as refused-422.
    #[arg(long, value_name = "CAUSE")]
    pub cause: Option<String>,
    /// Only pending calls that wait for this: recording, legs, retry, or acquire (known to a running
    /// bridge only).
    #[arg(long, value_name = "WHAT", value_parser = reads(FilterKey::Wait))]
    wait: Option<String>,
    /// Only calls with a first callback at or after this time (UTC): 2026-01-31,
    /// 2026-01-31T09:30:00Z, today, yesterday, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = reads(FilterKey::Since))]
    since: Option<String>,
    /// Only calls with a first callback before this time (UTC).
    #[arg(long, value_name = "TIME", value_parser = reads(FilterKey::Until))]
    until: Option<String>,
    /// Only calls of this Twilio account.
    #[arg(long, value_name = "ACCOUNTSID", value_parser = reads(FilterKey::Account))]
    account: Option<String>,
    /// Only calls from or to this number, in full (+12025550123) or its last four or more digits (of
    /// the last 24 hours, without --since), this address (client:jane), or this agent's e-mail.
    #[arg(long, value_name = "NUMBER", value_parser = reads(FilterKey::Address))]
    number: Option<String>,
    /// Only calls with a leg for which Twilio reported this status, such as no-answer.
    #[arg(long, value_name = "STATUS", value_parser = reads(FilterKey::Status))]
    status: Option<String>,
    /// Only calls that are skipped or parked for a reason that contains this text.
    #[arg(long, value_name = "TEXT", value_parser = reads(FilterKey::Reason))]
    reason: Option<String>,
}

impl CallFilter {
    /// The filters as an object of the API.
    pub fn json(&self) -> serde_json::Value {
        let set = self.pairs().into_iter();
        let set =
            set.filter_map(|(key, value)| Some((key.as_str().to_owned(), value.clone()?.into())));
        serde_json::Value::Object(set.collect())
    }

    fn pairs(&self) -> [(FilterKey, &Option<String>); 9] {
        [
            (FilterKey::State, &self.state),
            (FilterKey::Cause, &self.cause),
            (FilterKey::Wait, &self.wait),
            (FilterKey::Since, &self.since),
            (FilterKey::Until, &self.until),
            (FilterKey::Account, &self.account),
            (FilterKey::Address, &self.number),
            (FilterKey::Status, &self.status),
            (FilterKey::Reason, &self.reason),
        ]
    }

    /// The filters as the search box reads them.
    pub fn filter(&self) -> Result<call_filter::CallFilter, CliError> {
        let mut filter = call_filter::CallFilter::default();
        for (key, value) in self.pairs() {
            if let Some(value) = value {
                set(&mut filter, key, value).map_err(CliError::Usage)?;
            }
        }
        Ok(filter)
    }

    /// The person whose data an access request asks for: a number in full, or an e-mail, and no other filter.
    pub fn subject(&self) -> Option<Subject> {
        let mut set = self
            .pairs()
            .into_iter()
            .filter(|(_, value)| value.is_some());
        let (Some((FilterKey::Address, Some(value))), None) = (set.next(), set.next()) else {
            return None;
        };
        let subject = Subject::parse_any(value).ok();
        subject.filter(|subject| !matches!(subject, Subject::Call(_)))
    }

    pub fn is_empty(&self) -> Result<bool, CliError> {
        Ok(self.filter()?.is_empty())
    }

    /// The search for the calls that match.
    pub fn search(
        &self,
        reader: &dyn ReadStore,
        rules: &Rules,
        outage_of: OutageOf,
    ) -> Result<CallSearch, CliError> {
        let view = (Arc::new(rules.clone()), outage_of);
        let (filter, hasher) = (self.filter()?, reader.address_hasher()?);
        Ok(CallSearch::new(filter, hasher, view, Clock::system().now()))
    }

    /// The calls that match, at most `limit`, in the order of the list.
    pub fn find(
        &self,
        reader: &dyn ReadStore,
        rules: &Rules,
        wanted: (Detail, usize),
    ) -> Result<Vec<StoredCall>, CliError> {
        let mut calls = Vec::new();
        let search = self.search(reader, rules, Arc::new(|_| None))?;
        let bar = time_bar("reading the calls");
        watched(
            &bar,
            || 0,
            not_all_read,
            || search.each(reader, wanted, &mut |call| calls.push(call)),
        )??;
        Ok(calls)
    }
}

fn set(filter: &mut call_filter::CallFilter, key: FilterKey, value: &str) -> Result<(), String> {
    let now = Clock::system().now();
    let set = filter.set(key.as_str(), value, now, FilterSource::Typed);
    set.map_err(|why| why.to_string())
}

fn reads(
    key: FilterKey,
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text| {
        let mut filter = call_filter::CallFilter::default();
        match set(&mut filter, key, text) {
            Ok(()) => Ok(text.to_owned()),
            // The command line names the option itself.
            Err(why) => Err(why.trim_start_matches(&format!("{key}: ")).to_owned()),
        }
    }
}

/// A whole number; the standard library's message about a wrong one is for programmers.
pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let why = "give a whole number from 1 to 4294967295";
    text.parse().map_err(|_| why.to_owned())
}

/// A time, a day (also `today` and `yesterday`), or a duration before now.
pub fn time(text: &str) -> Result<Millis, String> {
    time_in(text, &TimeZone::UTC)
}

/// As [`time`], with the days of a time zone.
pub fn time_in(text: &str, zone: &TimeZone) -> Result<Millis, String> {
    call_filter::parse_time(text, Clock::system().now(), zone).ok_or_else(|| {
        "a time is today, yesterday, 2026-01-31, 2026-01-31T09:30:00Z, or how long ago: 30m, 2h, 7d"
            .to_owned()
    })
}
