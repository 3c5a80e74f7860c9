//! Twilio's lists, page by page.

use std::collections::HashSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::{Result, TwilioApi, TwilioApiError};
use crate::clock::Millis;
use crate::twilio::CallSid;
use crate::twilio::listed::text;

/// The most rows of a page that Twilio allows.
const PAGE_SIZE: usize = 1_000;

/// A page is not asked for in smaller parts.
const MIN_PAGE_SIZE: usize = 30;

impl TwilioApi {
    /// The calls that match `filters`, such as `EndTime>`. Names are encoded here: a misspelt filter is
    /// ignored by Twilio, which then lists every call of the account.
    pub fn calls(&self, filters: &[(&str, &str)]) -> ListPages<'_> {
        self.list("Calls", "calls", filters)
    }

    /// The recordings that match `filters`.
    pub fn recordings(&self, filters: &[(&str, &str)]) -> ListPages<'_> {
        self.list("Recordings", "recordings", filters)
    }

    /// The account's phone numbers, each with its `status_callback`.
    pub fn numbers(&self) -> ListPages<'_> {
        self.list("IncomingPhoneNumbers", "incoming_phone_numbers", &[])
    }

    /// The requests that Twilio made or received for a call, with their answers.
    pub fn call_events(&self, call: &CallSid) -> ListPages<'_> {
        self.list(&format!("Calls/{call}/Events"), "events", &[])
    }

    /// The alerts of a time; they lack the requests, see [`Self::alert`].
    pub fn alerts(&self, from: Millis, until: Millis) -> ListPages<'_> {
        let (from, until) = (from.to_string(), until.to_string());
        let filters = [("StartDate", from.as_str()), ("EndDate", until.as_str())];
        let url = format!("{}/v1/Alerts", self.monitor_url);
        ListPages::of(self, &url, "alerts", &filters)
    }

    fn list(
        &self,
        resource: &str,
        member: &'static str,
        filters: &[(&str, &str)],
    ) -> ListPages<'_> {
        ListPages::of(self, &self.url(resource), member, filters)
    }
}

/// The pages of a list, which follow Twilio's tokens: rows that are added meanwhile move no page.
pub struct ListPages<'a> {
    api: &'a TwilioApi,
    /// The member that has the rows.
    member: &'static str,
    next: Option<String>,
    page_size: usize,
    seen: HashSet<String>,
}

impl<'a> ListPages<'a> {
    /// The rows of the list at `url` that match `filters`.
    fn of(api: &'a TwilioApi, url: &str, member: &'static str, filters: &[(&str, &str)]) -> Self {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let mut query = String::new();
        for (name, value) in filters {
            let pair = encoded(name).chain(["="]).chain(encoded(value));
            query.extend(pair.chain(["&"]));
        }
        Self {
            api,
            member,
            next: Some(format!("{url}?{query}PageSize={PAGE_SIZE}")),
            page_size: PAGE_SIZE,
            seen: HashSet::new(),
        }
    }

    /// With so few rows on a page.
    pub fn of_size(mut self, size: usize) -> Self {
        self.page_size = size;
        self.next = self.next.map(|url| with_page_size(&url, size));
        self
    }

    /// The rows of the next page; `None` after the last one. A page that Twilio fails to make is asked
    /// for again in smaller parts.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>> {
        let Some(mut url) = self.next.take() else {
            return Ok(None);
        };
        let mut page = loop {
            match self.api.get(&url).await {
                Err(TwilioApiError::Failed(_)) if self.page_size / 2 >= MIN_PAGE_SIZE => {
                    self.page_size /= 2;
                    url = with_page_size(&url, self.page_size);
                }
                // Twilio may answer so for a list that has no rows.
                Err(TwilioApiError::NotFound(_)) => return Ok(None),
                other => break other?,
            }
        };
        let Some(Value::Array(rows)) = page.get_mut(self.member).map(Value::take) else {
            let why = format!("the list has no {}", self.member);
            return Err(TwilioApiError::Failed(why));
        };
        self.next = self.next_page(&page)?;
        Ok(Some(rows))
    }

    fn next_page(&mut self, page: &Value) -> Result<Option<String>> {
        let in_meta = page.get("meta").and_then(|of| text(of, "next_page_url"));
        let Some(next) = text(page, "next_page_uri").or(in_meta) else {
            return Ok(None);
        };
        // The key must not reach another host.
        let bases = [&self.api.api_url, &self.api.monitor_url];
        let is_own = |url: &str| {
            let mut bases = bases.iter();
            let rest = bases.find_map(|base| url.strip_prefix(base.as_str()));
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let url = if next.starts_with('/') && !next.starts_with("//") {
            format!("{}{next}", self.api.api_url)
        } else if is_own(&next) {
            next.clone()
        } else {
            return Err(TwilioApiError::ForeignPage(next));
        };
        let url = with_page_size(&url, self.page_size);
        if self.seen.insert(next.clone()) {
            Ok(Some(url))
        } else {
            Err(TwilioApiError::RepeatedPage(next))
        }
    }

    /// All rows of all pages, for lists that are short.
    pub async fn all(mut self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        while let Some(rows) = self.next().await? {
            all.extend(rows);
        }
        Ok(all)
    }
}

fn with_page_size(url: &str, size: usize) -> String {
    let Some((path, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let fields = query.split('&').map(|field| {
        if field.starts_with("PageSize=") {
            format!("PageSize={size}")
        } else {
            field.to_owned()
        }
    });
    format!("{path}?{}", fields.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_again_with_half_of_its_size() {
        let url = "https://api.example.com/x.json?PageSize=1000&Page=1&PageToken=PACA1";
        let half = "https://api.example.com/x.json?PageSize=500&Page=1&PageToken=PACA1";
        assert_eq!(with_page_size(url, 500), half);
    }
}
