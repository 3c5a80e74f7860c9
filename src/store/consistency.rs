//! The consistency rules of a store, and a sentence for each that is broken. Each database adds the
//! SQL that counts the rows which break a rule.

use super::counters::Counters;

/// What must hold for every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    CallbackHasCall,
    AttemptHasCall,
    CallCountsItsCallbacks,
    DeliveredCallWasAccepted,
    CallIsFoundBySid,
    SidHasCall,
    LedgerCountsCalls,
    AddressHasCall,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::CallbackHasCall,
        Self::AttemptHasCall,
        Self::CallCountsItsCallbacks,
        Self::DeliveredCallWasAccepted,
        Self::CallIsFoundBySid,
        Self::SidHasCall,
        Self::LedgerCountsCalls,
        Self::AddressHasCall,
    ];

    /// Follows the number of rows that break the rule.
    fn problem(self) -> &'static str {
        match self {
            Self::CallbackHasCall => "callbacks belong to no call",
            Self::AttemptHasCall => "attempts belong to no call",
            Self::CallCountsItsCallbacks => "calls record a wrong number of callbacks",
            Self::DeliveredCallWasAccepted => "delivered calls have no accepted attempt",
            Self::CallIsFoundBySid => "calls cannot be found by their SIDs",
            Self::SidHasCall => "SIDs in the index belong to no call",
            Self::LedgerCountsCalls => "rows of the ledger do not count the calls",
            Self::AddressHasCall => "addresses in the search index belong to no call",
        }
    }
}

/// The numbers of calls by state, in the order of the fields of [`Counters`].
pub(super) const COUNT_CALLS: &str = "SELECT count(*), \
    count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'delivered'), \
    count(*) FILTER (WHERE state = 'skipped'), count(*) FILTER (WHERE state = 'parked') FROM call";

/// A sentence for each problem: where the counters differ from the number of rows that
/// [`COUNT_CALLS`] found, and for each rule with rows that break it. `rows.seen` is the number of
/// all rows.
pub(super) fn problems(
    counters: &Counters,
    rows: &Counters,
    broken: impl IntoIterator<Item = (Rule, i64)>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if counters.seen != rows.seen + counters.purged {
        problems.push(format!(
            "{} calls were seen, but {} are there and {} were purged",
            counters.seen, rows.seen, counters.purged
        ));
    }
    for (state, rows, counted) in [
        ("pending", rows.pending, counters.pending),
        ("delivered", rows.delivered, counters.delivered),
        ("skipped", rows.skipped, counters.skipped),
        ("parked", rows.parked, counters.parked),
    ] {
        if rows != counted {
            problems.push(format!(
                "{rows} calls are {state}, but the counter is {counted}"
            ));
        }
    }
    let broken = broken.into_iter().filter(|(_, rows)| *rows > 0);
    problems.extend(broken.map(|(rule, rows)| format!("{rows} {}", rule.problem())));
    problems
}
