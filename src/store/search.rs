//! Lists of calls by filters, page by page, the same in either database.
//!
//! A page continues from a position in the order of its list, so a call that arrives meanwhile shifts
//! nothing. It knows no SQL.

use std::sync::Arc;

use super::{CallSummary, ListFilter, State, StoredCall};
use crate::domain::call_filter::CallFilter;

/// Rows that one page examines, at most: some 50 ms. The page then ends early and can be continued.
const MAX_EXAMINED: usize = 20_000;

/// Calls that one page reads as a whole, at most.
const MAX_READ: usize = 2_000;

/// Whether a call belongs in the list, by all that the store has of it.
pub type Wanted = Arc<dyn Fn(&StoredCall) -> bool + Send + Sync>;

/// A page of a list. The order: newest first; of `state:pending` without an address, the next due first;
/// of other states without an address, the last to reach the state first.
#[derive(Clone)]
pub struct CallQuery {
    /// [Resolved](CallFilter::resolved). Its address selects candidates; `wanted` decides.
    pub filter: CallFilter,
    pub wanted: Option<Wanted>,
    /// The list continues behind this position.
    pub from: Option<ListPosition>,
    pub towards: Towards,
    pub limit: usize,
    pub detail: Detail,
}

/// A position in the order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPosition {
    /// The call's `effective_at`; 0 in a list that is newest first.
    pub at: i64,
    /// The call's row.
    pub id: i64,
}

/// The direction in which a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    End,
    /// Back to the start; the calls of a page are in the order of the list nevertheless.
    Start,
}

/// How much of each call a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only the summary, without callbacks and attempts.
    Summary,
    Whole,
}

/// Calls in the order of the list.
#[derive(Clone, Debug, Default)]
pub struct CallPage {
    pub calls: Vec<StoredCall>,
    /// Where a page in either direction continues; None: there are no further calls.
    pub start: Option<ListPosition>,
    pub end: Option<ListPosition>,
    /// Whether the page ended early, after as many calls as one page reads.
    pub is_cut: bool,
}

/// How a list is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Candidates from the search index, newest first.
    Address(i64),
    Newest,
    /// In the order of their due times.
    Pending,
    Claimed,
    /// In the order in which they reached this state, the last first.
    Finished(State),
}

impl Path {
    /// Whether the positions of the list have a time.
    fn is_by_time(self) -> bool {
        matches!(self, Self::Pending | Self::Finished(_))
    }

    /// Whether row numbers and times grow in this direction.
    pub fn is_ascending(self, towards: Towards) -> bool {
        (self == Self::Pending) == (towards == Towards::End)
    }

    /// Where the rows start in this direction.
    pub fn first(self, towards: Towards) -> ListPosition {
        let limit = if self.is_ascending(towards) {
            i64::MIN
        } else {
            i64::MAX
        };
        ListPosition {
            at: limit,
            id: limit,
        }
    }

    pub fn position(self, id: i64, effective_at: i64) -> ListPosition {
        let at = if self.is_by_time() { effective_at } else { 0 };
        ListPosition { at, id }
    }
}

impl ListFilter {
    /// A page of the list.
    pub(super) fn query(&self, limit: usize) -> CallQuery {
        let filter = CallFilter {
            state: self.state,
            ..CallFilter::default()
        };
        CallQuery::of(filter, limit)
    }
}

impl CallQuery {
    /// All calls with this filter, which needs no more than their rows.
    pub fn of(filter: CallFilter, limit: usize) -> Self {
        Self {
            filter,
            wanted: None,
            from: None,
            towards: Towards::End,
            limit,
            detail: Detail::Summary,
        }
    }

    /// The order of the list, in words that a cursor is bound to.
    pub fn order(&self) -> &'static str {
        match self.path() {
            Path::Address(_) | Path::Newest | Path::Claimed => "newest",
            Path::Pending => "due",
            Path::Finished(state) => state.as_str(),
        }
    }

    pub(super) fn path(&self) -> Path {
        match (self.filter.hashed_address(), self.filter.state) {
            (Some(address), _) => Path::Address(address.indexed().0),
            (None, None) => Path::Newest,
            (None, Some(State::Pending)) => Path::Pending,
            (None, Some(State::Claimed)) => Path::Claimed,
            (None, Some(state)) => Path::Finished(state),
        }
    }

    pub(super) fn start(&self) -> ListPosition {
        self.from.unwrap_or(self.path().first(self.towards))
    }

    /// Whether the callbacks of a call are read.
    pub(super) fn reads_calls(&self) -> bool {
        self.wanted.is_some() || self.detail == Detail::Whole
    }

    /// Whether a call belongs in the list.
    pub fn matches(&self, call: &StoredCall) -> bool {
        self.has_row(&call.summary) && self.wanted.as_ref().is_none_or(|wanted| wanted(call))
    }

    fn has_row(&self, call: &CallSummary) -> bool {
        let filter = &self.filter;
        let has_reason = |part: &String| {
            let reason = call.reason.as_deref().unwrap_or_default().to_lowercase();
            reason.contains(part)
        };
        filter.state.is_none_or(|state| call.state == state)
            && filter
                .since
                .is_none_or(|since| call.first_received >= since)
            && filter.until.is_none_or(|until| call.first_received < until)
            && filter
                .account
                .as_ref()
                .is_none_or(|account| call.account == *account)
            && filter.cause.is_none_or(|cause| call.cause == Some(cause))
            && filter.reason.as_ref().is_none_or(has_reason)
    }
}

/// Builds a page from the rows of its list.
pub(super) struct PageBuilder<'q> {
    query: &'q CallQuery,
    page: CallPage,
    examined: usize,
    read: usize,
    /// Of the last call on the page, or the last examined row if the page is cut.
    last: Option<ListPosition>,
    first: Option<ListPosition>,
    is_full: bool,
}

impl<'q> PageBuilder<'q> {
    pub fn new(query: &'q CallQuery) -> Self {
        Self {
            query,
            page: CallPage::default(),
            examined: 0,
            read: 0,
            last: None,
            first: None,
            is_full: false,
        }
    }

    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether a row may belong on the page; then [`Self::add`] gets its call.
    pub fn wants(&mut self, position: ListPosition, call: &CallSummary) -> bool {
        if self.is_full {
            return false;
        }
        self.examined += 1;
        let has_row = self.query.has_row(call);
        if self.examined > MAX_EXAMINED || self.read >= MAX_READ {
            (self.is_full, self.page.is_cut) = (true, true);
            return false;
        }
        self.read += usize::from(has_row && self.query.reads_calls());
        // Behind a full page only a further call is searched for.
        if !has_row && self.page.calls.len() < self.query.limit {
            self.last = Some(position);
        }
        has_row
    }

    pub fn add(&mut self, position: ListPosition, call: StoredCall) {
        if self.is_full {
            return;
        }
        let is_wanted = self
            .query
            .wanted
            .as_ref()
            .is_none_or(|wanted| wanted(&call));
        if self.page.calls.len() == self.query.limit {
            self.is_full = is_wanted;
            return;
        }
        self.last = Some(position);
        if is_wanted {
            self.first.get_or_insert(position);
            self.page.calls.push(match self.query.detail {
                Detail::Whole => call,
                Detail::Summary => StoredCall {
                    callbacks: Vec::new(),
                    attempts: Vec::new(),
                    ..call
                },
            });
        }
    }

    /// The page, once it is full or its rows have ended.
    pub fn finish(mut self) -> CallPage {
        let further = self.last.filter(|_| self.is_full);
        // There are calls on the side that the page came from, unless it is the first.
        let back = self.query.from.and(self.first);
        match self.query.towards {
            Towards::End => (self.page.start, self.page.end) = (back, further),
            Towards::Start => {
                self.page.calls.reverse();
                (self.page.start, self.page.end) = (further, back);
            }
        }
        self.page
    }
}
