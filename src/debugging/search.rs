//! Finds stored calls by a filter, also by what only their callbacks and the plan show, and makes the rows
//! of lists.
//!
//! It reads a store and decides nothing about delivery.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::timeline::{CallFacts, CallLine, CallTimeline};
use crate::clock::Millis;
use crate::domain::call_addresses::AddressHasher;
use crate::domain::call_filter::{CallFilter, Waiting};
use crate::domain::outage::Outage;
use crate::domain::plan::Rules;
use crate::store::{
    CallQuery, Detail, ListPosition, ReadStore, StoreError, StoredCall, Towards, terms_of,
};
use crate::twilio::{AccountSid, CallbackContent};

/// Calls that a command reads at once.
const BATCH: usize = 500;

/// The outage of an account, as far as it is known.
pub type OutageOf = Arc<dyn Fn(&AccountSid) -> Option<Outage> + Send + Sync>;

/// A search: a filter, and what its calls are compared with.
#[derive(Clone)]
pub struct CallSearch {
    /// [Resolved](CallFilter::resolved).
    filter: CallFilter,
    hasher: AddressHasher,
    rules: Arc<Rules>,
    outage_of: OutageOf,
    now: Millis,
}

/// A call in a list: a row of the page, a line of `list`, an object of the API.
#[derive(Debug, Serialize)]
pub struct CallRow {
    #[serde(flatten)]
    pub line: CallLine,
    /// The state in words.
    pub words: String,
    /// What the call waits for, while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Waiting>,
    #[serde(flatten)]
    pub facts: CallFacts,
}

impl CallSearch {
    pub fn new(
        filter: CallFilter,
        hasher: AddressHasher,
        (rules, outage_of): (Arc<Rules>, OutageOf),
        now: Millis,
    ) -> Self {
        Self {
            filter: filter.resolved(&hasher, now),
            hasher,
            rules,
            outage_of,
            now,
        }
    }

    pub fn filter(&self) -> &CallFilter {
        &self.filter
    }

    /// The query of the first page.
    pub fn query(&self, detail: Detail, limit: usize) -> CallQuery {
        let search = self.clone();
        let wanted = self.filter.needs_callbacks().then_some(search);
        CallQuery {
            wanted: wanted.map(|search| Arc::new(move |call: &_| search.is_wanted(call)) as _),
            detail,
            ..CallQuery::of(self.filter.clone(), limit)
        }
    }

    /// Whether a call has the address, the status and the wait.
    fn is_wanted(&self, call: &StoredCall) -> bool {
        let filter = &self.filter;
        let has_status = filter.status.as_ref().is_none_or(|wanted| {
            call.callbacks.iter().any(|stored| {
                let read = stored.request.read();
                matches!(read.map(|read| read.kind), Ok(CallbackContent::Status(reported)) if reported.status == *wanted)
            })
        });
        has_status
            && (filter.address.is_none() || self.address_in(call).is_some())
            && (filter.wait.is_none() || filter.wait == self.row(call).wait)
    }

    /// The address of the filter, as a call that matches has it.
    pub fn address_in(&self, call: &StoredCall) -> Option<String> {
        let terms = terms_of(&call.callbacks, &call.attempts, &self.rules.directory);
        self.filter.hashed_address()?.found_in(&terms, &self.hasher)
    }

    pub fn row(&self, call: &StoredCall) -> CallRow {
        let outage = (self.outage_of)(&call.summary.account);
        let timeline = CallTimeline::of(call, &self.rules, outage, self.now);
        CallRow {
            line: timeline.line,
            words: timeline.words,
            wait: timeline.wait,
            facts: timeline.facts,
        }
    }

    /// A position in the list as an opaque text. It is valid for lists with the same order.
    pub fn cursor(&self, position: ListPosition, towards: Towards) -> String {
        let way = match towards {
            Towards::End => "o",
            Towards::Start => "n",
        };
        let ListPosition { at, id } = position;
        let text = format!("{way}{at:016x}{id:016x}");
        format!("{text}{:016x}", self.cursor_mark(&text))
    }

    /// Reads a cursor; `None` if it was altered or is of a list with another order.
    pub fn read_cursor(&self, cursor: &str) -> Option<(ListPosition, Towards)> {
        let (text, mark) = cursor.split_at_checked(33)?;
        let number = |digits: Option<&str>| u64::from_str_radix(digits?, 16).ok();
        if number(Some(mark))? != self.cursor_mark(text) || mark.len() != 16 {
            return None;
        }
        let towards = match text.get(..1)? {
            "o" => Towards::End,
            _ => Towards::Start,
        };
        let (at, id) = (number(text.get(1..17))?, number(text.get(17..))?);
        let (at, id) = (at.cast_signed(), id.cast_signed());
        Some((ListPosition { at, id }, towards))
    }

    fn cursor_mark(&self, text: &str) -> u64 {
        let order = CallQuery::of(self.filter.clone(), 0).order();
        let hash = self.hasher.hash(&format!("cursor {order} {text}"));
        hash.0.cast_unsigned()
    }

    /// Reads all calls that match, in the order of the list, until `limit`; before them those that the search
    /// index lacks.
    pub fn each(
        &self,
        reader: &dyn ReadStore,
        (detail, limit): (Detail, usize),
        found: &mut dyn FnMut(StoredCall),
    ) -> Result<(), StoreError> {
        let mut query = self.query(detail, 0);
        let mut left = limit;
        let mut early = HashSet::new();
        let mut next = self.filter.address.is_some().then_some(None);
        while let Some(from) = next {
            let lacking = reader.unindexed(Millis(i64::MAX), from)?;
            for (_, call) in lacking.calls {
                if left > 0 && query.matches(&call) {
                    left -= 1;
                    early.insert((call.summary.account.clone(), call.summary.sid.clone()));
                    found(call);
                }
            }
            next = lacking.next.map(Some);
        }
        while left > 0 {
            query.limit = left.min(BATCH);
            let page = reader.search(&query)?;
            for call in page.calls {
                if !early.contains(&(call.summary.account.clone(), call.summary.sid.clone())) {
                    left -= 1;
                    found(call);
                }
            }
            match page.end {
                Some(end) => query.from = Some(end),
                None => break,
            }
        }
        Ok(())
    }
}
