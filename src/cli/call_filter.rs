//! The options that choose calls of the store. Their values are read in `domain/call_filter.rs`.

use std::sync::Arc;

use crate::clock::{Clock, Millis};
use crate::debugging::search;
use crate::domain::call_filter::{self, FilterKey, FilterSource};
use crate::domain::plan::Rules;
use crate::store::{CallQuery, Detail, ReadStore, StoreError, StoredCall};

/// Filters; a call must match all of them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which calls")]
pub struct CallFilter {
    /// Only calls in this state: pending, delivered, skipped or parked.
    #[arg(long, value_name = "STATE", value_parser = reads(FilterKey::State))]
    state: Option<String>,
    /// Only calls that are skipped or parked for this cause, such as refused-422.
    #[arg(long = "why", value_name = "CAUSE", value_parser = reads(FilterKey::Cause))]
    cause: Option<String>,
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
    /// The filters as the search box reads them.
    pub fn filter(&self) -> call_filter::CallFilter {
        let now = Clock::system().now();
        let mut filter = call_filter::CallFilter::default();
        for (key, value) in [
            (FilterKey::State, &self.state),
            (FilterKey::Cause, &self.cause),
            (FilterKey::Since, &self.since),
            (FilterKey::Until, &self.until),
            (FilterKey::Account, &self.account),
            (FilterKey::Address, &self.number),
            (FilterKey::Status, &self.status),
            (FilterKey::Reason, &self.reason),
        ] {
            if let Some(value) = value {
                // Each value was read before, and each key is set once.
                let _ = filter.set(key.as_str(), value, now, FilterSource::Typed);
            }
        }
        filter
    }

    pub fn is_empty(&self) -> bool {
        self.filter().is_empty()
    }

    /// The query of the calls that match.
    pub fn query(
        &self,
        reader: &dyn ReadStore,
        rules: &Rules,
        detail: Detail,
    ) -> Result<CallQuery, StoreError> {
        let hasher = reader.address_hasher()?;
        let filter = self.filter().resolved(&hasher, Clock::system().now());
        let query = search::query(&filter, &hasher, &Arc::new(rules.clone()), 0);
        Ok(CallQuery { detail, ..query })
    }

    /// The calls that match, at most `limit`, in the order of the list.
    pub fn find(
        &self,
        reader: &dyn ReadStore,
        rules: &Rules,
        (detail, limit): (Detail, usize),
    ) -> Result<Vec<StoredCall>, StoreError> {
        let query = self.query(reader, rules, detail)?;
        let mut calls = Vec::new();
        search::each(reader, query, limit, &mut |call| calls.push(call))?;
        Ok(calls)
    }
}

fn reads(
    key: FilterKey,
) -> impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static {
    move |text| {
        let mut filter = call_filter::CallFilter::default();
        filter
            .set(
                key.as_str(),
                text,
                Clock::system().now(),
                FilterSource::Typed,
            )
            .map(|()| text.to_owned())
            .map_err(|why| why.to_string())
    }
}

/// A time, a day, or a duration before now.
pub fn time(text: &str) -> Result<Millis, String> {
    call_filter::parse_time(text, Clock::system().now()).ok_or_else(|| {
        "a time is 2026-01-31, 2026-01-31T09:30:00Z, or how long ago: 30m, 2h, 7d".to_owned()
    })
}
