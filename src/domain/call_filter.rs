//! The filter of calls, and its one parser for the search box, URLs, the API and the command line.
//!
//! It knows no store: what a filter matches is decided where the calls are read.

use std::fmt;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::audit::{Reason, ReasonError};
use super::call_addresses::{AddressHasher, HashedAddress, TypedAddress, TypedAddressError};
use super::call_state::State;
use super::cause::Cause;
use super::duration;
use crate::clock::Millis;
use crate::twilio::{AccountSid, CallSid, CallStatus};

/// Schemes of addresses: words that start with them are no filters.
const SCHEMES: [&str; 6] = ["client", "sip", "sips", "tel", "whatsapp", "messenger"];

/// How far back the last digits of a number are searched, unless a time is given.
const LAST_DIGITS_RANGE: Duration = Duration::from_secs(24 * 3_600);

words! {
    /// A key of the filter: a word `key:value` of the search box, a query key, a field of the API.
    pub enum FilterKey {
        State = "state",
        Cause = "cause",
        Wait = "wait",
        Reason = "reason",
        Status = "status",
        Account = "account",
        Since = "since",
        Until = "until",
        Address = "address",
    }
}

words! {
    /// What a pending call waits for.
    #[derive(serde::Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Waiting {
        Recording = "recording",
        /// Other callbacks of the call.
        Legs = "legs",
        /// The time of its next attempt.
        Retry = "retry",
        /// The end of an outage of Acquire.
        Acquire = "acquire",
    }
}

/// Why a text is no filter: a sentence for the page, the API and the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFilterError {
    #[error("there is no filter \"{0}\"; the filters are {known}", known = keys())]
    UnknownKey(String),
    #[error("the filter {0} is given twice")]
    Repeated(FilterKey),
    #[error("{0} must be one of {1}")]
    NotOneOf(FilterKey, String),
    #[error(
        "{} must be a code such as refused-422, unclear, schedule-used-up, no-to or dismissed",
        FilterKey::Cause
    )]
    Cause,
    #[error(
        "{}: an AccountSid is AC and 32 hexadecimal digits",
        FilterKey::Account
    )]
    Account,
    #[error(
        "{0}: a time is today, yesterday, 2026-01-31, 2026-01-31T09:30:00Z, or how long ago: 30m, 2h, 7d"
    )]
    Time(FilterKey),
    #[error("{} must not be after {}", FilterKey::Since, FilterKey::Until)]
    Reversed,
    #[error("{0} needs a text")]
    Empty(FilterKey),
    #[error(
        "{} must not have a number or an e-mail: URLs and the audit log have it",
        FilterKey::Reason
    )]
    Personal,
    #[error("the address {0}")]
    Address(#[from] TypedAddressError),
    #[error(
        "an address in a URL is a hash that the bridge made; enter a number in the search box, or send it \
         with POST /api/calls/search"
    )]
    AddressInUrl,
    #[error("a CallSid is CA and 32 hexadecimal digits, and allows no other filter beside it")]
    CallSid,
}

fn keys() -> String {
    FilterKey::ALL.map(FilterKey::as_str).join(", ")
}

/// Filters; a call must match all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    pub state: Option<State>,
    /// Why the call is skipped or parked.
    pub cause: Option<Cause>,
    pub wait: Option<Waiting>,
    /// Part of the reason why the call is skipped or parked; case is ignored.
    pub reason: Option<String>,
    /// A status that Twilio reported for any leg.
    pub status: Option<CallStatus>,
    pub account: Option<AccountSid>,
    /// First received at this time or later.
    pub since: Option<Millis>,
    /// First received before this time.
    pub until: Option<Millis>,
    /// On either side of any leg, or the e-mail of its agent.
    pub address: Option<FilterAddress>,
}

/// An address as it was typed, or as a URL has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterAddress {
    Typed(TypedAddress),
    Hashed(HashedAddress),
}

/// Where the text of a filter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterSource {
    /// The box, the body of a request, or the command line.
    Typed,
    /// A URL: histories and logs of proxies have it, so it has no address.
    Url,
}

/// What an operator typed into the search box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The call or the leg with this SID.
    Call(CallSid),
    Calls(CallFilter),
}

impl Search {
    /// Reads words: `key:value` are filters, where a value with spaces is in quotes; the others are one
    /// address, or a `CallSid`.
    pub fn parse(text: &str, now: Millis) -> Result<Self, CallFilterError> {
        let mut filter = CallFilter::default();
        let mut rest = Vec::new();
        for word in words(text) {
            match word.split_once(':') {
                Some((key, value)) if is_key(key) => {
                    let value = value.trim_matches('"');
                    filter.set(&key.to_ascii_lowercase(), value, now, FilterSource::Typed)?;
                }
                _ => rest.push(word),
            }
        }
        let address = rest.join(" ");
        if address.starts_with("CA") && address.len() == 34 {
            let sid = CallSid::parse(&address).map_err(|_| CallFilterError::CallSid)?;
            return if filter.is_empty() {
                Ok(Self::Call(sid))
            } else {
                Err(CallFilterError::CallSid)
            };
        }
        if !address.is_empty() {
            let key = FilterKey::Address.as_str();
            filter.set(key, &address, now, FilterSource::Typed)?;
        }
        Ok(Self::Calls(filter))
    }
}

/// Words between spaces; a space in quotes separates nothing.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        is_quoted ^= c == '"';
        if c.is_whitespace() && !is_quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn is_key(text: &str) -> bool {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word && !SCHEMES.contains(&text.to_ascii_lowercase().as_str())
}

impl CallFilter {
    /// Sets one filter.
    pub fn set(
        &mut self,
        key: &str,
        value: &str,
        now: Millis,
        source: FilterSource,
    ) -> Result<(), CallFilterError> {
        let unknown = || CallFilterError::UnknownKey(key.chars().take(40).collect());
        let key = FilterKey::parse(key).ok_or_else(unknown)?;
        let value = value.trim();
        match key {
            FilterKey::State => put(&mut self.state, key, one_of(key, State::ALL, value)),
            FilterKey::Wait => put(&mut self.wait, key, one_of(key, Waiting::ALL, value)),
            FilterKey::Cause => {
                let cause = Cause::parse(value).ok_or(CallFilterError::Cause);
                put(&mut self.cause, key, cause)
            }
            FilterKey::Reason => put(&mut self.reason, key, reason(value)),
            FilterKey::Status => put(&mut self.status, key, status(value)),
            FilterKey::Account => {
                let account = AccountSid::parse(value).map_err(|_| CallFilterError::Account);
                put(&mut self.account, key, account)
            }
            FilterKey::Since => put(&mut self.since, key, time(key, value, now)),
            FilterKey::Until => put(&mut self.until, key, time(key, value, now)),
            FilterKey::Address => put(&mut self.address, key, address(value, source)),
        }?;
        match (self.since, self.until) {
            (Some(since), Some(until)) if since > until => Err(CallFilterError::Reversed),
            _ => Ok(()),
        }
    }

    /// The filter as the store and URLs have it: the address is hashed, last digits have a time range, and a
    /// call that waits is pending.
    pub fn resolved(mut self, hasher: &AddressHasher, now: Millis) -> Self {
        if let Some(FilterAddress::Typed(typed)) = &self.address {
            self.address = Some(FilterAddress::Hashed(typed.hashed(hasher)));
        }
        if let Some(HashedAddress::LastDigits { .. }) = self.hashed_address()
            && self.since.is_none()
        {
            self.since = Some(self.until.unwrap_or(now).minus(LAST_DIGITS_RANGE));
        }
        if self.wait.is_some() && self.state.is_none() {
            self.state = Some(State::Pending);
        }
        self
    }

    /// The address of a [resolved](Self::resolved) filter.
    pub fn hashed_address(&self) -> Option<HashedAddress> {
        match self.address {
            Some(FilterAddress::Hashed(hashed)) => Some(hashed),
            _ => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the callbacks of a call decide, and not its row alone.
    pub fn needs_callbacks(&self) -> bool {
        self.address.is_some() || self.status.is_some() || self.wait.is_some()
    }

    /// The filters that are set, as query keys and values of a URL; times are absolute.
    pub fn pairs(&self) -> Vec<(FilterKey, String)> {
        let pairs = [
            (FilterKey::State, shown(self.state)),
            (FilterKey::Cause, shown(self.cause)),
            (FilterKey::Wait, shown(self.wait)),
            (FilterKey::Reason, self.reason.clone()),
            (FilterKey::Status, shown(self.status.as_ref())),
            (FilterKey::Account, shown(self.account.as_ref())),
            (FilterKey::Since, shown(self.since)),
            (FilterKey::Until, shown(self.until)),
            (FilterKey::Address, shown(self.hashed_address())),
        ];
        let set = pairs.into_iter();
        set.filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The same filters but this one.
    pub fn without(&self, key: FilterKey) -> Self {
        let mut filter = self.clone();
        match key {
            // A call that waits is pending.
            FilterKey::State => (filter.state, filter.wait) = (None, None),
            FilterKey::Cause => filter.cause = None,
            FilterKey::Wait => filter.wait = None,
            FilterKey::Reason => filter.reason = None,
            FilterKey::Status => filter.status = None,
            FilterKey::Account => filter.account = None,
            FilterKey::Since => filter.since = None,
            FilterKey::Until => filter.until = None,
            FilterKey::Address => filter.address = None,
        }
        filter
    }

    /// The query of a URL that has these filters, without `?`; empty without filters.
    pub fn query(&self) -> String {
        let pairs = self.pairs().into_iter();
        let pairs: Vec<_> = pairs.map(|(key, value)| (key.as_str(), value)).collect();
        serde_urlencoded::to_string(pairs).unwrap_or_default()
    }
}

/// Words for messages and audit rows: `state:parked since:2026-01-31T00:00:00.000Z`, with an address as its
/// hash.
impl fmt::Display for CallFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, value)) in self.pairs().into_iter().enumerate() {
            let gap = if n == 0 { "" } else { " " };
            let quote = if value.contains(' ') { "\"" } else { "" };
            write!(f, "{gap}{}:{quote}{value}{quote}", key.as_str())?;
        }
        Ok(())
    }
}

fn put<T>(
    place: &mut Option<T>,
    key: FilterKey,
    value: Result<T, CallFilterError>,
) -> Result<(), CallFilterError> {
    match place.replace(value?) {
        None => Ok(()),
        Some(_) => Err(CallFilterError::Repeated(key)),
    }
}

fn shown(value: Option<impl fmt::Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// The value with this word.
fn one_of<T: Copy + fmt::Display, const N: usize>(
    key: FilterKey,
    all: [T; N],
    word: &str,
) -> Result<T, CallFilterError> {
    let found = all.into_iter().find(|known| known.to_string() == word);
    let words = || all.map(|known| known.to_string()).join(", ");
    found.ok_or_else(|| CallFilterError::NotOneOf(key, words()))
}

fn reason(text: &str) -> Result<String, CallFilterError> {
    match Reason::parse(text) {
        _ if text.is_empty() => Err(CallFilterError::Empty(FilterKey::Reason)),
        Err(ReasonError::Personal) => Err(CallFilterError::Personal),
        _ => Ok(text.to_lowercase()),
    }
}

fn address(text: &str, source: FilterSource) -> Result<FilterAddress, CallFilterError> {
    match source {
        FilterSource::Typed => Ok(FilterAddress::Typed(TypedAddress::parse(text)?)),
        FilterSource::Url => HashedAddress::parse(text)
            .map(FilterAddress::Hashed)
            .ok_or(CallFilterError::AddressInUrl),
    }
}

fn status(text: &str) -> Result<CallStatus, CallFilterError> {
    match CallStatus::parse(text) {
        CallStatus::Unknown(_) => {
            let known = "queued, initiated, ringing, in-progress, completed, busy, no-answer, \
                         canceled, failed";
            Err(CallFilterError::NotOneOf(
                FilterKey::Status,
                known.to_owned(),
            ))
        }
        known => Ok(known),
    }
}

/// A time, a day (UTC), `today`, `yesterday`, or a duration before now.
fn time(key: FilterKey, text: &str, now: Millis) -> Result<Millis, CallFilterError> {
    parse_time(text, now, &TimeZone::UTC).ok_or(CallFilterError::Time(key))
}

/// A time, how long ago, or the start of a day in a time zone. The one parser of times for commands, pages
/// and the API.
pub fn parse_time(text: &str, now: Millis, zone: &TimeZone) -> Option<Millis> {
    if let Some(ago) = duration::parse(text) {
        return Some(now.minus(ago));
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Millis(moment.as_millisecond()));
    }
    let today = || {
        let now = jiff::Timestamp::from_millisecond(now.0).ok()?;
        Some(now.to_zoned_datetime(zone.clone()).date())
    };
    let day = match text {
        "today" => today()?,
        "yesterday" => today()?.checked_sub(1.day()).ok()?,
        day => day.parse::<Date>().ok()?,
    };
    let start = day.to_zoned_datetime(zone.clone()).ok()?.timestamp();
    Some(Millis(start.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T09:30:00Z";

    fn now() -> Millis {
        parse_time(NOW, Millis(0), &TimeZone::UTC).expect("a time")
    }

    fn parsed(text: &str) -> Result<String, String> {
        let search = Search::parse(text, now()).map_err(|why| why.to_string())?;
        Ok(match search {
            Search::Call(sid) => sid.to_string(),
            Search::Calls(filter) => {
                let is_typed = matches!(filter.address, Some(FilterAddress::Typed(_)));
                format!("{filter}{}", if is_typed { " +address" } else { "" })
            }
        })
    }

    #[test]
    fn words_with_a_key_are_filters_and_the_others_are_one_address() {
        let sid = "CA00000000000000000000000000000001";
        for (text, filter) in [
            ("", ""),
            ("state:parked", "state:parked"),
            ("cause:refused-422", "cause:refused-422"),
            ("STATE:parked  wait:acquire", "state:parked wait:acquire"),
            ("reason:\"Invalid  Key\"", "reason:\"invalid  key\""),
            ("status:no-answer", "status:no-answer"),
            ("since:today", "since:2026-01-31T00:00:00.000Z"),
            ("since:yesterday", "since:2026-01-30T00:00:00.000Z"),
            ("until:2h", "until:2026-01-31T07:30:00.000Z"),
            ("since:2026-01-01", "since:2026-01-01T00:00:00.000Z"),
            (
                "since:2026-01-01T09:00:00+01:00",
                "since:2026-01-01T08:00:00.000Z",
            ),
            ("+1 202 555 0123", " +address"),
            ("client:jane state:parked", "state:parked +address"),
            ("sip:jane@example.com:5060", " +address"),
            ("address:+12025550123", " +address"),
            (sid, sid),
        ] {
            assert_eq!(parsed(text), Ok(filter.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_is_allowed() {
        for (text, why) in [
            (
                "foo:bar",
                "the filters are state, cause, wait, reason, status, account, since, until, address",
            ),
            (
                "state:lost",
                "state must be one of pending, claimed, delivered, skipped, parked",
            ),
            (
                "wait:long",
                "wait must be one of recording, legs, retry, acquire",
            ),
            ("cause:bad", "cause must be a code such as refused-422"),
            ("status:gone", "status must be one of queued, initiated"),
            ("since:noon", "since: a time is today, yesterday"),
            ("account:AC1", "account: an AccountSid is AC"),
            ("reason:", "reason needs a text"),
            ("reason:+12025550123", "reason must not have a number"),
            (
                "state:parked state:parked",
                "the filter state is given twice",
            ),
            ("12", "the address has too few digits"),
            (
                "CA0000000000000000000000000000000x",
                "a CallSid is CA and 32",
            ),
            (
                "CA00000000000000000000000000000001 state:parked",
                "a CallSid is CA and 32",
            ),
        ] {
            let error = parsed(text).expect_err("a mistake");
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_url_has_hashes_and_reads_back_as_the_same_filter() {
        let hasher = AddressHasher::new(b"made up");
        for text in [
            "+12025550123",
            "0123 state:parked",
            "555-0123 until:2h",
            "reason:\"a & b\"",
        ] {
            let Ok(Search::Calls(filter)) = Search::parse(text, now()) else {
                panic!("{text}");
            };
            let filter = filter.resolved(&hasher, now());
            let query = filter.query();
            assert!(!query.contains("0123"), "{query}");
            let mut read = CallFilter::default();
            for (key, value) in
                serde_urlencoded::from_str::<Vec<(String, String)>>(&query).expect("a query")
            {
                let set = read.set(&key, &value, now(), FilterSource::Url);
                assert_eq!(set, Ok(()), "{query}");
            }
            assert_eq!(read.resolved(&hasher, now()), filter, "{query}");
        }
        let mut filter = CallFilter::default();
        let set = filter.set("address", "+12025550123", now(), FilterSource::Url);
        assert_eq!(set, Err(CallFilterError::AddressInUrl));
    }

    #[test]
    fn the_last_digits_are_searched_for_a_day_unless_a_time_is_given() {
        let hasher = AddressHasher::new(b"made up");
        let since = |text: &str| match Search::parse(text, now()) {
            Ok(Search::Calls(filter)) => filter.resolved(&hasher, now()).since,
            other => panic!("{other:?}"),
        };
        let day = Duration::from_secs(24 * 3_600);
        assert_eq!(since("0123"), Some(now().minus(day)));
        assert_eq!(since("0123 until:2h"), Some(now().minus(day + day / 12)));
        assert_eq!(since("0123 since:2h"), Some(now().minus(day / 12)));
        assert_eq!(since("+12025550123"), None);
    }
}
