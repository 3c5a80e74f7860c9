//! Finds stored calls by filters.
//!
//! It reads a store and decides nothing about delivery.

use crate::clock::Millis;
use crate::domain::directory::is_address;
use crate::store::{CallSummary, ListFilter, ReadStore, State, StoreError, StoredCall};
use crate::twilio::signature::fields;
use crate::twilio::{AccountSid, CallStatus, CallbackContent};

/// The fields of a callback that may have the number.
const ADDRESSES: [&str; 6] = [
    "From",
    "To",
    "Caller",
    "Called",
    "ForwardedFrom",
    "CalledVia",
];

/// Filters; a call must match all of them.
#[derive(Clone, Debug, Default)]
pub struct CallSearch {
    pub state: Option<State>,
    /// First received at this time or later.
    pub since: Option<Millis>,
    /// First received before this time.
    pub until: Option<Millis>,
    pub account: Option<AccountSid>,
    /// A number or another address, in full, on either side of any leg.
    pub number: Option<String>,
    /// A status that Twilio reported for any leg.
    pub status: Option<CallStatus>,
    /// Part of the reason why the call is skipped or parked; case is ignored.
    pub reason: Option<String>,
}

impl CallSearch {
    /// The matching calls in the order of [`ListFilter`], at most `limit`.
    pub fn run(
        &self,
        reader: &dyn ReadStore,
        limit: usize,
    ) -> Result<Vec<CallSummary>, StoreError> {
        let filter = ListFilter {
            state: self.state,
            limit,
        };
        if self.has_only_state() {
            return reader.list(filter);
        }
        reader.find(filter, &mut |summary| {
            // A call is read as a whole only if its summary matches: that is slow.
            if !self.matches_summary(summary) || !self.needs_callbacks() {
                return Ok(self.matches_summary(summary));
            }
            let call = reader.get_listed(summary)?;
            Ok(call.is_some_and(|call| self.matches_callbacks(&call)))
        })
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.has_only_state()
    }

    fn has_only_state(&self) -> bool {
        let summary_filters =
            self.since.is_none() && self.until.is_none() && self.account.is_none();
        summary_filters && self.reason.is_none() && !self.needs_callbacks()
    }

    fn needs_callbacks(&self) -> bool {
        self.number.is_some() || self.status.is_some()
    }

    fn matches_summary(&self, call: &CallSummary) -> bool {
        let reason = call.reason.as_deref().unwrap_or_default().to_lowercase();
        self.state.is_none_or(|state| call.state == state)
            && self.since.is_none_or(|since| call.first_received >= since)
            && self.until.is_none_or(|until| call.first_received < until)
            && self
                .account
                .as_ref()
                .is_none_or(|account| call.account == *account)
            && self
                .reason
                .as_ref()
                .is_none_or(|part| reason.contains(&part.to_lowercase()))
    }

    fn matches_callbacks(&self, call: &StoredCall) -> bool {
        let has_number = |number: &str| {
            call.callbacks.iter().any(|stored| {
                let fields = fields(&stored.request.body);
                let mut addresses = fields
                    .iter()
                    .filter(|(name, _)| ADDRESSES.contains(&name.as_str()));
                addresses.any(|(_, address)| is_address(address, number))
            })
        };
        let has_status = |wanted: &CallStatus| {
            call.callbacks.iter().any(|stored| {
                let read = stored.request.read();
                matches!(read.map(|read| read.kind), Ok(CallbackContent::Status(reported)) if reported.status == *wanted)
            })
        };
        self.number.as_deref().is_none_or(has_number) && self.status.as_ref().is_none_or(has_status)
    }
}
